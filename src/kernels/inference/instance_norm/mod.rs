//! Instance norm: `out = act(scale[c] * in + shift[c])`. The scale and shift combine the map's mean and variance with the
//! style's gamma and beta.
//!
//! This module computes the moments, and applies the affine transform: either with ReLU, or added to another map. The caller
//! computes the scale and shift.
pub mod cuda;
mod scalar;
mod simd;

use crate::kernels::inference::any_map::AnyMap;
use crate::kernels::inference::feature_map::FeatureMap;
use crate::kernels::inference::quantize::Grid;
use crate::kernels::isa::{Extent, Isa};

/// Moments of each channel of a map, and the resulting affine transform, in reusable memory.
#[derive(Clone, Debug, Default)]
pub struct Norm {
    /// Means over height and width, without the padding.
    pub mean: Vec<f32>,
    /// Biased variances over height and width, without the padding.
    pub variance: Vec<f32>,
    /// The minimum and the maximum of each channel.
    pub extent: Vec<[f32; 2]>,
    /// Scales of the affine transform, set by the caller.
    pub scale: Vec<f32>,
    /// Shifts of the affine transform, set by the caller.
    pub shift: Vec<f32>,
    sums: Sums,
    /// Scale and shift, repeated to fill whole vectors.
    repeated: [Vec<f32>; 2],
}

/// Formula for a standard deviation that stays away from 0: `sqrt(variance + within) + beyond`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Deviation {
    /// Whether to use the unbiased variance: the sum of squares is divided by n - 1 instead of n.
    pub unbiased: bool,
    /// Summand under the square root.
    pub within: f32,
    /// Summand outside the square root.
    pub beyond: f32,
}

impl Deviation {
    /// Returns the deviation of a channel of `pixels` pixels, given its biased variance.
    pub fn of(self, biased: f32, pixels: usize) -> f32 {
        (biased * self.correction(pixels) + self.within).sqrt() + self.beyond
    }

    /// Factor that converts the biased variance of `pixels` pixels to the variance in the formula.
    fn correction(self, pixels: usize) -> f32 {
        let n = pixels as f32;
        if self.unbiased { n / (n - 1.0).max(1.0) } else { 1.0 }
    }
}

/// Sums, sums of squares, minima and maxima. To fill whole vectors, each channel has several entries: entry `i` belongs to
/// channel `i % channels`.
#[derive(Clone, Debug, Default)]
struct Sums {
    sum: Vec<f64>,
    square: Vec<f64>,
    low: Vec<f32>,
    high: Vec<f32>,
}

impl Sums {
    fn clear(&mut self, places: usize) {
        fn refill<T: Copy>(all: &mut Vec<T>, places: usize, with: T) {
            all.clear();
            all.resize(places, with);
        }
        refill(&mut self.sum, places, 0.0);
        refill(&mut self.square, places, 0.0);
        refill(&mut self.low, places, f32::INFINITY);
        refill(&mut self.high, places, f32::NEG_INFINITY);
    }
}

/// Maximum number of pixels of a map that is summed in float64 only. A norm over few pixels magnifies the rounding errors of
/// the sum of squares.
const FEW: usize = 16;

impl Norm {
    /// Computes the mean, variance and extent of each channel of a map.
    ///
    /// Each row is summed in float32, and the sums of the rows in float64, in a fixed order. Small maps are summed in float64
    /// only, and so are all maps with [`Isa::Scalar`].
    pub fn measure(&mut self, isa: Isa, map: &FeatureMap) {
        let channels = map.channels();
        let sums = &mut self.sums;
        if isa == Isa::Scalar || map.height() * map.width() <= FEW {
            scalar::sums(map, sums);
        } else {
            simd::sums(isa, map, sums);
        }
        let n = (map.height() * map.width()) as f64;
        self.mean.clear();
        self.variance.clear();
        self.extent.clear();
        for c in 0..channels {
            let places = || (c..sums.sum.len()).step_by(channels);
            let m = places().map(|i| sums.sum[i]).sum::<f64>() / n;
            let square = places().map(|i| sums.square[i]).sum::<f64>() / n;
            self.mean.push(m as f32);
            self.variance.push((square - m * m).max(0.0) as f32);
            let low = places().map(|i| sums.low[i]).fold(f32::INFINITY, f32::min);
            let high = places().map(|i| sums.high[i]).fold(f32::NEG_INFINITY, f32::max);
            self.extent.push([low, high]);
        }
    }

    /// The range of `max(scale in + shift, 0)` in each channel of the measured map.
    fn ranges(&self) -> impl Iterator<Item = Extent> {
        let norms = self.scale.iter().zip(&self.shift);
        self.extent.iter().zip(norms).map(|(ends, (by, plus))| {
            let high = ends.map(|x| x.mul_add(*by, *plus)).into_iter().fold(0.0, f32::max);
            Extent { low: 0.0, high }
        })
    }

    /// Repeats the scales and shifts of the channels to `n` values each.
    fn repeat(&mut self, n: usize) -> [&[f32]; 2] {
        for (out, of_channels) in self.repeated.iter_mut().zip([&self.scale, &self.shift]) {
            out.clear();
            out.extend(of_channels.iter().cycle().take(n));
        }
        let [scale, shift] = &self.repeated;
        [scale, shift]
    }
}

/// Computes `out = max(scale[c] * in + shift[c], 0)` for every pixel. `input` is the map that `norm` measured last. If `out` is
/// in bytes, the result is quantized with the ranges that `grid` selects.
///
/// # Panics
/// If the maps differ in height, width or channels, or the norm does not have a scale and a shift for each channel.
pub fn affine_relu(isa: Isa, input: &FeatureMap, norm: &mut Norm, grid: Grid, out: &mut AnyMap) {
    assert_eq!(out.shape(), (input.height(), input.width(), input.channels()));
    assert_eq!((norm.scale.len(), norm.shift.len()), (input.channels(), input.channels()));
    let range = norm.ranges().fold(Extent::default(), Extent::or);
    match out {
        AnyMap::Floats(out) => {
            if isa == Isa::Scalar {
                scalar::affine(input, norm, out, |x, _| x.max(0.0));
            } else {
                simd::affine_relu(isa, input, norm, out);
            }
            out.set_range(range);
        }
        AnyMap::Bytes(out) => {
            match grid {
                Grid::Map => out.set_range(range),
                Grid::Channels => out.set_ranges(norm.ranges()),
            }
            out.fill_affine(isa, input, &norm.scale, &norm.shift);
        }
    }
}

/// Computes `out += scale[c] * in + shift[c]` for every pixel.
///
/// # Panics
/// If the maps differ in height, width or channels, or the norm does not have a scale and a shift for each channel.
pub fn affine_add(isa: Isa, input: &FeatureMap, norm: &mut Norm, out: &mut FeatureMap) {
    let shape = |map: &FeatureMap| (map.height(), map.width(), map.channels());
    assert_eq!(shape(out), shape(input));
    assert_eq!((norm.scale.len(), norm.shift.len()), (input.channels(), input.channels()));
    if isa == Isa::Scalar {
        return scalar::affine(input, norm, out, |x, before| before + x);
    }
    let range = simd::affine_add(isa, input, norm, out);
    out.set_range(range);
}
