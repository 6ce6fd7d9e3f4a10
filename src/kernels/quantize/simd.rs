//! Range and rounding in loops that vectorise as they stand.
#![allow(unsafe_code)]
use super::{Extent, Isa};
use crate::kernels::isa::{Extents, Kernel, Lanes};

pub(super) fn extent(isa: Isa, row: &[f32]) -> Extent {
    isa.dispatch(Row(row))
}

struct Row<'a>(&'a [f32]);

impl Kernel for Row<'_> {
    type Output = Extent;

    #[inline(always)]
    fn run<L: Lanes>(self) -> Extent {
        let mut extents = [Extents::<L>::default(); 4];
        let mut chunks = self.0.chunks_exact(4 * L::N);
        for chunk in &mut chunks {
            for (i, extents) in extents.iter_mut().enumerate() {
                // SAFETY: the chunk has 4 N floats.
                extents.add(unsafe { L::load(chunk.as_ptr().add(i * L::N)) });
            }
        }
        let rest = chunks.remainder().iter().fold(Extent::default(), |all, &x| all.or(Extent { low: x, high: x }));
        extents.into_iter().fold(rest, |all, extents| all.or(extents.of_lanes()))
    }
}

pub(super) fn quantize(isa: Isa, row: &[f32], inverse: f32, zero: f32, out: &mut [u8]) {
    isa.dispatch(Quantize { row, inverse, zero, out });
}

struct Quantize<'a> {
    row: &'a [f32],
    inverse: f32,
    zero: f32,
    out: &'a mut [u8],
}

impl Kernel for Quantize<'_> {
    type Output = ();

    #[inline(always)]
    #[expect(clippy::manual_clamp, reason = "clamp lets NaN through")]
    fn run<L: Lanes>(self) {
        let plus = self.zero + 0.5;
        for (out, x) in self.out.iter_mut().zip(self.row) {
            // `max` before `min`, as NaN is to give 0.
            let x = (x * self.inverse + plus).max(0.0).min(255.0);
            // SAFETY: between 0 and 255.
            *out = unsafe { x.to_int_unchecked::<i32>() } as u8;
        }
    }
}
