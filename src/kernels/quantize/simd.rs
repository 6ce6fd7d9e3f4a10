//! Range and rounding, four vectors at a time.
#![allow(unsafe_code)]
use super::{Extent, Isa};
use crate::kernels::isa::{ByteKernel, ByteLanes, Extents, Kernel, Lanes, load_block, mul_add_block};

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
    isa.dispatch_bytes(Quantize { row, inverse, zero, out });
}

struct Quantize<'a> {
    row: &'a [f32],
    inverse: f32,
    zero: f32,
    out: &'a mut [u8],
}

impl ByteKernel for Quantize<'_> {
    #[inline(always)]
    fn run<L: ByteLanes>(self) {
        let (by, plus) = ([L::splat(self.inverse); 4], [L::splat(self.zero); 4]);
        let n = self.row.len().min(self.out.len());
        for at in (0..n).step_by(4 * L::N) {
            let used = (n - at).min(4 * L::N);
            // SAFETY: `at + used` is within both rows, and the lanes of each load are those below `used`.
            unsafe {
                let floats = load_block::<L>(self.row.as_ptr().add(at), used);
                L::store_bytes(mul_add_block(floats, by, plus), self.out.as_mut_ptr().add(at), used);
            }
        }
    }
}
