//! Convolution in bytes: the tiles of `simd.rs`, with four numbers of k at a time,
//! `out = scale_in scale[o] (sum of q[k] w[o][k] - zero sum of w[o][k]) + bias[o]`.
//!
//! A row of taps is filled up with zeros to a multiple of four.
#![allow(unsafe_code)]
use super::pack::{Packed, Pass};
use super::tiles::{Product, tiles};
use super::{Isa, Output, Shape};
use crate::kernels::Extent;
use crate::kernels::isa::{ByteKernel, ByteLanes};
use crate::kernels::quantize::{self, QuantizedView};
use std::ops::Range;

/// How much the sum of an output's weights counts beside the weights themselves: what comes out of a ReLU has a mean.
const SMOOTH: f32 = 0.2;

/// Weights of a convolution as passes.
#[derive(Clone, Debug)]
pub(super) struct Bytes {
    passes: Vec<BytePass>,
    narrow: Vec<BytePass>,
}

#[derive(Clone, Debug)]
struct BytePass {
    /// Without panels.
    pass: Pass,
    /// `[pair of vectors][k / 4][lanes of the pair][4]`.
    panels: Vec<i8>,
    /// `[vectors][lanes]`: what one step of a weight is worth.
    scale: Vec<f32>,
    /// `[vectors][lanes]`: the sum of the weights, times their scale.
    sum: Vec<f32>,
}

impl Bytes {
    pub(super) fn new(isa: Isa, shape: &Shape, weight: &[f32], bias: &[f32]) -> Self {
        let Packed { passes, narrow } = Packed::new(isa, shape, weight, bias);
        let quantized = |passes: Vec<Pass>| passes.into_iter().map(|pass| BytePass::new(isa, shape, pass)).collect();
        Self { passes: quantized(passes), narrow: quantized(narrow) }
    }

    fn for_width(&self, columns: usize) -> &[BytePass] {
        if self.passes[0].pass.group > columns { &self.narrow } else { &self.passes }
    }
}

/// Bytes of a row of taps, of which this many are in use.
fn padded_run(run: usize) -> usize {
    run.next_multiple_of(4)
}

impl BytePass {
    fn new(isa: Isa, shape: &Shape, mut pass: Pass) -> Self {
        let (lanes, run) = (isa.lanes(), pass.taps.1 * shape.inputs);
        let (rows, padded) = (pass.taps.0, padded_run(run));
        let outputs = pass.bias.len();
        let floats = std::mem::take(&mut pass.panels);
        let (mut scale, mut sum) = (vec![0.0; outputs], vec![0.0; outputs]);
        let mut panels = vec![0; outputs * rows * padded];
        for lane in 0..outputs {
            let first = lane / (2 * lanes) * (2 * lanes);
            let wide = (outputs - first).min(2 * lanes);
            let mut row = vec![0.0; rows * padded];
            for (ty, tx) in (0..rows * run).map(|k| (k / run, k % run)) {
                row[ty * padded + tx] = floats[first * rows * run + (ty * run + tx) * wide + lane - first];
            }
            let (row, step) = quantize::weights(isa, &row, SMOOTH);
            for (k, &weight) in row.iter().enumerate() {
                panels[first * rows * padded + k / 4 * 4 * wide + (lane - first) * 4 + k % 4] = weight;
            }
            let total: i32 = row.iter().map(|&w| i32::from(w)).sum();
            (scale[lane], sum[lane]) = (step, total as f32 * step);
        }
        Self { pass, panels, scale, sum }
    }
}

/// Gives the range of what a ReLU left.
pub(super) fn run(
    isa: Isa,
    shape: &Shape,
    weights: &Bytes,
    input: QuantizedView,
    out: &mut Output,
    rows: Range<usize>,
    gain: Option<&[f32]>,
) -> Extent {
    let mut extent = Extent::default();
    for pass in weights.for_width(out.shape().1) {
        isa.dispatch_bytes(Run { shape, pass, input, out: &mut *out, rows: rows.clone(), gain, extent: &mut extent });
    }
    extent
}

