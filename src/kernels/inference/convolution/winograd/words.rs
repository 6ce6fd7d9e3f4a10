//! Winograd products in 16-bit words. Compared with a convolution in bytes, there are a quarter as many products, each takes
//! twice as long, and results are more exact.
//!
//! At each place (position in a transformed tile), transformed inputs are scaled to fifteen bits including the sign. No input
//! within the range of the map can overflow. The weights of an output are scaled as high as possible without overflow of the
//! 32-bit sum of all products.
#![allow(unsafe_code)]
use super::super::panels::PanelLayout;
use super::{Buffers, CHANNELS, Factors, FeatureMap, Floats, Isa, Place, Product, Run, Source, Value, Winograd};
use crate::kernels::inference::any_map::Input;
use crate::kernels::inference::layer_shape::Shape;
use crate::kernels::inference::quantize::{QuantizedView, range};
use crate::kernels::isa::winograd::{IN, PLACES, largest_input};
use crate::kernels::isa::{ByteKernel, ByteLanes, Extent, prefetch};
use crate::kernels::threads::idle::Idle;

/// The largest absolute value of a transformed input after scaling.
const LARGEST: f32 = 16383.0;

/// Transformed weights of pairs of inputs: a matrix for each place, in the order of `layout`.
#[derive(Clone, Debug)]
pub(in super::super) struct Words {
    layout: PanelLayout,
    numbers: Vec<[i16; 2]>,
    /// Scale of the weights, `[place][output]`.
    scale: Vec<f32>,
}

impl Words {
    fn new(Floats { layout: of_floats, numbers: floats }: Floats, isa: Isa) -> Self {
        let layout = PanelLayout::new(isa.lanes(), of_floats.outputs(), of_floats.depth().div_ceil(2));
        let mut numbers = vec![[0; 2]; PLACES * layout.len()];
        let mut scale = Vec::with_capacity(PLACES * layout.outputs());
        for place in 0..PLACES {
            let (from, to) = (&floats[place * of_floats.len()..], &mut numbers[place * layout.len()..]);
            for output in 0..layout.outputs() {
                let weights = || (0..of_floats.depth()).map(|input| from[of_floats.at(input, output)]);
                let (largest, all) =
                    weights().fold((0.0_f32, 0.0), |(most, all), w| (most.max(w.abs()), all + w.abs()));
                // Rounding adds up to half a step to each weight.
                let room = i32::MAX as f32 / LARGEST - CHANNELS as f32;
                let step = (largest / f32::from(i16::MAX)).max(all / room).max(f32::MIN_POSITIVE);
                for (input, w) in weights().enumerate() {
                    to[layout.at(input / 2, output)][input % 2] = (w / step).round_ties_even() as i16;
                }
                scale.push(step);
            }
        }
        Self { layout, numbers, scale }
    }
}

/// Returns a factor for each place, which scales transformed inputs to words. `range` is the range of the inputs before the
/// transform.
fn scales(range: Extent) -> [f32; PLACES] {
    let largest = |place| largest_input(place / IN, place % IN, range.low, range.high);
    std::array::from_fn(|place| LARGEST / largest(place).clamp(1e-30, f32::MAX))
}

impl Winograd<Words> {
    pub(in super::super) fn in_words(isa: Isa, shape: &Shape, weight: &[f32], bias: &[f32]) -> Self {
        Self::of_blocks(shape, bias, |outputs, inputs| {
            Words::new(Floats::new(isa, shape, weight, outputs, inputs), isa)
        })
    }

