//! Batch norm in training mode and its gradient, fused with the operations that follow it in a ResNet:
//! `y = relu(gamma x^ + beta + residual)`, `x^ = (x - mean) / sqrt(var + eps)` (Ioffe and Szegedy 2015; He et al. 2016).
//!
//! ```text
//! dz = dy where y > 0                 the gradient of beta (summed), of the residual, and of the input of the ReLU
//! dgamma = sum dz x^, dbeta = sum dz
//! dx = gamma / sqrt(var + eps) (dz - dbeta / n - x^ dgamma / n)
//! ```
//!
//! Of the maps of the forward pass, the gradient needs only x and y, which a network keeps anyway; x^ is recomputed. Values are
//! `[n][channels]`, where n counts the pixels of an NHWC batch. Rows are summed in blocks of fixed size, and the sums of the
//! blocks are added in order. The result thus depends neither on the number of threads nor on the instruction set.
use crate::kernels::isa::{Isa, Kernel, Lanes};
use crate::kernels::threads::pool;
use std::ops::Range;

/// Approximate number of values in a block.
const BLOCK: usize = 1 << 15;

/// Mean and biased variance of each channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    /// `[channels]`.
    pub mean: Vec<f32>,
    /// `[channels]`; the sum of squared deviations, divided by the number of rows.
    pub var: Vec<f32>,
}

/// Scale and shift of each channel: `y = relu(scale x + shift + residual)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Affine {
    /// `[channels]`.
    pub scale: Vec<f32>,
    /// `[channels]`.
    pub shift: Vec<f32>,
}

impl Moments {
    /// Computes the moments of the rows of `x`.
    ///
    /// # Panics
    /// If `x` is empty, or does not consist of whole rows of `channels` values.
    pub fn new(isa: Isa, threads: usize, x: &[f32], channels: usize) -> Self {
        let n = rows(x, channels) as f64;
        // Deviations from the first row, so that squares of a large mean do not cancel.
        let origin = &x[..channels];
        let sums = sums(threads, channels, x.len(), &|block, sums| {
            isa.dispatch(Squares { x: &x[block], origin, sums });
        });
        let of = |c: usize| {
            let mean = sums[0][c] / n;
            ((f64::from(origin[c]) + mean) as f32, (sums[1][c] / n - mean * mean).max(0.0) as f32)
        };
        let (mean, var) = (0..channels).map(of).unzip();
        Self { mean, var }
    }

    /// `1 / sqrt(var + eps)` for each channel.
    pub fn inverse_deviation(&self, eps: f32) -> Vec<f32> {
        self.var.iter().map(|&var| (f64::from(var) + f64::from(eps)).sqrt().recip() as f32).collect()
    }

    /// Combines the normalization with gamma and beta into a scale and a shift.
    pub fn affine(&self, gamma: &[f32], beta: &[f32], eps: f32) -> Affine {
        let scale: Vec<f32> =
            self.inverse_deviation(eps).iter().zip(gamma).map(|(inverse, gamma)| gamma * inverse).collect();
        let shift = self.mean.iter().zip(&scale).zip(beta).map(|((mean, scale), beta)| beta - mean * scale).collect();
        Affine { scale, shift }
    }
}

impl Affine {
    /// Computes `y = relu(scale x + shift + residual)`, without the ReLU if `relu` is false.
    ///
    /// # Panics
    /// If the lengths differ, or are not multiples of the number of channels.
    pub fn apply(&self, isa: Isa, threads: usize, x: &[f32], residual: Option<&[f32]>, relu: bool, y: &mut [f32]) {
        let channels = self.scale.len();
        rows(x, channels);
        assert!(y.len() == x.len() && residual.is_none_or(|residual| residual.len() == x.len()));
        let each = block(channels);
        pool::each(threads, y.chunks_mut(each).enumerate(), |(n, y)| {
            let range = n * each..n * each + y.len();
            let residual = residual.map(|residual| &residual[range.clone()]);
            isa.dispatch(Apply { affine: self, x: &x[range], residual, relu, y });
        });
    }
}

