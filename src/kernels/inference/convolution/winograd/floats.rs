//! Winograd products in float32.
#![allow(unsafe_code)]
use super::super::panels::PanelLayout;
use super::{Buffers, CHANNELS, Factors, FeatureMap, Isa, MapView, Place, Product, Run, Source, Winograd};
use crate::kernels::inference::layer_shape::Shape;
use crate::kernels::isa::winograd::{IN, PLACES, of_weights};
use crate::kernels::isa::{Extent, Kernel, Lanes, Left, MOST_LANES, Right, add_products};
use crate::kernels::threads::idle::Idle;
use std::ops::Range;

/// Transformed weights: a matrix for each place (position in a transformed tile), in the order of `layout`.
#[derive(Clone, Debug)]
pub(in super::super) struct Floats {
    pub(super) layout: PanelLayout,
    pub(super) numbers: Vec<f32>,
}

impl Floats {
    /// Transforms the weights of a range of outputs and inputs, given as OIHW.
    pub(super) fn new(isa: Isa, shape: &Shape, weight: &[f32], outputs: Range<usize>, inputs: Range<usize>) -> Self {
        let layout = PanelLayout::new(isa.lanes(), outputs.len(), inputs.len());
        let mut numbers = vec![0.0; PLACES * layout.len()];
        isa.dispatch(Pack { weight, channels: shape.inputs, block: (outputs, inputs), layout, out: &mut numbers });
        Self { layout, numbers }
    }
}

impl Winograd<Floats> {
    pub(in super::super) fn in_floats(isa: Isa, shape: &Shape, weight: &[f32], bias: &[f32]) -> Self {
        Self::of_blocks(shape, bias, |outputs, inputs| Floats::new(isa, shape, weight, outputs, inputs))
    }

    /// Computes the convolution. Returns the range of the outputs if the activation is ReLU, otherwise [0, 0].
    pub(in super::super) fn run(
        &self,
        isa: Isa,
        shape: &Shape,
        input: MapView,
        out: &mut FeatureMap,
        place: Place,
    ) -> Extent {
        static KEPT: Idle<Buffers<f32>> = Idle::new();
        let buffers = &mut KEPT.take();
        let source = Source { view: input, zero: 0.0, by: [1.0; PLACES], step: 1.0 };
        isa.dispatch(Run { shape, weights: self, source, out, place, buffers })
    }
}

impl Kernel for Run<'_, Floats, f32, f32> {
    type Output = Extent;

    #[inline(always)]
    fn run<L: Lanes>(self) -> Extent {
        match L::MANY_REGISTERS {
            true => self.run::<L, 8>(24),
            false => self.run::<L, 6>(24),
        }
    }
}

impl<L: Lanes> Factors<L> for Floats {
    type Number = f32;

    #[inline(always)]
    unsafe fn store(x: L, _: f32, to: *mut f32) {
        // SAFETY: guaranteed by the caller.
        unsafe { x.store(to) }
    }

    #[inline(always)]
    fn product<const M: usize, const V: usize>(&self, of: Product<f32>, first: usize, to: &mut [f32]) {
        let (Self { layout, numbers }, Product { place, inputs, adds, .. }) = (self, of);
        let (panel, depth) = (&numbers[place * layout.len() + layout.panel(first)..], layout.depth());
        assert!(depth <= CHANNELS && depth * V * L::N <= panel.len() && M * CHANNELS <= inputs.len());
        assert!((M - 1) * CHANNELS + V * L::N <= to.len());
        let mut sums = [[L::splat(0.0); V]; M];
        let to = to.as_mut_ptr();
        // SAFETY: the asserts above bound every address.
        unsafe {
            if adds {
                for (m, sums) in sums.iter_mut().enumerate() {
                    for (v, sum) in sums.iter_mut().enumerate() {
                        *sum = L::load(to.add(m * CHANNELS + v * L::N));
                    }
                }
            }
            let left = Left { from: inputs.as_ptr(), row: CHANNELS, step: 1 };
            add_products(&mut sums, left, Right { from: panel.as_ptr(), row: V * L::N }, depth);
            for (m, sums) in sums.into_iter().enumerate() {
                for (v, sum) in sums.into_iter().enumerate() {
                    sum.store(to.add(m * CHANNELS + v * L::N));
                }
            }
        }
    }
}

/// Computes `G g G^T` for the weights of a block, given as OIHW.
struct Pack<'a> {
    weight: &'a [f32],
    channels: usize,
    block: (Range<usize>, Range<usize>),
    layout: PanelLayout,
    out: &'a mut [f32],
}

impl Kernel for Pack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { weight, channels, block: (outputs, inputs), layout, out } = self;
        for (o, i) in outputs.clone().flat_map(|o| inputs.clone().map(move |i| (o, i))) {
            let taps = &weight[9 * (o * channels + i)..][..9];
            let mut half = [[L::splat(0.0); 3]; IN];
            for x in 0..3 {
                let column = of_weights([0, 1, 2].map(|y| L::splat(taps[3 * y + x])));
                half.iter_mut().zip(column).for_each(|(half, value)| half[x] = value);
            }
            let at = layout.at(i - inputs.start, o - outputs.start);
            for (y, half) in half.into_iter().enumerate() {
                for (x, value) in of_weights(half).into_iter().enumerate() {
                    let mut lanes = [0.0; MOST_LANES];
                    // SAFETY: the buffer has room for the largest vector.
                    unsafe { value.store(lanes.as_mut_ptr()) }
                    out[(y * IN + x) * layout.len() + at] = lanes[0];
                }
            }
        }
    }
}
