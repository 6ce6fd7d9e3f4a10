//! Range and rounding, one number at a time.

use crate::kernels::Extent;

pub(super) fn extent(row: &[f32]) -> Extent {
    row.iter().fold(Extent::default(), |all, &x| all.or(Extent { low: x, high: x }))
}

pub(super) fn quantize(row: &[f32], inverse: f32, zero: f32, out: &mut [u8]) {
    for (out, x) in out.iter_mut().zip(row) {
        // A float becomes the nearest byte there is; NaN gives 0.
        *out = x.mul_add(inverse, zero).round_ties_even() as u8;
    }
}
