//! Batch norm with PyTorch's running statistics, and an optional residual and ReLU.
//!
//! In *split* batch norm, each part of the batch has its own statistics. This emulates several devices on one (`SplitBatchNorm`
//! in MoCo's Colab notebook).
use super::{Array, Engine, Initial, Layout, Mode};
use crate::kernels::training::batch_norm::{Affine, Moments, backward};
use std::borrow::Cow;
use std::ops::Range;

const EPSILON: f32 = 1e-5;

/// A batch norm, optionally followed by a ReLU.
#[derive(Clone, Debug)]
pub struct BatchNorm {
    channels: usize,
    relu: bool,
    /// The weight of the batch's statistics in the update of the running statistics, as in PyTorch.
    momentum: f32,
    /// The ranges of gamma and beta among the parameters; if `None`, gamma is 1 and beta is 0.
    affine: Option<[Range<usize>; 2]>,
    mean: Range<usize>,
    var: Range<usize>,
    batches: Range<usize>,
}

/// The output of a norm, and the batch-norm statistics of each part of the batch, which the gradient needs.
#[derive(Clone, Debug)]
pub struct Normed {
    /// `relu(gamma x^ + beta + residual)`, where `x^` is the normalized input; ReLU and residual are optional.
    pub y: Array,
    /// The moments of each part; empty if the running statistics were used.
    pub moments: Vec<Moments>,
}

impl BatchNorm {
    /// Creates a norm over `channels` channels, with or without a ReLU. Gamma is initialized to `gamma`, and beta to 0.
    pub fn new(layout: &mut Layout, name: &str, channels: usize, relu: bool, gamma: f32) -> Self {
        layout.within(name, |layout| {
            let gamma = layout.parameter("weight", &[channels], Initial::Constant(gamma));
            let affine = Some([gamma, layout.parameter("bias", &[channels], Initial::Constant(0.0))]);
            Self { relu, affine, ..Self::tracking(layout, channels) }
        })
    }

    /// Creates a norm without gamma, beta or ReLU.
    pub fn fixed(layout: &mut Layout, name: &str, channels: usize) -> Self {
        layout.within(name, |layout| Self::tracking(layout, channels))
    }

    /// Creates a norm that has running statistics, but no gamma, beta or ReLU.
    fn tracking(layout: &mut Layout, channels: usize) -> Self {
        Self {
            channels,
            relu: false,
            momentum: layout.norm_momentum(),
            affine: None,
            mean: layout.buffer("running_mean", channels, 0.0),
            var: layout.buffer("running_var", channels, 1.0),
            batches: layout.buffer("num_batches_tracked", 1, 0.0),
        }
    }