/// Gradients of a norm's parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Gradients {
    /// `[channels]`.
    pub gamma: Vec<f32>,
    /// `[channels]`.
    pub beta: Vec<f32>,
}

/// Computes the gradients of a batch norm; returns the gradients of gamma and beta. The gradient of x is written to `dx`. The
/// gradient of the residual, if there is one, is written to `dresidual`. `y` is `None` if no ReLU follows.
///
/// # Panics
/// If the lengths differ, or are not multiples of the number of channels.
#[allow(clippy::too_many_arguments)]
pub fn backward(
    isa: Isa,
    threads: usize,
    (x, y, dy): (&[f32], Option<&[f32]>, &[f32]),
    (moments, gamma, eps): (&Moments, &[f32], f32),
    dx: &mut [f32],
    dresidual: Option<&mut [f32]>,
) -> Gradients {
    let channels = gamma.len();
    let n = rows(x, channels) as f64;
    assert!(dy.len() == x.len() && dx.len() == x.len() && y.is_none_or(|y| y.len() == x.len()));
    assert!(dresidual.as_ref().is_none_or(|dresidual| dresidual.len() == x.len()));
    let inverse = moments.inverse_deviation(eps);
    let sums = sums(threads, channels, x.len(), &|block, sums| {
        let y = y.map(|y| &y[block.clone()]);
        isa.dispatch(Sums { x: &x[block.clone()], y, dy: &dy[block], mean: &moments.mean, sums });
    });
    let gradients = Gradients {
        beta: sums[0].iter().map(|&sum| sum as f32).collect(),
        gamma: sums[1].iter().zip(&inverse).map(|(sum, &inverse)| (sum * f64::from(inverse)) as f32).collect(),
    };
    // dx = a dz + b x + c.
    let [mut a, mut b, mut c] = [(); 3].map(|()| vec![0.0; channels]);
    for i in 0..channels {
        let (gamma, inverse, mean) = (f64::from(gamma[i]), f64::from(inverse[i]), f64::from(moments.mean[i]));
        let by_x = -gamma * inverse * inverse * inverse * sums[1][i] / n;
        a[i] = (gamma * inverse) as f32;
        b[i] = by_x as f32;
        c[i] = (-gamma * inverse * sums[0][i] / n - by_x * mean) as f32;
    }
    let each = block(channels);
    let mut dresidual = dresidual;
    let mut dresiduals = dresidual.as_mut().map(|dresidual| dresidual.chunks_mut(each));
    let blocks = dx.chunks_mut(each).map(|dx| (dx, dresiduals.as_mut().and_then(Iterator::next))).enumerate();
    pool::each(threads, blocks.collect::<Vec<_>>().into_iter(), |(n, (dx, dresidual))| {
        let range = n * each..n * each + dx.len();
        let y = y.map(|y| &y[range.clone()]);
        isa.dispatch(Back { x: &x[range.clone()], y, dy: &dy[range], by: [&a, &b, &c], dx, dresidual });
    });
    gradients
}

/// Number of values in a block, which consists of whole rows.
fn block(channels: usize) -> usize {
    (BLOCK / channels).max(1) * channels
}

fn rows(x: &[f32], channels: usize) -> usize {
    assert!(
        channels > 0 && !x.is_empty() && x.len().is_multiple_of(channels),
        "{} numbers of {channels} channels",
        x.len()
    );
    x.len() / channels
}

/// Computes two sums for each channel over all blocks. `of` computes both sums over one block.
fn sums(
    threads: usize,
    channels: usize,
    len: usize,
    of: &(impl Fn(Range<usize>, [&mut [f32]; 2]) + Sync),
) -> [Vec<f64>; 2] {
    let each = block(channels);
    let mut parts = vec![0.0; len.div_ceil(each) * 2 * channels];
    pool::each(threads, parts.chunks_exact_mut(2 * channels).enumerate(), |(n, part)| {
        of(n * each..((n + 1) * each).min(len), part.split_at_mut(channels).into());
    });
    let mut totals = [vec![0.0; channels], vec![0.0; channels]];
    for part in parts.chunks_exact(2 * channels) {
        for (total, part) in totals.iter_mut().zip(part.chunks_exact(channels)) {
            total.iter_mut().zip(part).for_each(|(total, &x)| *total += f64::from(x));
        }
    }
    totals
}

