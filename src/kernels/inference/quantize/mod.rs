//! Quantization from float32 to bytes: `q = round(x / scale) + zero`, where `zero` is the zero point.
//!
//! `scale` and `zero` map the range of the values to the bytes 0 to 255. This range always includes 0, so that 0 is exactly
//! representable. There is one range for the whole map or, for smaller errors, one for each channel.
mod scalar;
mod simd;

use crate::kernels::inference::feature_map::{FeatureMap, MapView};
use crate::kernels::isa::{Extent, Isa};

/// A feature map in bytes.
#[derive(Debug, Default)]
pub struct Quantized {
    pub(super) map: FeatureMap<u8>,
    /// One scale for the map, or one for each channel.
    pub(super) scale: Vec<f32>,
    /// The byte that represents 0 (the zero point), for each scale.
    pub(super) zero: Vec<u8>,
    ends: Vec<Extent>,
    /// Factors and summands of the quantization, repeated to fill whole blocks of four vectors.
    affine: [Vec<f32>; 2],
}

/// A read-only view of a map in bytes, with all or part of the padding.
#[derive(Clone, Copy, Debug)]
pub struct QuantizedView<'a> {
    /// The bytes.
    pub view: MapView<'a, u8>,
    /// The scale, one for the map or one for each channel.
    pub scale: &'a [f32],
    /// The byte that represents 0 (the zero point), one for the map or one for each channel.
    pub zero: &'a [u8],
}

/// The ranges for quantizing a map: one for the whole map, or one for each channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grid {
    /// One range for the whole map. Every kind of convolution can read such a map.
    Map,
    /// A range for each channel. Only depthwise convolutions can read such a map.
    Channels,
}

impl Quantized {
    /// Sets the range over which the bytes are quantized.
    pub fn set_range(&mut self, range: Extent) {
        self.set_ranges([range].into_iter());
    }

    /// Sets the range of each channel, or a single range for all channels.
    pub(super) fn set_ranges(&mut self, ranges: impl Iterator<Item = Extent>) {
        self.scale.clear();
        self.zero.clear();
        for Extent { low, high } in ranges {
            let scale = ((high - low) / 255.0).clamp(f32::MIN_POSITIVE, f32::MAX);
            self.scale.push(scale);
            self.zero.push((-low / scale).round() as u8);
        }
    }

    /// Quantizes `rows`, float32 values without padding, into the rows of this map. The range must have been set. The padding
    /// of this map is not changed.
    pub(super) fn fill_rows(&mut self, isa: Isa, rows: &[f32]) {
        self.repeat_steps(isa);
        let Self { map, affine: [by, plus], .. } = self;
        let width = map.width() * map.channels();
        for (y, row) in rows.chunks_exact(width).enumerate() {
            simd::quantize(isa, row, by, plus, map.row_mut(y));
        }
    }

    fn repeat_steps(&mut self, isa: Isa) {
        let Self { scale, zero, affine: [by, plus], .. } = self;
        simd::repeat(isa, scale.len(), scale.iter().map(|scale| 1.0 / scale), by);
        simd::repeat(isa, zero.len(), zero.iter().map(|&zero| f32::from(zero)), plus);
    }

    /// Quantizes a map, including its padding. NaN becomes the byte 0, and infinities become the ends of the range.
    pub fn fill(&mut self, isa: Isa, map: MapView, grid: Grid) {
        self.map.reshape(map.height, map.width, map.channels, map.pad);
        match grid {
            Grid::Map => self.set_range(range(isa, map)),
            Grid::Channels => {
                let mut ends = std::mem::take(&mut self.ends);
                extents(isa, map, &mut ends);
                self.set_ranges(ends.iter().copied());
                self.ends = ends;
            }
        }
        self.repeat_steps(isa);
        let Self { map: bytes, scale, zero, affine: [by, plus], .. } = self;
        let stride = bytes.stride();
        let rows = map.padded_rows().zip(bytes.as_mut_slice().chunks_exact_mut(stride));
        if isa.multiplies_bytes() {
            rows.for_each(|(row, bytes)| simd::quantize(isa, row, by, plus, bytes));
        } else {
            rows.for_each(|(row, bytes)| scalar::quantize(row, scale, zero, bytes));
        }
    }

    /// Quantizes `max(by[c] x + plus[c], 0)` for each value x of `map`, without the padding. The zero points of `self` must
    /// be 0.
    pub(super) fn fill_affine(&mut self, isa: Isa, map: &FeatureMap, by: &[f32], plus: &[f32]) {
        let Self { map: bytes, scale, affine: [by_step, plus_step], .. } = self;
        let inverse = || scale.iter().map(|scale| 1.0 / scale).cycle();
        let in_steps = |numbers: &[f32], out: &mut Vec<f32>| {
            simd::repeat(isa, numbers.len(), numbers.iter().zip(inverse()).map(|(x, inverse)| x * inverse), out);
        };
        in_steps(by, by_step);
        in_steps(plus, plus_step);
        (0..map.height()).for_each(|y| simd::quantize(isa, map.row(y), by_step, plus_step, bytes.row_mut(y)));
    }

    /// The whole map, for reading.
    pub fn view(&self) -> QuantizedView<'_> {
        QuantizedView { view: self.map.view(), scale: &self.scale, zero: &self.zero }
    }
}

