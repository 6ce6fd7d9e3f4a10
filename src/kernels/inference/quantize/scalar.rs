//! Ranges and rounding, one value at a time.

use crate::kernels::inference::feature_map::MapView;
use crate::kernels::isa::Extent;

/// Computes the range of each channel.
pub(super) fn extents(map: MapView, out: &mut Vec<Extent>) {
    out.resize(map.channels, Extent::default());
    for (i, &x) in map.padded_rows().flat_map(|row| row.iter().enumerate()) {
        let range = &mut out[i % map.channels];
        *range = range.or(Extent { low: x, high: x });
    }
}

pub(super) fn quantize(row: &[f32], scale: &[f32], zero: &[u8], out: &mut [u8]) {
    for ((out, x), (scale, &zero)) in out.iter_mut().zip(row).zip(scale.iter().zip(zero).cycle()) {
        // Casting a float saturates; NaN becomes 0.
        *out = x.mul_add(1.0 / scale, f32::from(zero)).round_ties_even() as u8;
    }
}
