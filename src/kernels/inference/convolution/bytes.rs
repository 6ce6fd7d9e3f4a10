//! Convolution in integers, in the tiles of `tiles.rs`. Unlike in `simd.rs`, each step covers four values of k in bytes, or two
//! in 16-bit words (k as in `pack.rs`). For quantized inputs q and weights w,
//! `out = scale_in * scale[o] * (sum of q[k] w[o][k] - zero * sum of w[o][k]) + bias[o]`.
//!
//! Rows of taps are padded with zeros to a multiple of four bytes.
#![allow(unsafe_code)]
use super::pack::{Packed, Pass};
use super::panels::PanelLayout;
use super::tiles::{Groups, Product, tiles};
use super::{Isa, Output, Place};
use crate::kernels::inference::feature_map::MapView;
use crate::kernels::inference::layer_shape::Shape;
use crate::kernels::inference::quantize::{self, QuantizedView, Words};
use crate::kernels::isa::{ByteKernel, ByteLanes, Extent};

/// The argument `smooth` of [`quantize::weights`]. Inputs are often outputs of a ReLU, with a mean above 0, so the error of the
/// sum of the weights matters too.
const SMOOTH: f32 = 0.2;

/// Quantized weights of a convolution, as passes.
#[derive(Clone, Debug)]
pub(super) struct Bytes {
    passes: Vec<BytePass>,
    narrow: Vec<BytePass>,
    /// Whether inputs and weights are 16-bit words instead of bytes; see [`super::Conv::in_words`].
    words: bool,
}

#[derive(Clone, Debug)]
struct BytePass {
    /// The pass, without its float32 panels.
    pass: Pass,
    /// The weights in the order of `layout`. Each element of the layout is the four bytes of one step for one output.
    panels: Vec<u8>,
    layout: PanelLayout,
    /// Scale of the weights of each output.
    scale: Vec<f32>,
    /// Sum of the quantized weights of each output, times the scale of the weights; 0 for words.
    sum: Vec<f32>,
}

impl Bytes {
    pub(super) fn new(isa: Isa, shape: &Shape, weight: &[f32], bias: &[f32], words: bool) -> Self {
        let Packed { passes, narrow } = Packed::new(isa, shape, weight, bias);
        let quantized =
            |passes: Vec<Pass>| passes.into_iter().map(|pass| BytePass::new(isa, shape, pass, words)).collect();
        Self { passes: quantized(passes), narrow: quantized(narrow), words }
    }

    pub(super) fn in_words(&self) -> bool {
        self.words
    }

    fn passes_for(&self, shape: &Shape, map: (usize, usize)) -> &[BytePass] {
        if self.passes[0].pass.fits(shape, map) { &self.passes } else { &self.narrow }
    }
}

impl BytePass {
    fn new(isa: Isa, shape: &Shape, mut pass: Pass, words: bool) -> Self {
        let run = pass.taps.1 * shape.inputs;
        let (rows, padded) = (pass.taps.0, run.next_multiple_of(if words { 2 } else { 4 }));
        let outputs = pass.bias.len();
        let (mut scale, mut sum) = (vec![0.0; outputs], vec![0.0; outputs]);
        let bytes = rows * padded * if words { 2 } else { 1 };
        let layout = PanelLayout::new(isa.lanes(), outputs, bytes / 4);
        let mut panels = vec![0; 4 * layout.len()];
        for lane in 0..outputs {
            let mut filter = vec![0.0; rows * padded];
            for k in 0..rows * run {
                filter[k / run * padded + k % run] = pass.panels[pass.layout.at(k, lane)];
            }
            let (row, total): (Vec<u8>, i32) = match words {
                true => {
                    let (row, step) = quantize::weights_in_words(&filter);
                    scale[lane] = step;
                    (row.iter().flat_map(|w| w.to_le_bytes()).collect(), 0)
                }
                false => {
                    let (row, step) = quantize::weights(isa, &filter, SMOOTH);
                    scale[lane] = step;
                    (row.iter().map(|w| w.cast_unsigned()).collect(), row.iter().map(|&w| i32::from(w)).sum())
                }
            };
            sum[lane] = total as f32 * scale[lane];
            for (four, weights) in row.chunks_exact(4).enumerate() {
                panels[4 * layout.at(four, lane)..][..4].copy_from_slice(weights);
            }
        }
        pass.panels = vec![];
        Self { pass, panels, layout, scale, sum }
    }
}

/// The quantized input, bytes or 16-bit words, as a slice of bytes.
#[derive(Clone, Copy)]
struct Numbers<'a> {
    bytes: &'a [u8],
    /// Number of bytes from one row to the next.
    stride: usize,
    /// Number of bytes of a pixel.
    pixel: usize,
    scale: f32,
    zero: f32,
}

impl<'a> Numbers<'a> {
    fn of_bytes(QuantizedView { view, scale, zero }: QuantizedView<'a>) -> Self {
        let (&[scale], &[zero]) = (scale, zero) else { panic!("a convolution takes bytes on one grid") };
        Self { bytes: view.data, stride: view.stride, pixel: view.channels, scale, zero: zero.into() }
    }

    fn of_words(words: &'a Words) -> Self {
        let MapView { data, stride, channels, .. } = words.map.view();
        Self {
            bytes: bytemuck::cast_slice(data),
            stride: 2 * stride,
            pixel: 2 * channels,
            scale: words.scale,
            zero: 0.0,
        }
    }
}

