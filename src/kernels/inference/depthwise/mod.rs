//! Depthwise convolution of each channel: `out[c] = act(bias[c] + sum over taps of weight[c] * in[c])`. The kernel is square,
//! the stride is arbitrary, and nearest x2 upsampling may precede the convolution. Padding and sizes are as in
//! [`super::convolution`].
mod bytes;
pub mod cuda;
mod scalar;
mod simd;
mod taps;

use crate::kernels::inference::any_map::{Input, Output};
use crate::kernels::inference::layer_shape::{Activation, Shape};
use crate::kernels::inference::quantize::{Grid, QuantizeScratch};
use crate::kernels::inference::upsampling::Cells;
use crate::kernels::isa::{Extent, Isa, KernelPath};
use bytes::BytePass;

/// A depthwise convolution with its weights.
#[derive(Clone, Debug)]
pub struct Depthwise {
    shape: Shape,
    path: KernelPath,
    bias: Vec<f32>,
    passes: Vec<Pass>,
    /// The passes for byte paths; empty on float paths.
    bytes: Vec<BytePass>,
}

/// One rectangle of taps over the map: the whole kernel, or one phase of the upsampled map.
#[derive(Clone, Debug)]
struct Pass {
    /// First row and column, in the padded input, under the taps of output position (0, 0).
    first: (usize, usize),
    /// Rows and columns of taps.
    taps: (usize, usize),
    /// Row and column of the phase in each 2x2 cell of the upsampled map.
    phase: (usize, usize),
    channels: usize,
    /// `[row][column][channel]`.
    weight: Vec<f32>,
}

impl Depthwise {
    /// Creates a convolution with `weight` in `[channels, 1, kernel, kernel]` order; a missing bias is zero.
    ///
    /// # Panics
    /// If the lengths do not match the shape, or the numbers of inputs and outputs differ.
    pub fn new(path: KernelPath, shape: Shape, weight: &[f32], bias: Option<&[f32]>) -> Self {
        assert_eq!(weight.len(), shape.outputs * shape.taps(), "{shape:?}");
        assert_eq!(shape.inputs, shape.outputs, "{shape:?}");
        let bias = bias.map_or_else(|| vec![0.0; shape.outputs], <[f32]>::to_vec);
        assert_eq!(bias.len(), shape.outputs, "{shape:?}");
        let passes = match shape.upsample {
            true => (0..4).map(|phase| Pass::upsampling(&shape, (phase / 2, phase % 2), weight)).collect(),
            false => vec![Pass::plain(&shape, weight)],
        };
        let bytes = match path.in_bytes() {
            true => passes.iter().map(|pass| BytePass::new(path.isa(), &shape, pass, &bias)).collect(),
            false => vec![],
        };
        Self { shape, path, bias, passes, bytes }
    }

    /// Shape of the layer.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Computes the convolution into `out`, which must have the shape of the output. The padding of `out` is not written.
    ///
    /// # Panics
    /// If a map does not match the shape, or is in bytes on a float path. If `out` is in bytes, the activation must be ReLU6
    /// and the range of `out` must be [0, 6].
    pub fn run<'a, 'b>(&self, input: impl Into<Input<'a>>, out: impl Into<Output<'b>>, scratch: &mut QuantizeScratch) {
        let (shape, isa) = (&self.shape, self.path.isa());
        let (input, mut out) = (input.into(), out.into());
        assert_eq!(input.shape().2, shape.inputs, "input of {shape:?}");
        assert!(!shape.upsample || input.pad() == Shape::upsample_pad(shape.side()), "padding of {shape:?}");
        let (height, width) = shape.output_size(input);
        assert_eq!(out.shape(), (height, width, shape.outputs), "output of {shape:?}");
        let range = match (input, &mut out) {
            (input, out) if self.path.in_bytes() => {
                if let Output::Bytes(out) = out {
                    assert!(bytes::holds(shape.activation, out.view()), "bytes of {shape:?}");
                }
                let input = input.in_bytes(isa, Grid::Channels, scratch);
                let run = |passes| bytes::run(isa, shape, passes, input, out);
                self.passes.iter().zip(&self.bytes).map(run).fold(Extent::default(), Extent::or)
            }
            // Fewer channels than lanes: SIMD gains nothing.
            (Input::Floats(input), Output::Floats(out)) if shape.outputs < isa.lanes() || isa == Isa::Scalar => {
                return self.passes.iter().for_each(|pass| scalar::run(shape, pass, &self.bias, input, out));
            }
            (Input::Floats(input), Output::Floats(out)) => {
                let run = |pass| simd::run(isa, shape, pass, &self.bias, input, out);
                self.passes.iter().map(run).fold(Extent::default(), Extent::or)
            }
            _ => panic!("bytes for a convolution on {}", self.path),
        };
        if let Output::Floats(out) = out {
            out.set_range(range);
        }
    }
}

impl Pass {
    fn plain(shape: &Shape, weight: &[f32]) -> Self {
        let kernel = shape.side();
        let mut pass = Self::zeros((kernel, kernel), shape.outputs);
        pass.add(kernel, weight, |ty, tx| (ty, tx));
        pass
    }

    fn upsampling(shape: &Shape, phase: (usize, usize), weight: &[f32]) -> Self {
        let (rows, columns) = (Cells::new(shape.side(), phase.0), Cells::new(shape.side(), phase.1));
        let pad = Shape::upsample_pad(shape.side()).top;
        let first = |cells: Cells| (cells.first() + pad as isize) as usize;
        let mut pass = Self::zeros((rows.count(), columns.count()), shape.outputs);
        (pass.first, pass.phase) = ((first(rows), first(columns)), phase);
        pass.add(shape.side(), weight, |ty, tx| (rows.tap(ty), columns.tap(tx)));
        pass
    }

    fn zeros(taps: (usize, usize), channels: usize) -> Self {
        Self { first: (0, 0), taps, phase: (0, 0), channels, weight: vec![0.0; taps.0 * taps.1 * channels] }
    }

    /// Index of the weight of a channel at this row and column of taps.
    #[inline(always)]
    fn at(&self, (row, column): (usize, usize), channel: usize) -> usize {
        (row * self.taps.1 + column) * self.channels + channel
    }

    /// Adds each weight of the kernel to a tap of the rectangle. `to` converts the row and column of a weight to the row and
    /// column of a tap.
    fn add(&mut self, kernel: usize, weight: &[f32], to: impl Fn(usize, usize) -> (usize, usize)) {
        for (n, weight) in weight.iter().enumerate() {
            let at = self.at(to(n / kernel % kernel, n % kernel), n / (kernel * kernel));
            self.weight[at] += weight;
        }
    }
}
