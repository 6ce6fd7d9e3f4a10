//! Resizing of a crop of an image, bit-identical to Pillow (libImaging `Resample.c`). There is one pass along rows and one
//! along columns, with 22-bit weights; the values between the passes are bytes. The filter widens when the crop shrinks.
//!
//! The loops are written once for all instruction sets; see [`super::planes`]. The input is interleaved pixels. If the output
//! consists of colour planes, each finished row is split into a row of each plane.
pub mod cuda;

use crate::kernels::image::planes::Planes;
use crate::kernels::isa::{Isa, Kernel, Lanes};
use std::ops::Range;

/// Filter of a resize.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interpolation {
    /// A triangle filter, as in Pillow's BILINEAR.
    Bilinear,
    /// Keys' cubic filter with a = -0.5, as in Pillow's BICUBIC.
    Bicubic,
}

/// Scratch buffers of a resize, reusable for the next image.
#[derive(Debug, Default)]
pub struct ResampleScratch {
    /// Rows after the first pass, as four-byte pixels.
    rows: Vec<u8>,
    /// One row of four-byte pixels.
    pixels: Vec<[u8; 4]>,
    /// One row of three-byte pixels, and one more byte.
    bytes: Vec<u8>,
}

/// Number of fractional bits of a weight.
const BITS: u32 = 22;

/// Destination of a resized crop.
#[derive(Debug)]
pub enum Resampled<'a> {
    /// Colour planes.
    Planes(&'a mut Planes),
    /// Interleaved pixels `[height][width][3]`, and their height and width.
    Pixels(&'a mut [u8], (usize, usize)),
}

impl Resampled<'_> {
    /// Rows and columns.
    pub fn size(&self) -> (usize, usize) {
        match self {
            Self::Planes(planes) => (planes.height(), planes.width()),
            Self::Pixels(_, size) => *size,
        }
    }

    /// Writes row `y` of four-byte pixels; the last byte of each pixel is ignored. Rows must be written in order.
    #[inline(always)]
    fn put(&mut self, y: usize, row: &[[u8; 4]]) {
        match self {
            Self::Planes(planes) => split(row, planes, y),
            Self::Pixels(pixels, _) => {
                let Some((last, others)) = row.split_last() else { return };
                let to = &mut pixels[3 * y * row.len()..3 * (y + 1) * row.len()];
                // The fourth byte falls on the next pixel, which overwrites it.
                for (x, pixel) in others.iter().enumerate() {
                    to[3 * x..][..4].copy_from_slice(pixel);
                }
                to[3 * others.len()..].copy_from_slice(&last[..3]);
            }
        }
    }
}

/// Resizes a crop of an image to the size of `out`. The crop is given by its `rows` and `columns`. `pixels` is the image,
/// `[..][width][3]`, and its width.
///
/// # Panics
/// If the crop is empty or outside the image, or the length of `out` does not match the size of `out`.
pub fn resample(
    isa: Isa,
    pixels: (&[u8], usize),
    (rows, columns): (Range<usize>, Range<usize>),
    interpolation: Interpolation,
    out: Resampled,
    scratch: &mut ResampleScratch,
) {
    let (pixels, width) = pixels;
    assert!(!rows.is_empty() && !columns.is_empty() && columns.end <= width && rows.end * width * 3 <= pixels.len());
    let (to_rows, to_columns) = out.size();
    if let Resampled::Pixels(pixels, _) = &out {
        assert_eq!(pixels.len(), 3 * to_rows * to_columns, "bytes of {to_rows}x{to_columns}");
    }
    let along_rows = Filter::new(interpolation, columns.len(), to_columns);
    let along_columns = Filter::new(interpolation, rows.len(), to_rows);
    isa.without_gathers().dispatch(Resample { pixels, width, rows, columns, along_rows, along_columns, out, scratch });
}