    /// The values of gamma and beta.
    fn affine<'a>(&self, params: &'a [f32]) -> [Cow<'a, [f32]>; 2] {
        match &self.affine {
            Some([gamma, beta]) => [gamma, beta].map(|range| Cow::Borrowed(&params[range.clone()])),
            None => [1.0, 0.0].map(|x| Cow::Owned(vec![x; self.channels])),
        }
    }

    /// Normalizes the input. In training, this uses the statistics of each part of the batch, and updates `buffers`. In
    /// [`Mode::Eval`], it uses the running statistics.
    ///
    /// # Panics
    /// If the batch cannot be split evenly into the `splits` of the mode.
    pub fn forward(
        &self,
        engine: Engine,
        (params, buffers): (&[f32], &mut [f32]),
        x: &Array,
        residual: Option<&Array>,
        mode: Mode,
    ) -> Normed {
        let [gamma, beta] = self.affine(params);
        let mut y = Array::zeros(x.shape);
        let (Mode::Train { splits } | Mode::Collect { splits }) = mode else {
            let running =
                Moments { mean: buffers[self.mean.clone()].to_vec(), var: buffers[self.var.clone()].to_vec() };
            let residual = residual.map(|residual| &residual.numbers[..]);
            let affine = running.affine(&gamma, &beta, EPSILON);
            affine.apply(engine.isa, engine.threads, &x.numbers, residual, self.relu, &mut y.numbers);
            return Normed { y, moments: vec![] };
        };
        let part = part(x, splits);
        let mut moments = vec![];
        for (n, y) in y.numbers.chunks_exact_mut(part).enumerate() {
            let range = n * part..(n + 1) * part;
            let x = &x.numbers[range.clone()];
            let of_part = Moments::new(engine.isa, engine.threads, x, self.channels);
            let affine: Affine = of_part.affine(&gamma, &beta, EPSILON);
            let residual = residual.map(|residual| &residual.numbers[range]);
            affine.apply(engine.isa, engine.threads, x, residual, self.relu, y);
            moments.push(of_part);
        }
        self.track(&moments, part / self.channels, buffers, mode);
        Normed { y, moments }
    }

    /// Updates the running statistics with the means and unbiased variances of the parts, averaged over the parts. In
    /// [`Mode::Collect`], the statistics of the parts are instead added to the sums in `buffers`.
    fn track(&self, moments: &[Moments], rows: usize, buffers: &mut [f32], mode: Mode) {
        let unbiased = rows as f32 / (rows.max(2) - 1) as f32;
        for c in 0..self.channels {
            let means = moments.iter().map(|moments| moments.mean[c]);
            let vars = moments.iter().map(|moments| moments.var[c] * unbiased);
            let (mean, var) = (self.mean.start + c, self.var.start + c);
            if matches!(mode, Mode::Collect { .. }) {
                means.for_each(|x| buffers[mean] += x);
                vars.for_each(|x| buffers[var] += x);
            } else {
                follow(&mut buffers[mean], means.sum(), moments.len(), self.momentum);
                follow(&mut buffers[var], vars.sum(), moments.len(), self.momentum);
            }
        }
        buffers[self.batches.start] += 1.0;
    }

    /// Returns the gradient of x and, if `residual` is set, the gradient of the residual. Writes the gradients of gamma and
    /// beta to `gradient`.
    pub fn backward(
        &self,
        engine: Engine,
        (params, gradient): (&[f32], &mut [f32]),
        x: &Array,
        normed: &Normed,
        dy: &Array,
        residual: bool,
    ) -> (Array, Option<Array>) {
        let [gamma, _] = self.affine(params);
        let part = part(x, normed.moments.len());
        let mut dx = Array::zeros(x.shape);
        let mut dresidual = residual.then(|| Array::zeros(x.shape));
        for range in self.affine.iter().flatten() {
            gradient[range.clone()].fill(0.0);
        }
        for (n, moments) in normed.moments.iter().enumerate() {
            let range = n * part..(n + 1) * part;
            let y = self.relu.then(|| &normed.y.numbers[range.clone()]);
            let made = backward(
                engine.isa,
                engine.threads,
                (&x.numbers[range.clone()], y, &dy.numbers[range.clone()]),
                (moments, &gamma, EPSILON),
                &mut dx.numbers[range.clone()],
                dresidual.as_mut().map(|dresidual| &mut dresidual.numbers[range.clone()]),
            );
            for (range, made) in self.affine.iter().flatten().zip([&made.gamma, &made.beta]) {
                gradient[range.clone()].iter_mut().zip(made).for_each(|(sum, x)| *sum += x);
            }
        }
        (dx, dresidual)
    }
}

/// Updates a running statistic with the mean of a statistic over `parts` parts. `sum` is the sum over the parts.
pub(super) fn follow(running: &mut f32, sum: f32, parts: usize, momentum: f32) {
    *running += momentum * (sum / parts as f32 - *running);
}

/// The number of values in a part of the batch.
fn part(x: &Array, splits: usize) -> usize {
    assert!(splits > 0 && x.shape[0].is_multiple_of(splits), "{} images in {splits} parts", x.shape[0]);
    x.numbers.len() / splits
}
