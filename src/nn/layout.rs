//! The position of each tensor in a network's flat vector of parameters, its name and its initial values. Names, and the axis
//! order in files, are PyTorch's. In memory, the weights of convolutions have another axis order ([`Parameter::shape`]).
use crate::memory;
use crate::random::{Generator, uniform};
use rand::Rng;
use std::f64::consts::TAU;
use std::ops::Range;

/// A trainable tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// PyTorch's name, such as `layer1.0.conv1.weight`.
    pub name: String,
    /// The shape in files. For a convolution, this is `[O, I, rows, columns]`; in memory, the shape is `[O, rows, columns, I]`.
    pub shape: Vec<usize>,
    /// The tensor's range in the flat vector of parameters.
    pub range: Range<usize>,
    /// The tensor's initial values.
    pub initial: Initial,
}

/// A tensor that is not trained, such as a running statistic.
#[derive(Clone, Debug, PartialEq)]
pub struct Buffer {
    /// PyTorch's name, such as `bn1.running_mean`.
    pub name: String,
    /// The tensor's range in the flat vector of buffers.
    pub range: Range<usize>,
    /// The initial value of all elements of the tensor.
    pub initial: f32,
}

/// The initialization of a tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Initial {
    /// A constant.
    Constant(f32),
    /// A normal distribution with mean 0 and this standard deviation.
    Normal(f64),
    /// A uniform distribution between minus this bound and this bound.
    Uniform(f64),
}

/// All tensors of a network, in the order in which they were added, and the momentum of the running statistics.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    parameters: Vec<Parameter>,
    buffers: Vec<Buffer>,
    prefix: Vec<String>,
    norm_momentum: f32,
}

impl Default for Layout {
    /// Creates a layout with PyTorch's default batch-norm momentum, 0.1.
    fn default() -> Self {
        Self::with_norm_momentum(0.1)
    }
}

impl Layout {
    /// Creates an empty layout with this batch-norm momentum. In each training step, norms replace the fraction `norm_momentum`
    /// of their running statistics with the statistics of the batch. This is PyTorch's `momentum`, which is 1 minus
    /// TensorFlow's.
    pub fn with_norm_momentum(norm_momentum: f32) -> Self {
        Self { parameters: vec![], buffers: vec![], prefix: vec![], norm_momentum }
    }

    /// The momentum of the norms' running statistics.
    pub fn norm_momentum(&self) -> f32 {
        self.norm_momentum
    }

    /// Adds a parameter; returns its range in the flat vector.
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

    /// Adds a buffer; returns its range in the flat vector of buffers.
    pub fn buffer(&mut self, name: &str, len: usize, initial: f32) -> Range<usize> {
        let start = self.buffers.last().map_or(0, |last| last.range.end);
        self.buffers.push(Buffer { name: self.named(name), range: start..start + len, initial });
        start..start + len
    }

    /// Calls `add`, and returns its result. The names of all tensors that `add` adds are prefixed with `name` and a dot.
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

    /// The parameters.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The buffers.
    pub fn buffers(&self) -> &[Buffer] {
        &self.buffers
    }

    /// The names of parameters and buffers, and their shapes in files.
    pub fn shapes(&self) -> impl Iterator<Item = (&str, Vec<usize>)> {
        let parameters = self.parameters.iter().map(|parameter| (&parameter.name[..], parameter.shape.clone()));
        parameters.chain(self.buffers.iter().map(|buffer| {
            let shape = if Self::is_count(&buffer.name) { vec![] } else { vec![buffer.range.len()] };
            (&buffer.name[..], shape)
        }))
    }

    /// Returns whether the buffer with this name is a count of batches. The count is a scalar.
    pub fn is_count(name: &str) -> bool {
        name.ends_with("num_batches_tracked")
    }

    /// The total number of elements of all parameters.
    #[allow(clippy::len_without_is_empty)] // A network always has parameters.
    pub fn len(&self) -> usize {
        self.parameters.last().map_or(0, |last| last.range.end)
    }

    /// Draws the initial parameters.
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

    /// The initial values of the buffers.
    pub fn initial_buffers(&self) -> Vec<f32> {
        self.buffers.iter().flat_map(|buffer| buffer.range.clone().map(|_| buffer.initial)).collect()
    }
}

impl Parameter {
    /// Reorders values of the tensor from the axis order in memory to the axis order in files. The values may be weights or an
    /// optimizer's state.
    pub fn to_file(&self, own: &[f32]) -> Vec<f32> {
        let &[_, inputs, rows, columns] = self.shape.as_slice() else { return own.to_vec() };
        let taps = rows * columns;
        let mut file = vec![0.0; own.len()];
        own.iter().enumerate().for_each(|(n, &x)| file[in_file(n, inputs, taps)] = x);
        file
    }

    /// Reorders values of the tensor from the axis order in files to the axis order in memory.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn take_from_file(&self, file: &[f32], own: &mut [f32]) {
        assert_eq!(file.len(), own.len(), "{}", self.name);
        let &[_, inputs, rows, columns] = self.shape.as_slice() else { return own.copy_from_slice(file) };
        let taps = rows * columns;
        own.iter_mut().enumerate().for_each(|(n, x)| *x = file[in_file(n, inputs, taps)]);
    }
}

/// Converts the index `n` of an element of `[O, taps, I]` in memory to its index in `[O, I, taps]` in files.
fn in_file(n: usize, inputs: usize, taps: usize) -> usize {
    let (output, tap, input) = (n / (taps * inputs), n / inputs % taps, n % inputs);
    (output * inputs + input) * taps + tap
}

/// Draws from the standard normal distribution (Box and Muller 1958).
pub(crate) fn normal(generator: &mut Generator) -> f64 {
    // The half-open range excludes 1, so that the logarithm's argument is never 0.
    let radius = (-2.0 * (1.0 - generator.random::<f64>()).ln()).sqrt();
    radius * (TAU * generator.random::<f64>()).cos()
}