/// Reusable buffers for the quantized input of a convolution.
#[derive(Debug, Default)]
pub struct QuantizeScratch {
    bytes: Quantized,
    words: Words,
}

impl QuantizeScratch {
    /// Quantizes the map to bytes, with the ranges that `grid` selects.
    pub(super) fn bytes(&mut self, isa: Isa, map: MapView, grid: Grid) -> QuantizedView<'_> {
        self.bytes.fill(isa, map, grid);
        self.bytes.view()
    }

    /// Quantizes the map to words.
    pub(super) fn words(&mut self, isa: Isa, map: MapView) -> &Words {
        self.words.fill(isa, map);
        &self.words
    }
}

/// Returns the range of a map, including its padding. The range is computed unless it is recorded in the map.
pub(super) fn range(isa: Isa, map: MapView) -> Extent {
    if let Some(range) = map.range {
        return range;
    }
    if isa == Isa::Scalar {
        let mut ends = vec![];
        scalar::extents(map, &mut ends);
        return ends.into_iter().fold(Extent::default(), Extent::or);
    }
    simd::extent(isa, map)
}

/// Computes the range of each channel.
fn extents(isa: Isa, map: MapView, out: &mut Vec<Extent>) {
    out.clear();
    if isa == Isa::Scalar {
        scalar::extents(map, out);
    } else {
        simd::extents(isa, map, out);
    }
}

/// Quantizes the weights of one output to bytes, and returns the bytes with their scale.
///
/// Some instruction sets add products in pairs (see [`Isa::largest_weight`]). The two weights of such a pair must be adjacent.
///
/// Of several candidate scales, the scale with the smallest squared error is used. If neighbouring inputs are similar, as in a
/// smooth image, the error of the sum of the weights matters too. The square of this error is therefore added, with the factor
/// `smooth`.
///
/// This term also matters for weights that a file stores as bytes. Their values may lie halfway between the values used here,
/// and without the term all of them would be rounded in the same direction.
pub(super) fn weights(isa: Isa, weights: &[f32], smooth: f32) -> (Vec<i8>, f32) {
    const STEPS: u8 = 127;
    const SCALES: u8 = 16;
    // Keeps the inverse of the scale finite if all weights are 0.
    let largest = isa.largest_weight(weights).max(1e-30);
    let total: f32 = weights.iter().sum();
    let fitted = (STEPS - SCALES + 1..=STEPS).map(|steps| {
        let inverse = f32::from(steps) / largest;
        // Rounds to integers by additions only, as no value is larger than 127.
        let rounded = || weights.iter().map(move |w| (w * inverse + 12_582_912.0) - 12_582_912.0);
        let (mut products, mut squares, mut sum) = (0.0, f32::MIN_POSITIVE, 0.0);
        for (q, w) in rounded().zip(weights) {
            (products, squares, sum) = (products + q * w, squares + q * q, sum + q);
        }
        let step = (products + smooth * sum * total) / (squares + smooth * sum * sum);
        let error: f32 = rounded().zip(weights).map(|(q, w)| (w - step * q) * (w - step * q)).sum();
        (error + smooth * (total - step * sum) * (total - step * sum), inverse, step)
    });
    let (_, inverse, step) = fitted.min_by(|a, b| a.0.total_cmp(&b.0)).expect("at least one scale");
    (weights.iter().map(|w| (w * inverse).round_ties_even() as i8).collect(), step)
}

/// The largest absolute value of a word, for map values and for weights.
const LARGEST_WORD: f32 = 1023.0;

/// Largest allowed number of products of two words in a sum: the sum then always fits in 32 bits.
pub(super) const MOST_WORDS: usize = 2048;

/// A feature map in 16-bit words: `q = round(x / scale)`, with one scale for the whole map. Ten bits and the sign of each word
/// are used.
#[derive(Debug, Default)]
pub(super) struct Words {
    pub(super) map: FeatureMap<i16>,
    pub(super) scale: f32,
}

impl Words {
    /// Quantizes a map, including its padding. Non-finite values become arbitrary values.
    pub(super) fn fill(&mut self, isa: Isa, map: MapView) {
        self.map.reshape(map.height, map.width, map.channels, map.pad);
        let range = range(isa, map);
        self.scale = (range.high.max(-range.low) / LARGEST_WORD).clamp(f32::MIN_POSITIVE, f32::MAX);
        let stride = self.map.stride();
        for (row, words) in map.padded_rows().zip(self.map.as_mut_slice().chunks_exact_mut(stride)) {
            simd::quantize_words(isa, row, 1.0 / self.scale, words);
        }
    }
}

/// Quantizes the weights of one output to words, and returns the words with their scale.
pub(super) fn weights_in_words(weights: &[f32]) -> (Vec<i16>, f32) {
    let largest = weights.iter().fold(1e-30, |all: f32, w| all.max(w.abs()));
    let words: Vec<i16> = weights.iter().map(|w| (w * (LARGEST_WORD / largest)).round_ties_even() as i16).collect();
    let products: f32 = words.iter().zip(weights).map(|(&q, w)| f32::from(q) * w).sum();
    let squares: f32 = words.iter().map(|&q| f32::from(q) * f32::from(q)).sum();
    (words, products / squares.max(1.0))
}