struct Squares<'a> {
    x: &'a [f32],
    origin: &'a [f32],
    sums: [&'a mut [f32]; 2],
}

impl Kernel for Squares<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let [sum, squares] = self.sums;
        for row in self.x.chunks_exact(sum.len()) {
            for (((x, origin), sum), square) in row.iter().zip(self.origin).zip(sum.iter_mut()).zip(squares.iter_mut())
            {
                let x = x - origin;
                *sum += x;
                *square += x * x;
            }
        }
    }
}

struct Apply<'a> {
    affine: &'a Affine,
    x: &'a [f32],
    residual: Option<&'a [f32]>,
    relu: bool,
    y: &'a mut [f32],
}

impl Kernel for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { affine: Affine { scale, shift }, x, residual, relu, y } = self;
        let least = if relu { 0.0 } else { f32::NEG_INFINITY };
        let channels = scale.len();
        let rows = y.chunks_exact_mut(channels).zip(x.chunks_exact(channels));
        match residual {
            None => {
                for (y, x) in rows {
                    for (((y, x), scale), shift) in y.iter_mut().zip(x).zip(scale).zip(shift) {
                        let z = x * scale + shift;
                        // NaN stays NaN.
                        *y = if z < least { least } else { z };
                    }
                }
            }
            Some(residual) => {
                for ((y, x), residual) in rows.zip(residual.chunks_exact(channels)) {
                    for ((((y, x), residual), scale), shift) in y.iter_mut().zip(x).zip(residual).zip(scale).zip(shift)
                    {
                        let z = x * scale + shift + residual;
                        *y = if z < least { least } else { z };
                    }
                }
            }
        }
    }
}

struct Sums<'a> {
    x: &'a [f32],
    y: Option<&'a [f32]>,
    dy: &'a [f32],
    mean: &'a [f32],
    /// Sums of dz, and of dz (x - mean).
    sums: [&'a mut [f32]; 2],
}

impl Kernel for Sums<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { x, y, dy, mean, sums: [sum, products] } = self;
        let channels = mean.len();
        let (all, y) = (y.is_none(), y.unwrap_or(dy));
        for ((x, y), dy) in x.chunks_exact(channels).zip(y.chunks_exact(channels)).zip(dy.chunks_exact(channels)) {
            let row = x.iter().zip(y).zip(dy).zip(mean).zip(sum.iter_mut().zip(products.iter_mut()));
            for ((((x, y), dy), mean), (sum, product)) in row {
                let dz = if all || *y > 0.0 { *dy } else { 0.0 };
                *sum += dz;
                *product += dz * (x - mean);
            }
        }
    }
}

struct Back<'a> {
    x: &'a [f32],
    y: Option<&'a [f32]>,
    dy: &'a [f32],
    by: [&'a [f32]; 3],
    dx: &'a mut [f32],
    dresidual: Option<&'a mut [f32]>,
}

impl Kernel for Back<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { x, y, dy, by: [a, b, c], dx, dresidual } = self;
        let channels = a.len();
        let (all, y) = (y.is_none(), y.unwrap_or(dy));
        let rows = x.chunks_exact(channels).zip(y.chunks_exact(channels)).zip(dy.chunks_exact(channels));
        for (((x, y), dy), dx) in rows.zip(dx.chunks_exact_mut(channels)) {
            let row = dx.iter_mut().zip(x).zip(y).zip(dy).zip(a).zip(b).zip(c);
            for ((((((dx, x), y), dy), a), b), c) in row {
                let dz = if all || *y > 0.0 { *dy } else { 0.0 };
                *dx = a * dz + b * x + c;
            }
        }
        if let Some(dresidual) = dresidual {
            for ((dresidual, y), dy) in dresidual.iter_mut().zip(y).zip(dy) {
                *dresidual = if all || *y > 0.0 { *dy } else { 0.0 };
            }
        }
    }
}
