//! Instance norm: `out = act(scale[c] * in + shift[c])`, where scale and shift hold the map's own mean and variance and the
//! style's gamma and beta. Here are the moments, the affine map in its three uses, and nothing of the style.
mod scalar;
mod simd;

use super::{Extent, Isa, Map};

/// Mean and biased variance of each channel, over height and width without the padding.
///
/// Rows are summed in float32 and the rows' sums in float64, in a fixed order.
pub fn moments(isa: Isa, map: &Map, mean: &mut Vec<f32>, variance: &mut Vec<f32>) {
    let (mut sum, mut square) = (vec![0.0; map.channels()], vec![0.0; map.channels()]);
    match isa {
        Isa::Scalar => scalar::sums(map, &mut sum, &mut square),
        _ => simd::sums(isa, map, &mut sum, &mut square),
    }
    let n = (map.height() * map.width()) as f64;
    mean.clear();
    variance.clear();
    for (sum, square) in sum.into_iter().zip(square) {
        let m = sum / n;
        mean.push(m as f32);
        variance.push((square / n - m * m).max(0.0) as f32);
    }
}

/// What the affine map does with its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// `out = scale in + shift`
    Store,
    /// `out = max(scale in + shift, 0)`
    Relu,
    /// `out += scale in + shift`
    Add,
}

/// Applies `scale[c] * in + shift[c]` to every pixel of `input` and gives it to `out`.
///
/// # Panics
/// If the maps differ in height, width or channels.
pub fn affine(isa: Isa, input: &Map, scale: &[f32], shift: &[f32], then: Then, out: &mut Map) {
    assert_eq!((input.height(), input.width()), (out.height(), out.width()));
    assert_eq!((scale.len(), shift.len()), (input.channels(), input.channels()));
    assert_eq!(input.channels(), out.channels());
    let mut range = Extent::default();
    for y in 0..input.height() {
        let (input, out) = (input.row(y), out.row_mut(y));
        range = range.or(match isa {
            Isa::Scalar => scalar::affine(input, scale, shift, then, out),
            _ => simd::affine(isa, input, scale, shift, then, out),
        });
    }
    out.set_range(range);
}