/// The inputs and weights of each output along one axis.
struct Filter {
    /// For each output, the index of its first input and the number of its inputs.
    spans: Vec<(usize, usize)>,
    /// Weights, `longest` for each output.
    weights: Vec<i32>,
    longest: usize,
}

impl Filter {
    fn new(interpolation: Interpolation, from: usize, to: usize) -> Self {
        let scale = from as f64 / to as f64;
        let widened = scale.max(1.0);
        let support = widened * interpolation.support();
        let longest = support.ceil() as usize * 2 + 1;
        let mut filter = Self { spans: Vec::with_capacity(to), weights: vec![0; to * longest], longest };
        let mut exact = Vec::with_capacity(longest);
        for (i, weights) in filter.weights.chunks_exact_mut(longest).enumerate() {
            let center = (i as f64 + 0.5) * scale;
            // Casting a float saturates: negative values become 0.
            let first = (center - support + 0.5) as usize;
            let end = ((center + support + 0.5) as usize).min(from);
            exact.clear();
            exact.extend((first..end).map(|x| interpolation.at((x as f64 - center + 0.5) * (1.0 / widened))));
            let sum: f64 = exact.iter().sum();
            for (to, x) in weights.iter_mut().zip(&exact) {
                *to = (x / sum * f64::from(1 << BITS)).round() as i32;
            }
            filter.spans.push((first, end - first));
        }
        filter
    }

    /// Returns the first input of an output, and its weights.
    #[inline(always)]
    fn of(&self, output: usize) -> (usize, &[i32]) {
        let (first, n) = self.spans[output];
        (first, &self.weights[output * self.longest..][..n])
    }
}

impl Interpolation {
    fn support(self) -> f64 {
        match self {
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
        }
    }

    fn at(self, x: f64) -> f64 {
        const A: f64 = -0.5;
        let x = x.abs();
        match self {
            Self::Bilinear => (1.0 - x).max(0.0),
            Self::Bicubic if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
            Self::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
            Self::Bicubic => 0.0,
        }
    }
}

struct Resample<'a> {
    pixels: &'a [u8],
    width: usize,
    rows: Range<usize>,
    columns: Range<usize>,
    along_rows: Filter,
    along_columns: Filter,
    out: Resampled<'a>,
    scratch: &'a mut ResampleScratch,
}

impl Kernel for Resample<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        match self.columns_first() {
            true => self.along_columns_first(),
            false => self.along_rows_first(),
        }
    }
}

impl Resample<'_> {
    /// Returns whether columns are filtered first, as in Pillow since version 13. This is the case if the resize removes at
    /// least one row, and more than twice as many rows as columns.
    fn columns_first(&self) -> bool {
        let fewer_rows = self.rows.len() as isize - self.out.size().0 as isize;
        let fewer_columns = self.columns.len() as isize - self.out.size().1 as isize;
        fewer_rows > 0 && fewer_rows > 2 * fewer_columns
    }

    #[inline(always)]
    fn along_rows_first(self) {
        let Self { pixels, width, rows, columns, along_rows, along_columns, mut out, scratch } = self;
        let (height, n) = out.size();
        let ResampleScratch { rows: narrowed, pixels: row4, bytes } = scratch;
        narrowed.resize(rows.len() * 4 * n, 0);
        row4.resize(n, [0; 4]);
        // Pixels are read as four bytes: the last byte belongs to the next row, except at the end of the image.
        let row = |y: usize| 3 * (y * width + columns.start)..3 * (y * width + columns.end) + 1;
        let (fours, ones) = narrowed.split_at_mut((rows.len() - 1) / 4 * 16 * n);
        let mut y = rows.start;
        for four in fours.chunks_exact_mut(16 * n) {
            narrow(&along_rows, std::array::from_fn::<_, 4, _>(|i| &pixels[row(y + i)]), four.as_chunks_mut().0);
            y += 4;
        }
        for one in ones.chunks_exact_mut(4 * n) {
            bytes.clear();
            bytes.extend_from_slice(&pixels[row(y).start..row(y).end - 1]);
            bytes.push(0);
            narrow(&along_rows, [bytes], one.as_chunks_mut().0);
            y += 1;
        }
        for y in 0..height {
            let (first, weights) = along_columns.of(y);
            shorten(&narrowed[4 * first * n..], 4 * n, weights, row4.as_flattened_mut());
            out.put(y, row4);
        }
    }

    #[inline(always)]
    fn along_columns_first(self) {
        let Self { pixels, width, rows, columns, along_rows, along_columns, mut out, scratch } = self;
        let (height, n) = out.size();
        let ResampleScratch { pixels: row4, bytes, .. } = scratch;
        let part = 3 * columns.len();
        bytes.resize(part + 1, 0);
        row4.resize(n, [0; 4]);
        for y in 0..height {
            let (first, weights) = along_columns.of(y);
            let from = 3 * ((rows.start + first) * width + columns.start);
            shorten(&pixels[from..], 3 * width, weights, &mut bytes[..part]);
            narrow(&along_rows, [bytes], row4);
            out.put(y, row4);
        }
    }
}

