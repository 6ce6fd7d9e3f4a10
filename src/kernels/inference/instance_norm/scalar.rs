//! Moments and the affine transform, one value at a time.
use super::{FeatureMap, Norm, Sums};

pub(super) fn sums(map: &FeatureMap, sums: &mut Sums) {
    sums.clear(map.channels());
    for y in 0..map.height() {
        for pixel in map.row(y).chunks_exact(map.channels()) {
            for (c, &x) in pixel.iter().enumerate() {
                sums.sum[c] += f64::from(x);
                sums.square[c] += f64::from(x) * f64::from(x);
                sums.low[c] = sums.low[c].min(x);
                sums.high[c] = sums.high[c].max(x);
            }
        }
    }
}

/// Replaces each value `old` of `out` by `then(scale[c] * in + shift[c], old)`.
pub(super) fn affine(input: &FeatureMap, norm: &Norm, out: &mut FeatureMap, then: impl Fn(f32, f32) -> f32) {
    for y in 0..input.height() {
        for (i, (x, out)) in input.row(y).iter().zip(out.row_mut(y)).enumerate() {
            let c = i % norm.scale.len();
            *out = then(x.mul_add(norm.scale[c], norm.shift[c]), *out);
        }
    }
}
