//! Range and rounding, one number at a time.

use crate::kernels::Extent;

pub(super) fn extent(row: &[f32]) -> Extent {
    row.iter().fold(Extent::default(), |all, &x| all.or(Extent { low: x, high: x }))
}

pub(super) fn quantize(row: &[f32], inverse: f32, zero: f32, out: &mut [u8]) {
    for (out, x) in out.iter_mut().zip(row) {
        // Truncated after adding a half; NaN gives 0.
        *out = (x * inverse + (zero + 0.5)).clamp(0.0, 255.0) as u8;
    }
}