    /// Computes the convolution. Returns the range of the outputs if the activation is ReLU, otherwise [0, 0].
    pub(in super::super) fn run(
        &self,
        isa: Isa,
        shape: &Shape,
        input: Input,
        out: &mut FeatureMap,
        place: Place,
    ) -> Extent {
        static KEPT: Idle<Buffers<i16>> = Idle::new();
        let (buffers, mut extent) = (&mut KEPT.take(), Extent::default());
        match input {
            Input::Floats(view) => {
                let source = Source { view, zero: 0.0, by: scales(range(isa, view)), step: 1.0 };
                let run = Run { shape, weights: self, source, out, place, buffers };
                isa.dispatch_bytes(InWords { run, extent: &mut extent });
            }
            Input::Bytes(QuantizedView { view, scale, zero }) => {
                let (&[scale], &[zero]) = (scale, zero) else { panic!("a convolution takes bytes on one grid") };
                let zero = f32::from(zero);
                let by = scales(Extent { low: -zero, high: 255.0 - zero });
                let source = Source { view, zero, by, step: scale };
                let run = Run { shape, weights: self, source, out, place, buffers };
                isa.dispatch_bytes(InWords { run, extent: &mut extent });
            }
        }
        extent
    }
}

struct InWords<'a, 'b, V> {
    run: Run<'a, Words, V, i16>,
    extent: &'b mut Extent,
}

impl<V: Value> ByteKernel for InWords<'_, '_, V> {
    #[inline(always)]
    fn run<L: ByteLanes>(self) {
        *self.extent = match L::MANY_REGISTERS {
            true => self.run.run::<L, 8>(32),
            false => self.run.run::<L, 4>(24),
        };
    }
}

impl<L: ByteLanes> Factors<L> for Words {
    type Number = i16;

    #[inline(always)]
    unsafe fn store(x: L, by: f32, to: *mut i16) {
        // SAFETY: guaranteed by the caller.
        unsafe { x.mul_add(L::splat(by), L::splat(0.0)).store_words(to, L::N) }
    }

    #[inline(always)]
    fn product<const M: usize, const V: usize>(&self, of: Product<i16>, first: usize, to: &mut [f32]) {
        let (Self { layout, numbers, scale }, Product { place, inputs, step, adds, share: (share, shares) }) =
            (self, of);
        let (panel, pairs) = (&numbers[place * layout.len() + layout.panel(first)..], layout.depth());
        let scale = &scale[place * layout.outputs() + first..];
        assert!(2 * pairs <= CHANNELS && pairs * V * L::N <= panel.len() && M * CHANNELS <= inputs.len());
        assert!((M - 1) * CHANNELS + V * L::N <= to.len() && V * L::N <= scale.len());
        let mut sums: [[L::Sums; V]; M] = [[L::zero(); V]; M];
        let (mut panel, to) = (panel.as_ptr(), to.as_mut_ptr());
        // Weights are read from beyond the L2 cache; with continuous prefetching they arrive faster than they are multiplied.
        let step_ahead = V * L::N / shares;
        let mut ahead = panel.wrapping_add((V * L::N + share * step_ahead) * pairs);
        // SAFETY: the asserts above bound every address.
        unsafe {
            for pair in 0..pairs {
                let weights: [L::Sums; V] = std::array::from_fn(|v| L::weights(panel.add(v * L::N).cast()));
                panel = panel.add(V * L::N);
                prefetch(ahead);
                ahead = ahead.wrapping_add(step_ahead);
                for (m, sums) in sums.iter_mut().enumerate() {
                    let pixels = L::pixels(inputs.as_ptr().add(m * CHANNELS + 2 * pair).cast());
                    for (sum, weights) in sums.iter_mut().zip(weights) {
                        *sum = L::dot_words(*sum, pixels, weights);
                    }
                }
            }
            for v in 0..V {
                let scale = L::load(scale.as_ptr().add(v * L::N)).mul_add(L::splat(step), L::splat(0.0));
                for (m, sums) in sums.iter().enumerate() {
                    let to = to.add(m * CHANNELS + v * L::N);
                    let before = if adds { L::load(to) } else { L::splat(0.0) };
                    L::float(sums[v]).mul_add(scale, before).store(to);
                }
            }
        }
    }
}
