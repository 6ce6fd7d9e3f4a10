//! Convolution: `out[o] = act(bias[o] + sum over taps and i of weight[o, i] * in[i])`, dense or pointwise, with any kernel
//! and stride, optionally after nearest x2 upsampling.
//!
//! A convolution takes every position of the kernel that lies inside the *padded* map (VALID over it): what the padding
//! holds is the map's affair, and its size decides the output's.
mod bytes;
pub mod cuda;
mod pack;
mod phases;
mod scalar;
mod simd;
mod tiles;

pub(crate) use phases::{Cells, pixel_shuffle_weight, shifted_weight};

use crate::kernels::inference::any_map::{Input, Output};
use crate::kernels::inference::feature_map::{FeatureMap, MapView, Pad, Scratch};
use crate::kernels::inference::quantize::{Grid, MOST_WORDS};
use crate::kernels::isa::Isa;
use crate::kernels::isa::Lanes;
use bytes::Bytes;
use pack::Packed;

/// What follows the sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    None,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
}

/// The shape of a convolution.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Input channels.
    pub inputs: usize,
    /// Output channels.
    pub outputs: usize,
    /// Side of the square kernel.
    pub kernel: usize,
    /// Step between positions; 1 when upsampling.
    pub stride: usize,
    /// Nearest x2 upsampling before it. The padding counts in pixels of the small map, [`Shape::upsample_pad`] of them.
    pub upsample: bool,
    /// What follows.
    pub activation: Activation,
}

impl Shape {
    /// Of stride 1, with nothing before and after.
    pub fn plain(inputs: usize, outputs: usize, kernel: usize) -> Self {
        Self { inputs, outputs, kernel, stride: 1, upsample: false, activation: Activation::None }
    }

    /// The padding, in pixels of the small map, of an upsampling convolution that keeps the upsampled size.
    ///
    /// Filled with [`super::feature_map::Border::Edge`] it is, for a 3x3 kernel, the REFLECT padding of the upsampled map.
    pub fn upsample_pad(kernel: usize) -> Pad {
        Pad::all((kernel / 2).div_ceil(2))
    }

    /// Height and width of the output for this padded input.
    pub fn output_size<'a>(&self, input: impl Into<Input<'a>>) -> (usize, usize) {
        let input = input.into();
        let (height, width, _) = input.shape();
        self.size_of((height, width), input.pad())
    }

    /// The same for a map of this height and width with this padding.
    pub fn size_of(&self, (height, width): (usize, usize), pad: Pad) -> (usize, usize) {
        if self.upsample {
            return (2 * height, 2 * width);
        }
        let (rows, columns) = (pad.top + height + pad.bottom, pad.left + width + pad.right);
        let size = |n: usize| (n - self.kernel) / self.stride + 1;
        (size(rows), size(columns))
    }
}

impl Activation {
    /// Applies it to each of these vectors.
    #[inline(always)]
    pub(super) fn apply<'a, L: Lanes + 'a>(self, sums: impl Iterator<Item = &'a mut L>) {
        let (zero, six) = (L::splat(0.0), L::splat(6.0));
        if self == Self::None {
            return;
        }
        for x in sums {
            *x = x.max(zero);
            if self == Self::Relu6 {
                *x = x.min(six);
            }
        }
    }
}

/// A convolution with its weights, laid out for one path.
#[derive(Clone, Debug)]
pub struct Conv {
    shape: Shape,
    isa: Isa,
    weights: Weights,
}

#[derive(Clone, Debug)]
enum Weights {
    /// OIHW and bias, as given.
    Plain(Vec<f32>, Vec<f32>),
    Packed(Packed),
    Bytes(Bytes),
}

impl Conv {
    /// A convolution with `weight` in OIHW order; no bias means zeros.
    ///
    /// # Panics
    /// If the lengths do not fit the shape.
    pub fn new(isa: Isa, shape: Shape, weight: &[f32], bias: Option<&[f32]>) -> Self {
        assert_eq!(weight.len(), shape.outputs * shape.inputs * shape.kernel * shape.kernel, "{shape:?}");
        let bias = bias.map_or_else(|| vec![0.0; shape.outputs], <[f32]>::to_vec);
        assert_eq!(bias.len(), shape.outputs, "{shape:?}");
        let weights = match isa {
            Isa::Scalar => Weights::Plain(weight.to_vec(), bias),
            _ if isa.in_bytes() => Weights::Bytes(Bytes::new(isa, &shape, weight, &bias, false)),
            _ => Weights::Packed(Packed::new(isa, &shape, weight, &bias)),
        };
        Self { shape, isa, weights }
    }

