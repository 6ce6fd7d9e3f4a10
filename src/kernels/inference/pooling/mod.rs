//! Pooling: the maximum or the mean of each window, written to a range of the output's channels.
//!
//! ```text
//! max:      out[y, x, c] = max over the window of in[.., .., c]
//! average:  out[y, x, c] = act(bias[c] + sum over the window of in[.., .., c] / n)
//! ```
//!
//! The loops are plain, and vectorized by the compiler for each instruction set. Pooling takes only a hundredth of a network's
//! time.
pub mod cuda;

use crate::kernels::inference::any_map::{AnyMap, Input};
use crate::kernels::inference::feature_map::{FeatureMap, MapView};
use crate::kernels::inference::layer_shape::Activation;
use crate::kernels::isa::{Isa, Kernel, Lanes};
use std::ops::Range;

/// Max pooling with square windows, without padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxPool {
    /// Side of a window, in pixels.
    pub side: usize,
    /// Stride between windows.
    pub stride: usize,
    /// Whether to include a last window that extends beyond the edge (PyTorch's `ceil_mode`). Positions outside the map are
    /// ignored.
    pub ceil: bool,
}

impl MaxPool {
    /// The max pooling of InceptionV3: 3x3 with stride 2, inside the map.
    pub const INCEPTION: Self = Self { side: 3, stride: 2, ceil: false };

    /// Number of windows along an axis of `n` pixels.
    pub fn windows(self, n: usize) -> usize {
        let beyond = n - self.side.min(n);
        1 + if self.ceil { beyond.div_ceil(self.stride) } else { beyond / self.stride }
    }

    /// Height and width of the output for this input. Padding of the input is ignored.
    pub fn output_size(self, input: Input) -> (usize, usize) {
        let (height, width, _) = input.shape();
        (self.windows(height), self.windows(width))
    }

    /// Writes the output to the channels of `out` from `channel` on. Bytes are compared without conversion, so both maps must
    /// have the same range.
    ///
    /// # Panics
    /// If the shapes or the types of the maps do not match, or two maps in bytes have different ranges.
    pub fn run(self, isa: Isa, input: Input, out: &mut AnyMap, channel: usize) {
        let (height, width) = self.output_size(input);
        let (rows, columns, channels) = out.shape();
        assert!((height, width) == (rows, columns) && channel + input.shape().2 <= channels, "output of {self:?}");
        match (input, out) {
            (Input::Floats(input), AnyMap::Floats(out)) => isa.dispatch(Max { pool: self, input, out, channel }),
            (Input::Bytes(input), AnyMap::Bytes(out)) => {
                assert_eq!((input.scale, input.zero), (&out.scale[..], &out.zero[..]), "ranges of {self:?}");
                isa.dispatch(Max { pool: self, input: input.view, out: &mut out.map, channel });
            }
            (input, out) => panic!("{self:?} of {input:?} into {out:?}"),
        }
    }
}

struct Max<'a, T> {
    pool: MaxPool,
    input: MapView<'a, T>,
    out: &'a mut FeatureMap<T>,
    channel: usize,
}

impl<T: Copy + Default + PartialOrd> Kernel for Max<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { pool: MaxPool { side, stride, .. }, input, out, channel } = self;
        let (channels, all) = (input.channels, out.channels());
        for y in 0..out.height() {
            let rows = y * stride..(y * stride + side).min(input.height);
            for (x, to) in out.row_mut(y).chunks_exact_mut(all).enumerate() {
                let to = &mut to[channel..channel + channels];
                let columns = x * stride..(x * stride + side).min(input.width);
                to.copy_from_slice(pixel(&input, rows.start, columns.start));
                for (row, column) in rows.clone().flat_map(|row| columns.clone().map(move |column| (row, column))) {
                    for (to, &x) in to.iter_mut().zip(pixel(&input, row, column)) {
                        *to = if x > *to { x } else { *to };
                    }
                }
            }
        }
    }
}

/// The mean over the 3x3 window around every pixel, as in InceptionV3.
#[derive(Clone, Debug)]
pub struct AveragePool {
    /// Whether positions outside the map count as zeros (torchvision); otherwise only pixels inside count (TensorFlow).
    pub counts_zeros: bool,
    /// Bias of each channel.
    pub bias: Vec<f32>,
    /// The activation.
    pub activation: Activation,
}

impl AveragePool {
    /// Writes the output to the channels of `out` from `channel` on.
    ///
    /// # Panics
    /// If the maps do not match, or `out` is in bytes with a range for each channel.
    pub fn run(&self, isa: Isa, input: &FeatureMap, out: &mut AnyMap, channel: usize) {
        let (rows, columns, channels) = out.shape();
        assert!((input.height(), input.width()) == (rows, columns), "output of {self:?}");
        assert!(input.channels() == self.bias.len() && channel + self.bias.len() <= channels, "channels of {self:?}");
        isa.dispatch(Average { pool: self, input: input.view(), out, channel });
    }

    /// Factor that converts the sum over a window to the mean; `pixels` is the number of the window's pixels inside the map.
    fn weight(&self, pixels: usize) -> f32 {
        1.0 / if self.counts_zeros { 9.0 } else { pixels as f32 }
    }
}

struct Average<'a> {
    pool: &'a AveragePool,
    input: MapView<'a>,
    out: &'a mut AnyMap,
    channel: usize,
}

impl Kernel for Average<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { pool, input, out, channel } = self;
        let (height, width, n) = (input.height, input.width, input.channels);
        let mut sums = vec![0.0; n];
        for y in 0..height {
            for x in 0..width {
                let (rows, columns) = (around(y, height), around(x, width));
                sums.fill(0.0);
                for (row, column) in rows.clone().flat_map(|row| columns.clone().map(move |column| (row, column))) {
                    sums.iter_mut().zip(pixel(&input, row, column)).for_each(|(sum, x)| *sum += x);
                }
                let weight = pool.weight(rows.len() * columns.len());
                for (sum, bias) in sums.iter_mut().zip(&pool.bias) {
                    *sum = activated(pool.activation, *sum * weight + bias);
                }
                store(&sums, out, (y, x), channel);
            }
        }
    }
}

/// Returns the range of index `at` and its neighbours within `0..n`.
fn around(at: usize, n: usize) -> Range<usize> {
    at.saturating_sub(1)..(at + 2).min(n)
}

#[inline(always)]
fn activated(activation: Activation, x: f32) -> f32 {
    match activation {
        Activation::None => x,
        Activation::Relu => x.max(0.0),
        Activation::Relu6 => x.clamp(0.0, 6.0),
    }
}

#[inline(always)]
fn store(values: &[f32], out: &mut AnyMap, (y, x): (usize, usize), channel: usize) {
    match out {
        AnyMap::Floats(map) => {
            let at = x * map.channels() + channel;
            map.row_mut(y)[at..at + values.len()].copy_from_slice(values);
        }
        AnyMap::Bytes(bytes) => {
            let (&[scale], &[zero]) = (&bytes.scale[..], &bytes.zero[..]) else { panic!("bytes on one grid") };
            let at = x * bytes.map.channels() + channel;
            for (to, value) in bytes.map.row_mut(y)[at..at + values.len()].iter_mut().zip(values) {
                *to = (value / scale + f32::from(zero)).round_ties_even() as u8;
            }
        }
    }
}

/// The channels of a pixel; rows and columns are counted without the padding.
#[inline(always)]
fn pixel<'a, T>(map: &MapView<'a, T>, row: usize, column: usize) -> &'a [T] {
    let at = (map.pad.top + row) * map.stride + (map.pad.left + column) * map.channels;
    &map.data[at..at + map.channels]
}
