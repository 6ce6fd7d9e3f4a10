//! Convolution in float32, as a matrix product over the padded map: `sums[m][v] += pixel[m][k] * panel[k][v]`.
#![allow(unsafe_code)]
use super::pack::{Packed, Pass};
use super::tiles::{Groups, Product, tiles};
use super::{FeatureMap, Isa, MapView, Place};
use crate::kernels::inference::layer_shape::Shape;
use crate::kernels::isa::{Kernel, Lanes, Left, Right, add_products};

pub(super) fn run(
    isa: Isa,
    shape: &Shape,
    packed: &Packed,
    input: MapView,
    out: &mut FeatureMap,
    place: Place,
    gain: Option<&[f32]>,
) {
    for pass in packed.passes_for(shape, (out.width(), out.channels())) {
        isa.dispatch(Run { shape, pass, input, out, place: place.clone(), gain });
    }
}

struct Run<'a> {
    shape: &'a Shape,
    pass: &'a Pass,
    input: MapView<'a>,
    out: &'a mut FeatureMap,
    place: Place,
    gain: Option<&'a [f32]>,
}

impl Kernel for Run<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { shape, pass, input, out, place, gain } = self;
        tiles::<L, _, _>(shape, pass, Floats { shape, pass, input }, out, place, gain);
    }
}

struct Floats<'a> {
    shape: &'a Shape,
    pass: &'a Pass,
    input: MapView<'a>,
}

impl<L: Lanes> Product<L> for Floats<'_> {
    const GROUPS: Groups = if L::MANY_REGISTERS { Groups::Eight } else { Groups::Six };

    #[inline(always)]
    fn sums<const M: usize, const V: usize>(&self, first: usize, y: usize, x: usize) -> [[L; V]; M] {
        let Self { shape, pass, input } = *self;
        let (rows, run) = (pass.taps.0, pass.taps.1 * shape.inputs);
        let group = pass.group * shape.stride * shape.inputs;
        let start = (y * shape.stride + pass.first.0) * input.stride + (x * shape.stride + pass.first.1) * shape.inputs;
        let (panel, bias) = (&pass.panels[pass.layout.panel(first)..], &pass.bias[first..]);
        assert!(start + (M - 1) * group + (rows - 1) * input.stride + run <= input.data.len());
        assert!(rows * run * V * L::N <= panel.len() && V * L::N <= bias.len());

        // SAFETY: the asserts above bound every address read here.
        let mut sums: [[L; V]; M] = [std::array::from_fn(|v| unsafe { L::load(bias.as_ptr().add(v * L::N)) }); M];
        for ty in 0..rows {
            // SAFETY: as above.
            unsafe {
                let pixels = Left { from: input.data.as_ptr().add(start + ty * input.stride), row: group, step: 1 };
                let weights = Right { from: panel.as_ptr().add(ty * run * V * L::N), row: V * L::N };
                add_products(&mut sums, pixels, weights, run);
            }
        }
        sums
    }
}