struct Run<'a, 'b> {
    shape: &'a Shape,
    pass: &'a BytePass,
    input: QuantizedView<'a>,
    out: &'a mut Output<'b>,
    rows: Range<usize>,
    gain: Option<&'a [f32]>,
    extent: &'a mut Extent,
}

impl ByteKernel for Run<'_, '_> {
    #[inline(always)]
    fn run<L: ByteLanes>(self) {
        let Self { shape, pass, input, out, rows, gain, extent } = self;
        let product = Products { shape, pass, input };
        let range = match out {
            Output::Floats(out) => tiles::<L, _, _>(shape, &pass.pass, product, *out, rows, gain),
            Output::Bytes(out) => tiles::<L, _, _>(shape, &pass.pass, product, *out, rows, gain),
        };
        *extent = extent.or(range);
    }
}

struct Products<'a> {
    shape: &'a Shape,
    pass: &'a BytePass,
    input: QuantizedView<'a>,
}

impl<L: ByteLanes> Product<L> for Products<'_> {
    const GROUPS: usize = if L::MANY_REGISTERS { 8 } else { 4 };

    #[inline(always)]
    fn sums<const M: usize, const V: usize>(&self, first: usize, y: usize, x: usize) -> [[L; V]; M] {
        let Self { shape, pass: BytePass { pass, panels, scale, sum }, input } = *self;
        let (rows, run) = (pass.taps.0, padded_run(pass.taps.1 * shape.inputs));
        let group = pass.group * shape.stride * shape.inputs;
        let (bytes, stride) = (input.view.data, input.view.stride);
        let start = (y * shape.stride + pass.first.0) * stride + (x * shape.stride + pass.first.1) * shape.inputs;
        let panel = &panels[first * rows * run..];
        let [scale, sum, bias] = [scale, sum, &pass.bias].map(|all| &all[first..]);
        assert!(start + (M - 1) * group + (rows - 1) * stride + run <= bytes.len());
        assert!(rows * run * V * L::N <= panel.len() && [scale, sum, bias].iter().all(|all| V * L::N <= all.len()));

        let mut sums: [[L::Sums; V]; M] = [[L::zero(); V]; M];
        let mut panel = panel.as_ptr();
        for ty in 0..rows {
            // SAFETY: the asserts above bound every address read here.
            let pixels = unsafe { bytes.as_ptr().add(start + ty * stride) };
            for k in (0..run).step_by(4) {
                // SAFETY: as above.
                unsafe {
                    let weights: [L::Sums; V] = std::array::from_fn(|v| L::weights(panel.add(v * 4 * L::N)));
                    panel = panel.add(V * 4 * L::N);
                    for (m, sums) in sums.iter_mut().enumerate() {
                        let pixel = L::pixels(pixels.add(m * group + k));
                        for (sum, weight) in sums.iter_mut().zip(weights) {
                            *sum = L::dot(*sum, pixel, weight);
                        }
                    }
                }
            }
        }
        let mut out = [[L::splat(0.0); V]; M];
        for v in 0..V {
            // SAFETY: as above.
            let (scale, sum, bias) = unsafe {
                let [scale, sum, bias] = [scale.as_ptr(), sum.as_ptr(), bias.as_ptr()];
                (L::load(scale.add(v * L::N)), L::load(sum.add(v * L::N)), L::load(bias.add(v * L::N)))
            };
            let by = scale.mul_add(L::splat(input.scale), L::splat(0.0));
            // The bias, less what `zero` adds.
            let plus = sum.mul_add(L::splat(-input.zero * input.scale), bias);
            for (out, sums) in out.iter_mut().zip(&sums) {
                out[v] = L::float(sums[v]).mul_add(by, plus);
            }
        }
        out
    }
}
