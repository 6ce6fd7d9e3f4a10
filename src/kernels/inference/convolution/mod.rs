//! Dense and pointwise convolution of one image: `out[o] = act(bias[o] + sum over taps and i of weight[o, i] * in[i])`. Kernel
//! and stride are arbitrary, and nearest x2 upsampling may precede the convolution.
//!
//! A convolution adds no padding of its own (VALID): it visits every position at which the kernel is inside the *padded* map.
//! Size and contents of the padding are set in the map. The size of the padding determines the size of the output.
mod bytes;
pub mod cuda;
mod pack;
mod panels;
mod scalar;
mod simd;
mod tiles;
mod winograd;

use crate::kernels::inference::any_map::{Input, Output};
use crate::kernels::inference::feature_map::{FeatureMap, MapView};
use crate::kernels::inference::layer_shape::{Activation, Shape};
use crate::kernels::inference::quantize::{Grid, MOST_WORDS, QuantizeScratch};
use crate::kernels::isa::{Isa, KernelPath};
use bytes::Bytes;
use pack::Packed;
use std::ops::Range;
use winograd::{Floats, Winograd, Words};

/// A convolution with its weights, packed for one [`KernelPath`].
#[derive(Clone, Debug)]
pub struct Conv {
    shape: Shape,
    isa: Isa,
    weights: Weights,
}

#[derive(Clone, Debug)]
enum Weights {
    /// Weights in OIHW order and bias, as passed in.
    Plain(Vec<f32>, Vec<f32>),
    Packed(Packed),
    /// Weights for large maps, and weights for all other cases.
    Winograd(Winograd<Floats>, Packed),
    Bytes(Bytes),
    /// Weights for large maps with float outputs, and weights for all other cases.
    WinogradInWords(Winograd<Words>, Bytes),
}

/// The part of a map to which an output is written.
#[derive(Clone, Debug)]
struct Place {
    rows: Range<usize>,
    /// First channel.
    channel: usize,
}

impl Conv {
    /// Creates a convolution with `weight` in OIHW order; a missing bias is zero.
    ///
    /// # Panics
    /// If the lengths do not match the shape.
    pub fn new(path: KernelPath, shape: Shape, weight: &[f32], bias: Option<&[f32]>) -> Self {
        Self::pack(path, shape, weight, bias, false)
    }

    /// Like [`Conv::new`], but byte paths multiply 16-bit words instead of bytes.
    ///
    /// This is for float inputs whose channels have very different ranges: bytes over one common range would be too coarse. If
    /// a sum of products of words might exceed 32 bits, bytes are used nevertheless.
    ///
    /// # Panics
    /// If the lengths do not match the shape.
    pub fn in_words(path: KernelPath, shape: Shape, weight: &[f32], bias: Option<&[f32]>) -> Self {
        Self::pack(path, shape, weight, bias, shape.inputs * shape.taps() <= MOST_WORDS)
    }

    fn pack(path: KernelPath, shape: Shape, weight: &[f32], bias: Option<&[f32]>, words: bool) -> Self {
        assert_eq!(weight.len(), shape.outputs * shape.inputs * shape.taps(), "{shape:?}");
        let bias = &bias.map_or_else(|| vec![0.0; shape.outputs], <[f32]>::to_vec)[..];
        assert_eq!(bias.len(), shape.outputs, "{shape:?}");
        let isa = path.isa();
        let floats = || Packed::new(isa, &shape, weight, bias);
        let bytes = |words| Bytes::new(isa, &shape, weight, bias, words);
        let weights = match (path.in_bytes(), winograd::suits(&shape)) {
            _ if isa == Isa::Scalar => Weights::Plain(weight.to_vec(), bias.to_vec()),
            (true, _) if words => Weights::Bytes(bytes(true)),
            (true, true) => Weights::WinogradInWords(Winograd::in_words(isa, &shape, weight, bias), bytes(false)),
            (true, false) => Weights::Bytes(bytes(false)),
            (false, true) => Weights::Winograd(Winograd::in_floats(isa, &shape, weight, bias), floats()),
            (false, false) => Weights::Packed(floats()),
        };
        Self { shape, isa, weights }
    }

    /// Shape of the layer.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Returns whether a map of this height and width should be passed as floats even on a byte path. Floats are then as fast
    /// as bytes, and more exact.
    pub fn wants_floats(&self, size: (usize, usize)) -> bool {
        matches!(self.weights, Weights::WinogradInWords(..)) && winograd::wins(size)
    }

