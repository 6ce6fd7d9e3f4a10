//! Float32 to bytes, `q = round(x / scale) + zero`, for a whole map at once: `scale` and `zero` stretch 0 to 255 over the
//! range of its numbers and 0, so that 0 itself has a byte of its own.
mod scalar;
mod simd;

use super::{Extent, Isa, View};

/// A padded map in bytes.
#[derive(Debug, Default)]
pub struct Quantized {
    /// Rows of pixels, and a few bytes beyond the last.
    bytes: Vec<u8>,
    stride: usize,
    scale: f32,
    zero: f32,
}

/// How many bytes may be read beyond the last pixel.
const SLACK: usize = 3;

impl Quantized {
    /// Takes a map's numbers in. NaN becomes `zero`'s neighbour 0, infinities the ends of the range.
    pub fn fill(&mut self, isa: Isa, map: View) {
        let (rows, columns) = map.padded_size();
        self.stride = columns * map.channels;
        self.bytes.resize(rows * self.stride + SLACK, 0);
        let Extent { low, high } = map.range.unwrap_or_else(|| {
            let rows = map.data.chunks(map.stride).map(|row| &row[..self.stride]);
            let extent = |row| match isa {
                Isa::Scalar => scalar::extent(row),
                _ => simd::extent(isa, row),
            };
            rows.map(extent).fold(Extent::default(), Extent::or)
        });
        self.scale = ((high - low) / 255.0).clamp(f32::MIN_POSITIVE, f32::MAX);
        self.zero = (-low / self.scale).round();
        for (row, bytes) in map.data.chunks(map.stride).zip(self.bytes.chunks_exact_mut(self.stride)) {
            let row = &row[..self.stride];
            match isa {
                Isa::Scalar => scalar::quantize(row, 1.0 / self.scale, self.zero, bytes),
                _ => simd::quantize(isa, row, 1.0 / self.scale, self.zero, bytes),
            }
        }
    }

    /// The bytes of all rows, padding included, and three more.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes from one row to the next.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// What one step of a byte is worth.
    pub fn scale(&self) -> f32 {
        self.scale
    }

    /// The byte of 0.
    pub fn zero(&self) -> f32 {
        self.zero
    }
}