/// Computes the convolution from bytes. Returns the range of the outputs if the activation is ReLU and there is no gain,
/// otherwise [0, 0].
///
/// # Panics
/// If the input was quantized with a range for each channel instead of one range for the map.
pub(super) fn run(
    isa: Isa,
    shape: &Shape,
    weights: &Bytes,
    input: QuantizedView,
    out: &mut Output,
    place: Place,
    gain: Option<&[f32]>,
) -> Extent {
    run_numbers::<false>(isa, shape, weights, Numbers::of_bytes(input), out, place, gain)
}

/// Like [`run`], for an input in words.
pub(super) fn run_words(
    isa: Isa,
    shape: &Shape,
    weights: &Bytes,
    input: &Words,
    out: &mut Output,
    place: Place,
    gain: Option<&[f32]>,
) -> Extent {
    run_numbers::<true>(isa, shape, weights, Numbers::of_words(input), out, place, gain)
}

fn run_numbers<const WORDS: bool>(
    isa: Isa,
    shape: &Shape,
    weights: &Bytes,
    input: Numbers,
    out: &mut Output,
    place: Place,
    gain: Option<&[f32]>,
) -> Extent {
    let mut extent = Extent::default();
    let (_, columns, channels) = out.shape();
    for pass in weights.passes_for(shape, (columns, channels)) {
        let (out, place, extent) = (&mut *out, place.clone(), &mut extent);
        isa.dispatch_bytes(Run::<WORDS> { shape, pass, input, out, place, gain, extent });
    }
    extent
}

struct Run<'a, 'b, const WORDS: bool> {
    shape: &'a Shape,
    pass: &'a BytePass,
    input: Numbers<'a>,
    out: &'a mut Output<'b>,
    place: Place,
    gain: Option<&'a [f32]>,
    extent: &'a mut Extent,
}

impl<const WORDS: bool> ByteKernel for Run<'_, '_, WORDS> {
    #[inline(always)]
    fn run<L: ByteLanes>(self) {
        let Self { shape, pass, input, out, place, gain, extent } = self;
        let product = Products::<WORDS> { shape, pass, input };
        let range = match out {
            Output::Floats(out) => tiles::<L, _, _>(shape, &pass.pass, product, *out, place, gain),
            Output::Bytes(out) => tiles::<L, _, _>(shape, &pass.pass, product, *out, place, gain),
        };
        *extent = extent.or(range);
    }
}

struct Products<'a, const WORDS: bool> {
    shape: &'a Shape,
    pass: &'a BytePass,
    input: Numbers<'a>,
}

impl<L: ByteLanes, const WORDS: bool> Product<L> for Products<'_, WORDS> {
    const GROUPS: Groups = if L::MANY_REGISTERS { Groups::Eight } else { Groups::Four };

    #[inline(always)]
    fn sums<const M: usize, const V: usize>(&self, first: usize, y: usize, x: usize) -> [[L; V]; M] {
        let Self { shape, pass: BytePass { pass, panels, layout, scale, sum }, input } = *self;
        let Numbers { bytes, stride, pixel, .. } = input;
        let (rows, run) = (pass.taps.0, (pass.taps.1 * pixel).next_multiple_of(4));
        let group = pass.group * shape.stride * pixel;
        let start = (y * shape.stride + pass.first.0) * stride + (x * shape.stride + pass.first.1) * pixel;
        let panel = &panels[4 * layout.panel(first)..];
        let [scale, sum, bias] = [scale, sum, &pass.bias].map(|all| &all[first..]);
        assert!(start + (M - 1) * group + (rows - 1) * stride + run <= bytes.len());
        assert!(rows * run * V * L::N <= panel.len() && [scale, sum, bias].iter().all(|all| V * L::N <= all.len()));

        let mut sums: [[L::Sums; V]; M] = [[L::zero(); V]; M];
        let (mut panel, mut pixels) = (panel.as_ptr(), bytes.as_ptr().wrapping_add(start));
        // A single loop over all rows: with two, the compiler would move the sums between registers in each step.
        let mut left = run;
        for _ in 0..rows * run / 4 {
            // SAFETY: the asserts above bound every address read here.
            unsafe {
                let weights: [L::Sums; V] = std::array::from_fn(|v| L::weights(panel.add(v * 4 * L::N).cast()));
                for (m, sums) in sums.iter_mut().enumerate() {
                    let pixel = L::pixels(pixels.add(m * group));
                    for (sum, weight) in sums.iter_mut().zip(weights) {
                        *sum = match WORDS {
                            true => L::dot_words(*sum, pixel, weight),
                            false => L::dot(*sum, pixel, weight),
                        };
                    }
                }
            }
            (panel, pixels, left) = (panel.wrapping_add(V * 4 * L::N), pixels.wrapping_add(4), left - 4);
            if left == 0 {
                (pixels, left) = (pixels.wrapping_add(stride).wrapping_sub(run), run);
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
            // The bias, minus the contribution of `zero`.
            let plus = sum.mul_add(L::splat(-input.zero * input.scale), bias);
            for (out, sums) in out.iter_mut().zip(&sums) {
                out[v] = L::float(sums[v]).mul_add(by, plus);
            }
        }
        out
    }
}