/// Filters rows along their length. An input row is three-byte pixels, followed by one more byte. An output row is four-byte
/// pixels; the last byte of each pixel is arbitrary.
#[inline(always)]
fn narrow<const R: usize>(filter: &Filter, rows: [&[u8]; R], to: &mut [[u8; 4]]) {
    let n = to.len() / R;
    for x in 0..n {
        let (first, weights) = filter.of(x);
        let pixels: [&[u8]; R] = std::array::from_fn(|r| &rows[r][3 * first..][..3 * weights.len() + 1]);
        let mut sums = [[1 << (BITS - 1); 4]; R];
        for (k, &weight) in weights.iter().enumerate() {
            for (sums, pixels) in sums.iter_mut().zip(pixels) {
                let &[a, b, c, d] = pixels[3 * k..].first_chunk().expect("a byte more than pixels");
                let [a, b, c, d] = [a, b, c, d].map(|x| i32::from(x) * weight);
                *sums = [sums[0] + a, sums[1] + b, sums[2] + c, sums[3].wrapping_add(d)];
            }
        }
        for (r, sums) in sums.into_iter().enumerate() {
            to[r * n + x] = sums.map(byte);
        }
    }
}

/// Splits a row of four-byte pixels into a row of each colour plane.
#[inline(always)]
fn split(row: &[[u8; 4]], out: &mut Planes, y: usize) {
    let n = row.len();
    for (c, color) in out.colors_mut().into_iter().enumerate() {
        for (to, pixel) in color[y * n..][..n].iter_mut().zip(row) {
            *to = (u32::from_le_bytes(*pixel) >> (8 * c)) as u8;
        }
    }
}

/// Filters along columns: computes one row as the weighted sum of rows that are `stride` bytes apart.
#[inline(always)]
fn shorten(rows: &[u8], stride: usize, weights: &[i32], to: &mut [u8]) {
    const N: usize = 16;
    let (whole, rest) = to.as_chunks_mut::<N>();
    let done = whole.len() * N;
    for (n, to) in whole.iter_mut().enumerate() {
        let mut sums = [1 << (BITS - 1); N];
        for (k, &weight) in weights.iter().enumerate() {
            let row = rows[k * stride + n * N..].first_chunk::<N>().expect("a row is as long as the one it goes into");
            sums = std::array::from_fn(|i| sums[i] + i32::from(row[i]) * weight);
        }
        *to = sums.map(byte);
    }
    for (i, to) in rest.iter_mut().enumerate() {
        let column = weights.iter().enumerate().map(|(k, weight)| i32::from(rows[k * stride + done + i]) * weight);
        *to = byte((1 << (BITS - 1)) + column.sum::<i32>());
    }
}

#[inline(always)]
fn byte(sum: i32) -> u8 {
    (sum >> BITS).clamp(0, 255) as u8
}
