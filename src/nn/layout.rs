//! Where in the flat vector of a network's parameters each tensor stands, what it is called, and how it begins: PyTorch's names and
//! orders in files, ours in memory.
use crate::memory;
use crate::random::{Generator, uniform};
use rand::Rng;
use std::f64::consts::TAU;
use std::ops::Range;

/// One tensor that learns.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// As PyTorch has it, `layer1.0.conv1.weight`.
    pub name: String,
    /// In files; of a convolution `[O, I, rows, columns]`, which in memory is `[O, rows, columns, I]`.
    pub shape: Vec<usize>,
    /// Its numbers in the flat vector.
    pub range: Range<usize>,
    /// What it is before training.
    pub initial: Initial,
}

/// Numbers that a network keeps beside its parameters: running statistics.
#[derive(Clone, Debug, PartialEq)]
pub struct Buffer {
    /// As PyTorch has it, `bn1.running_mean`.
    pub name: String,
    /// Its numbers in the flat vector of buffers.
    pub range: Range<usize>,
    /// All of them, before training.
    pub initial: f32,
}

/// How a tensor begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Initial {
    /// One number.
    Constant(f32),
    /// A normal distribution of this deviation.
    Normal(f64),
    /// Evenly from minus this bound to this.
    Uniform(f64),
}

/// All tensors of a network, in the order in which they were added, and how its running statistics move.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    parameters: Vec<Parameter>,
    buffers: Vec<Buffer>,
    prefix: Vec<String>,
    norm_momentum: f32,
}

impl Default for Layout {
    /// With norms as PyTorch's begin.
    fn default() -> Self {
        Self::with_norm_momentum(0.1)
    }
}

impl Layout {
    /// A layout whose norms replace this share of their running statistics with a batch's: PyTorch's `momentum`, and 1 minus
    /// TensorFlow's.
    pub fn with_norm_momentum(norm_momentum: f32) -> Self {
        Self { parameters: vec![], buffers: vec![], prefix: vec![], norm_momentum }
    }

    /// That share.
    pub fn norm_momentum(&self) -> f32 {
        self.norm_momentum
    }

    /// Adds a tensor; gives its place.
    pub fn parameter(&mut self, name: &str, shape: &[usize], initial: Initial) -> Range<usize> {
        let start = self.len();
        let range = start..start + shape.iter().product::<usize>();
        self.parameters.push(Parameter {
            name: self.named(name),
            shape: shape.to_vec(),
            range: range.clone(),
            initial,
        });
        range
    }

    /// Adds a buffer; gives its place among the buffers.
    pub fn buffer(&mut self, name: &str, len: usize, initial: f32) -> Range<usize> {
        let start = self.buffers.last().map_or(0, |last| last.range.end);
        self.buffers.push(Buffer { name: self.named(name), range: start..start + len, initial });
        start..start + len
    }

    /// Adds what `add` adds, under names that begin with `name`.
    pub fn within<T>(&mut self, name: &str, add: impl FnOnce(&mut Self) -> T) -> T {
        self.prefix.push(name.to_owned());
        let made = add(self);
        self.prefix.pop();
        made
    }

    fn named(&self, name: &str) -> String {
        let mut parts = self.prefix.clone();
        parts.push(name.to_owned());
        parts.join(".")
    }

    /// Its parameters.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Its buffers.
    pub fn buffers(&self) -> &[Buffer] {
        &self.buffers
    }

    /// Names of its parameters and buffers, and their shapes in files.
    pub fn shapes(&self) -> impl Iterator<Item = (&str, Vec<usize>)> {
        let parameters = self.parameters.iter().map(|parameter| (&parameter.name[..], parameter.shape.clone()));
        parameters.chain(self.buffers.iter().map(|buffer| {
            let shape = if Self::is_count(&buffer.name) { vec![] } else { vec![buffer.range.len()] };
            (&buffer.name[..], shape)
        }))
    }

    /// Whether a buffer of this name counts batches: a scalar.
    pub fn is_count(name: &str) -> bool {
        name.ends_with("num_batches_tracked")
    }

    /// Numbers of all parameters.
    #[allow(clippy::len_without_is_empty)] // A network has parameters.
    pub fn len(&self) -> usize {
        self.parameters.last().map_or(0, |last| last.range.end)
    }

    /// Parameters before training.
    pub fn initial(&self, generator: &mut Generator) -> Vec<f32> {
        let mut numbers = memory::or_unwind(memory::zeros("weights", self.len()));
        for parameter in &self.parameters {
            let numbers = &mut numbers[parameter.range.clone()];
            match parameter.initial {
                Initial::Constant(x) => numbers.fill(x),
                Initial::Uniform(bound) => {
                    let bound = bound as f32;
                    numbers.fill_with(|| uniform(generator, (-bound, bound)));
                }
                Initial::Normal(deviation) => numbers.fill_with(|| (deviation * normal(generator)) as f32),
            }
        }
        numbers
    }

    /// Buffers before training.
    pub fn initial_buffers(&self) -> Vec<f32> {
        self.buffers.iter().flat_map(|buffer| buffer.range.clone().map(|_| buffer.initial)).collect()
    }
}

impl Parameter {
    /// A value for each of its own, such as its weights or what an optimizer remembers of them, in the order of files.
    pub fn to_file(&self, own: &[f32]) -> Vec<f32> {
        let &[_, inputs, rows, columns] = self.shape.as_slice() else { return own.to_vec() };
        let taps = rows * columns;
        let mut file = vec![0.0; own.len()];
        own.iter().enumerate().for_each(|(n, &x)| file[in_file(n, inputs, taps)] = x);
        file
    }

    /// And back.
    ///
    /// # Panics
    /// If it has another length.
    pub fn take_from_file(&self, file: &[f32], own: &mut [f32]) {
        assert_eq!(file.len(), own.len(), "{}", self.name);
        let &[_, inputs, rows, columns] = self.shape.as_slice() else { return own.copy_from_slice(file) };
        let taps = rows * columns;
        own.iter_mut().enumerate().for_each(|(n, x)| *x = file[in_file(n, inputs, taps)]);
    }
}

/// Where in a file's `[O, I, taps]` a number stands that in memory is the `n`th of `[O, taps, I]`.
fn in_file(n: usize, inputs: usize, taps: usize) -> usize {
    let (output, tap, input) = (n / (taps * inputs), n / inputs % taps, n % inputs);
    (output * inputs + input) * taps + tap
}

/// Of mean 0 and deviation 1 (Box and Muller 1958).
pub(crate) fn normal(generator: &mut Generator) -> f64 {
    // Of the half-open range, the end that has a logarithm.
    let radius = (-2.0 * (1.0 - generator.random::<f64>()).ln()).sqrt();
    radius * (TAU * generator.random::<f64>()).cos()
}
