//! Moments and the affine map, one number at a time.
use super::{Extent, Map, Then};

pub(super) fn sums(map: &Map, sum: &mut [f64], square: &mut [f64]) {
    for y in 0..map.height() {
        for pixel in map.row(y).chunks_exact(map.channels()) {
            for ((&x, sum), square) in pixel.iter().zip(&mut *sum).zip(&mut *square) {
                *sum += f64::from(x);
                *square += f64::from(x) * f64::from(x);
            }
        }
    }
}

pub(super) fn affine(input: &[f32], scale: &[f32], shift: &[f32], then: Then, out: &mut [f32]) -> Extent {
    let mut range = Extent::default();
    for (input, out) in input.chunks_exact(scale.len()).zip(out.chunks_exact_mut(scale.len())) {
        for (((x, out), scale), shift) in input.iter().zip(out).zip(scale).zip(shift) {
            let x = x * scale + shift;
            match then {
                Then::Store => *out = x,
                Then::Relu => *out = x.max(0.0),
                Then::Add => *out += x,
            }
            range = range.or(Extent { low: *out, high: *out });
        }
    }
    range
}