    /// Computes the convolution into `out`, which must have the shape of the output. The padding of `out` is not written.
    ///
    /// # Panics
    /// If a map does not match the shape, or bytes are passed to a float path or to a convolution in words.
    pub fn run<'a, 'b>(&self, input: impl Into<Input<'a>>, out: impl Into<Output<'b>>, scratch: &mut QuantizeScratch) {
        let (input, out) = (input.into(), out.into());
        assert_eq!(out.shape().0, self.shape.output_size(input).0, "output of {:?}", self.shape);
        self.run_at(0, input, out, scratch);
    }

    /// Like [`Conv::run`], but writes to the rows of `out` from `first` on.
    ///
    /// # Panics
    /// The same as [`Conv::run`].
    pub fn run_at<'a, 'b>(
        &self,
        first: usize,
        input: impl Into<Input<'a>>,
        out: impl Into<Output<'b>>,
        scratch: &mut QuantizeScratch,
    ) {
        self.compute((first, 0), input.into(), out.into(), None, scratch);
    }

    /// Like [`Conv::run`], but writes to the channels of `out` from `channel` on. This builds concatenated maps.
    ///
    /// # Panics
    /// The same as [`Conv::run`].
    pub fn run_beside<'a, 'b>(
        &self,
        channel: usize,
        input: impl Into<Input<'a>>,
        out: impl Into<Output<'b>>,
        scratch: &mut QuantizeScratch,
    ) {
        self.compute((0, channel), input.into(), out.into(), None, scratch);
    }

    /// Adds the convolution to the contents of `out`, and then applies the activation. Before the addition, output `o` of the
    /// convolution is multiplied by `gain[o % gain.len()]`.
    ///
    /// # Panics
    /// The same as [`Conv::run`].
    pub fn add<'a>(
        &self,
        input: impl Into<Input<'a>>,
        gain: &[f32],
        out: &mut FeatureMap,
        scratch: &mut QuantizeScratch,
    ) {
        let input = input.into();
        assert_eq!(out.height(), self.shape.output_size(input).0, "output of {:?}", self.shape);
        self.compute((0, 0), input, Output::Floats(out), Some(gain), scratch);
    }

    fn compute(
        &self,
        (first, channel): (usize, usize),
        input: Input,
        mut out: Output,
        gain: Option<&[f32]>,
        scratch: &mut QuantizeScratch,
    ) {
        let shape = &self.shape;
        assert_eq!(input.shape().2, shape.inputs, "input of {shape:?}");
        assert!(!shape.upsample || input.pad() == Shape::upsample_pad(shape.side()), "padding of {shape:?}");
        let (height, width) = shape.output_size(input);
        let (rows, columns, channels) = out.shape();
        assert!(columns == width && channel + shape.outputs <= channels, "output of {shape:?} in {channels} channels");
        assert!(first + height <= rows, "output of {shape:?}: {height} rows from {first} on of {rows}");
        // The range of a map is known if all of it has just been written through a ReLU.
        let all = (height, shape.outputs) == (rows, channels);
        let known = all && shape.activation == Activation::Relu && gain.is_none();
        let large = gain.is_none() && winograd::wins((height, width));
        let place = Place { rows: first..first + height, channel };
        match (&self.weights, input, &mut out) {
            (Weights::Plain(weight, bias), Input::Floats(input), Output::Floats(out)) => {
                scalar::run(shape, weight, bias, input, out, place, gain);
            }
            (Weights::Winograd(weights, _), Input::Floats(input), Output::Floats(out)) if large => {
                let range = weights.run(self.isa, shape, input, out, place);
                if known {
                    out.set_range(range);
                }
            }
            (Weights::WinogradInWords(weights, _), input, Output::Floats(out)) if large => {
                let range = weights.run(self.isa, shape, input, out, place);
                if known {
                    out.set_range(range);
                }
            }
            (Weights::Packed(packed) | Weights::Winograd(_, packed), Input::Floats(input), Output::Floats(out)) => {
                simd::run(self.isa, shape, packed, input, out, place, gain)
            }
            (Weights::Bytes(weights) | Weights::WinogradInWords(_, weights), input, _) => {
                let range = match input {
                    Input::Floats(view) if weights.in_words() => {
                        let input = scratch.words(self.isa, view);
                        bytes::run_words(self.isa, shape, weights, input, &mut out, place, gain)
                    }
                    _ if weights.in_words() => panic!("bytes for a convolution in words"),
                    _ => {
                        let input = input.in_bytes(self.isa, Grid::Map, scratch);
                        bytes::run(self.isa, shape, weights, input, &mut out, place, gain)
                    }
                };
                if let (Output::Floats(out), true) = (out, known) {
                    out.set_range(range);
                }
            }
            _ => panic!("bytes for a convolution on {}", self.isa.name()),
        }
    }
}