    /// The same for an input of floats whose channels differ too much for one grid of bytes: on paths in bytes, words of 16 bits
    /// are multiplied instead, unless the 32 bits of a sum could not hold so many.
    ///
    /// # Panics
    /// If the lengths do not fit the shape.
    pub fn in_words(isa: Isa, shape: Shape, weight: &[f32], bias: Option<&[f32]>) -> Self {
        let mut conv = Self::new(isa, shape, weight, bias);
        if isa.in_bytes() && shape.inputs * shape.kernel * shape.kernel <= MOST_WORDS {
            let bias = bias.map_or_else(|| vec![0.0; shape.outputs], <[f32]>::to_vec);
            conv.weights = Weights::Bytes(Bytes::new(isa, &shape, weight, &bias, true));
        }
        conv
    }

    /// Its shape.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Computes the convolution into the inside of `out`, whose shape must be the output's.
    ///
    /// # Panics
    /// If a map does not fit the shape; if bytes come to a path in floats.
    pub fn run<'a, 'b>(&self, input: impl Into<Input<'a>>, out: impl Into<Output<'b>>, scratch: &mut Scratch) {
        let (input, out) = (input.into(), out.into());
        assert_eq!(out.shape().0, self.shape.output_size(input).0, "output of {:?}", self.shape);
        self.run_at(0, input, out, scratch);
    }

    /// The same into the rows of `out` from `first` on.
    ///
    /// # Panics
    /// As [`Conv::run`].
    pub fn run_at<'a, 'b>(
        &self,
        first: usize,
        input: impl Into<Input<'a>>,
        out: impl Into<Output<'b>>,
        scratch: &mut Scratch,
    ) {
        self.compute(first, input.into(), out.into(), None, scratch);
    }

    /// Adds the convolution, output `o` times `gain[o % gain.len()]`, to what `out` holds; the activation follows.
    ///
    /// # Panics
    /// As [`Conv::run`].
    pub fn add<'a>(&self, input: impl Into<Input<'a>>, gain: &[f32], out: &mut FeatureMap, scratch: &mut Scratch) {
        let input = input.into();
        assert_eq!(out.height(), self.shape.output_size(input).0, "output of {:?}", self.shape);
        self.compute(0, input, Output::Floats(out), Some(gain), scratch);
    }

    fn compute(&self, first: usize, input: Input, mut out: Output, gain: Option<&[f32]>, scratch: &mut Scratch) {
        let shape = &self.shape;
        assert_eq!(input.shape().2, shape.inputs, "input of {shape:?}");
        assert!(!shape.upsample || input.pad() == Shape::upsample_pad(shape.kernel), "padding of {shape:?}");
        let (height, width) = shape.output_size(input);
        let (rows, columns, channels) = out.shape();
        assert_eq!((columns, channels), (width, shape.outputs), "output of {shape:?}");
        assert!(first + height <= rows, "output of {shape:?}: {height} rows from {first} on of {rows}");
        let all = first == 0 && height == rows;
        let rows = first..first + height;
        match (&self.weights, input, &mut out) {
            (Weights::Plain(weight, bias), Input::Floats(input), Output::Floats(out)) => {
                scalar::run(shape, weight, bias, input, out, rows, gain);
            }
            (Weights::Packed(packed), Input::Floats(input), Output::Floats(out)) => {
                simd::run(self.isa, shape, packed, input, out, rows, gain);
            }
            (Weights::Bytes(weights), input, _) => {
                let range = match input {
                    Input::Floats(view) if weights.in_words() => {
                        let input = scratch.in_words(self.isa, view);
                        bytes::run_words(self.isa, shape, weights, input, &mut out, rows, gain)
                    }
                    _ if weights.in_words() => panic!("bytes for a convolution in words"),
                    _ => {
                        let input = scratch.in_bytes(self.isa, input, Grid::Map);
                        bytes::run(self.isa, shape, weights, input, &mut out, rows, gain)
                    }
                };
                // Of all rows and a ReLU, that is; else nobody knows.
                if let (Output::Floats(out), true, Activation::Relu) = (out, all, shape.activation) {
                    out.set_range(range);
                }
            }
            _ => panic!("bytes for a convolution on {}", self.isa.name()),
        }
    }
}
