//! Float32 to bytes, `q = round(x / scale) + zero`: `scale` and `zero` stretch 0 to 255 over the range of a map's numbers and
//! 0, so that 0 itself has a byte of its own. The range is that of the whole map or, for a finer grid, of each channel.
mod scalar;
mod simd;

use crate::kernels::inference::feature_map::{FeatureMap, MapView};
use crate::kernels::isa::{Extent, Isa};

/// A map in bytes.
#[derive(Debug, Default)]
pub struct Quantized {
    pub(super) map: FeatureMap<u8>,
    /// One for the map, or one for each channel.
    pub(super) scale: Vec<f32>,
    /// The byte of 0, for each scale.
    pub(super) zero: Vec<u8>,
    ends: Vec<Extent>,
    /// The factors and summands that make steps of numbers, repeated as often as vectors want them.
    affine: [Vec<f32>; 2],
}

/// The same to read, with all of its padding or less.
#[derive(Clone, Copy, Debug)]
pub struct QuantizedView<'a> {
    /// The bytes.
    pub view: MapView<'a, u8>,
    /// The worth of one step of a byte, in the map or in each channel.
    pub scale: &'a [f32],
    /// The byte of 0, in the map or in each channel.
    pub zero: &'a [u8],
}

/// The range over which a grid of bytes is stretched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grid {
    /// The range of the map: weights of every kind can be multiplied with these bytes.
    Map,
    /// The range of each channel: for a depthwise convolution.
    Channels,
}

impl Quantized {
    /// Stretches the bytes over this range.
    pub fn set_range(&mut self, range: Extent) {
        self.set_ranges([range].into_iter());
    }

    /// Stretches the bytes of each channel over its range, or all of them over one.
    pub(super) fn set_ranges(&mut self, ranges: impl Iterator<Item = Extent>) {
        self.scale.clear();
        self.zero.clear();
        for Extent { low, high } in ranges {
            let scale = ((high - low) / 255.0).clamp(f32::MIN_POSITIVE, f32::MAX);
            self.scale.push(scale);
            self.zero.push((-low / scale).round() as u8);
        }
    }

    /// Takes the rows of a map without padding into the inside of this one, whose range is set.
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

    /// Takes a map's numbers in, padding included. NaN becomes the byte 0, infinities the ends of the range.
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

    /// `max(by[c] x + plus[c], 0)` of a map without padding, into the inside of this one, whose zeros are 0.
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

    /// All of it, to read.
    pub fn view(&self) -> QuantizedView<'_> {
        QuantizedView { view: self.map.view(), scale: &self.scale, zero: &self.zero }
    }
}

/// The input of a convolution in other numbers than it came in; memory that is used again.
#[derive(Debug, Default)]
pub struct QuantizeScratch {
    bytes: Quantized,
    words: Words,
}

impl QuantizeScratch {
    /// The map in bytes on this grid.
    pub(super) fn bytes(&mut self, isa: Isa, map: MapView, grid: Grid) -> QuantizedView<'_> {
        self.bytes.fill(isa, map, grid);
        self.bytes.view()
    }

    /// The map in words.
    pub(super) fn words(&mut self, isa: Isa, map: MapView) -> &Words {
        self.words.fill(isa, map);
        &self.words
    }
}

/// The range of a map, padding included, if it does not know it.
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

/// The range of each channel.
fn extents(isa: Isa, map: MapView, out: &mut Vec<Extent>) {
    out.clear();
    if isa == Isa::Scalar {
        scalar::extents(map, out);
    } else {
        simd::extents(isa, map, out);
    }
}

/// The weights of one output as bytes, and what one step is worth. Neighbours are those that the path adds first.
///
/// It takes the scale, among several, of the least error with its best step. Where inputs are alike, as neighbours of a smooth
/// image are, the sum of the weights counts beyond its parts, `smooth` times its square: a file's own grid of bytes, whose steps
/// may fall halfway between ours, would else be rounded one way.
pub(super) fn weights(isa: Isa, weights: &[f32], smooth: f32) -> (Vec<i8>, f32) {
    const STEPS: u8 = 127;
    const SCALES: u8 = 16;
    // Of weights of 0, too, the inverse of a step is a number.
    let largest = isa.largest_weight(weights).max(1e-30);
    let total: f32 = weights.iter().sum();
    let fitted = (STEPS - SCALES + 1..=STEPS).map(|steps| {
        let inverse = f32::from(steps) / largest;
        // Only additions: rounds to integers, as no number is larger than 127.
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

/// The largest word, of numbers and of weights.
const LARGEST_WORD: f32 = 1023.0;

/// The sum of so many products of two words fits 32 bits.
pub(super) const MOST_WORDS: usize = 2048;

/// A map in words of 16 bits, of which ten and a sign are used: `q = round(x / scale)`, over the range of the map.
#[derive(Debug, Default)]
pub(super) struct Words {
    pub(super) map: FeatureMap<i16>,
    pub(super) scale: f32,
}

impl Words {
    /// Takes a map's numbers in, padding included. What is not finite becomes a number without meaning.
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

/// The weights of one output in words, and what one step is worth.
pub(super) fn weights_in_words(weights: &[f32]) -> (Vec<i16>, f32) {
    let largest = weights.iter().fold(1e-30, |all: f32, w| all.max(w.abs()));
    let words: Vec<i16> = weights.iter().map(|w| (w * (LARGEST_WORD / largest)).round_ties_even() as i16).collect();
    let products: f32 = words.iter().zip(weights).map(|(&q, w)| f32::from(q) * w).sum();
    let squares: f32 = words.iter().map(|&q| f32::from(q) * f32::from(q)).sum();
    (words, products / squares.max(1.0))
}
