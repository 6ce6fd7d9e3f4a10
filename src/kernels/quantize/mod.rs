//! Float32 to bytes, `q = round(x / scale) + zero`, for a whole map at once: `scale` and `zero` stretch 0 to 255 over the
//! range of its numbers and 0, so that 0 itself has a byte of its own.
mod scalar;
mod simd;

use super::{Extent, Isa, Map, View};

/// A map in bytes.
#[derive(Debug, Default)]
pub struct Quantized {
    pub(super) map: Map<u8>,
    pub(super) scale: f32,
    pub(super) zero: f32,
}

/// The same to read, with all of its padding or less.
#[derive(Clone, Copy, Debug)]
pub struct QuantizedView<'a> {
    /// The bytes.
    pub view: View<'a, u8>,
    /// What one step of a byte is worth.
    pub scale: f32,
    /// The byte of 0.
    pub zero: f32,
}

impl Quantized {
    /// A map whose range is not known yet.
    pub(super) fn new(map: Map<u8>) -> Self {
        Self { map, scale: 0.0, zero: 0.0 }
    }

    pub(super) fn into_map(self) -> Map<u8> {
        self.map
    }

    /// Stretches the bytes over this range.
    pub fn set_range(&mut self, Extent { low, high }: Extent) {
        self.scale = ((high - low) / 255.0).clamp(f32::MIN_POSITIVE, f32::MAX);
        self.zero = (-low / self.scale).round();
    }

    /// Takes numbers in [0, 1] into row `y`.
    pub(super) fn fill_row(&mut self, isa: Isa, y: usize, row: &[f32]) {
        simd::quantize(isa, row, 1.0 / self.scale, self.zero, self.map.row_mut(y));
    }

    /// Takes a map's numbers in, padding included. NaN becomes the byte 0, infinities the ends of the range.
    pub fn fill(&mut self, isa: Isa, map: View) {
        self.map.reshape(map.height, map.width, map.channels, map.pad);
        self.set_range(map.range.unwrap_or_else(|| {
            let extent = |row| match isa {
                Isa::Scalar => scalar::extent(row),
                _ => simd::extent(isa, row),
            };
            map.padded_rows().map(extent).fold(Extent::default(), Extent::or)
        }));
        let (inverse, zero) = (1.0 / self.scale, self.zero);
        let stride = self.map.stride();
        for (row, bytes) in map.padded_rows().zip(self.map.as_mut_slice().chunks_exact_mut(stride)) {
            match isa.in_bytes() {
                true => simd::quantize(isa, row, inverse, zero, bytes),
                false => scalar::quantize(row, inverse, zero, bytes),
            }
        }
    }

    /// All of it, to read.
    pub fn view(&self) -> QuantizedView<'_> {
        QuantizedView { view: self.map.view(), scale: self.scale, zero: self.zero }
    }

    /// A map of the same shape with the numbers that the bytes stand for, padding included.
    pub fn to_map(&self) -> Map {
        let map = &self.map;
        let mut out = Map::new(map.height(), map.width(), map.channels(), map.pad());
        out.as_mut_slice()
            .iter_mut()
            .zip(map.as_slice())
            .for_each(|(x, &q)| *x = self.scale * (f32::from(q) - self.zero));
        out
    }
}

/// The weights of one output as bytes, and what one step is worth. Neighbours are those that the path adds first.
///
/// Of several scales, the one of the least error with its best step. Where inputs are alike, as neighbours of a smooth image are,
/// the sum of the weights counts beyond its parts, `smooth` times its square: a file's own grid of bytes, whose steps may fall
/// halfway between ours, would else be rounded one way.
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
