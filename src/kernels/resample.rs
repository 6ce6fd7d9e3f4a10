//! Resizing a part of a picture, in Pillow's arithmetic to the bit (libImaging `Resample.c`): along rows and along columns, rounded
//! to bytes in between, with weights of 22 bits. Where the part shrinks, the filter widens.
//!
//! Written once, as [`super::planes`] says. Pixels go in and planes come out: rows are taken apart where they are narrow.
use super::isa::{Kernel, Lanes};
use super::{Isa, Planes};
use std::ops::Range;

/// The filter of a resize.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interpolation {
    /// A triangle.
    Bilinear,
    /// Keys' cubic with a = -0.5.
    Bicubic,
}

/// What resizing needs besides pictures; it can serve the next one.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Rows after the first pass, `[height of the part][3][width]`.
    rows: Vec<u8>,
    /// One row of pixels, and a byte more.
    last: Vec<u8>,
}

/// Bits after the point of a weight.
const BITS: u32 = 22;

/// The rows `rows` and columns `columns` of pixels `[..][width][3]`, resized to what `out` measures.
///
/// # Panics
/// If the part is empty or lies outside.
pub fn resample(
    isa: Isa,
    pixels: (&[u8], usize),
    (rows, columns): (Range<usize>, Range<usize>),
    interpolation: Interpolation,
    out: &mut Planes,
    scratch: &mut Scratch,
) {
    let (pixels, width) = pixels;
    assert!(!rows.is_empty() && !columns.is_empty() && columns.end <= width && rows.end * width * 3 <= pixels.len());
    let along_rows = Filter::new(interpolation, columns.len(), out.width());
    let along_columns = Filter::new(interpolation, rows.len(), out.height());
    isa.dispatch(Resample { pixels, width, rows, columns, along_rows, along_columns, out, scratch });
}

/// Which inputs make an output, and with which weights.
struct Filter {
    /// Of each output: the first input and how many.
    spans: Vec<(usize, usize)>,
    /// Of each output, `longest` of them.
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
            // A float becomes the nearest integer that there is: nothing below 0.
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

    /// The first input of an output, and its weights.
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
    out: &'a mut Planes,
    scratch: &'a mut Scratch,
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
    /// Pillow's choice, from its version 13 on: where rows fall away, and more than twice as many of them as of columns.
    fn columns_first(&self) -> bool {
        let fewer_rows = self.rows.len() as isize - self.out.height() as isize;
        let fewer_columns = self.columns.len() as isize - self.out.width() as isize;
        fewer_rows > 0 && fewer_rows > 2 * fewer_columns
    }

    #[inline(always)]
    fn along_rows_first(self) {
        let Self { pixels, width, rows, columns, along_rows, along_columns, out, scratch } = self;
        let (n, part) = (out.width(), 3 * columns.len());
        scratch.rows.resize(rows.len() * 3 * n, 0);
        for (y, to) in rows.zip(scratch.rows.chunks_exact_mut(3 * n)) {
            let from = 3 * (y * width + columns.start);
            // Pixels are read as four bytes.
            let row = match pixels.get(from..from + part + 1) {
                Some(row) => row,
                None => {
                    scratch.last.clear();
                    scratch.last.extend_from_slice(&pixels[from..from + part]);
                    scratch.last.push(0);
                    &scratch.last
                }
            };
            let (red, others) = to.split_at_mut(n);
            let (green, blue) = others.split_at_mut(n);
            narrow(&along_rows, row, [red, green, blue]);
        }
        for (c, color) in out.colors_mut().into_iter().enumerate() {
            for (y, to) in color.chunks_exact_mut(n).enumerate() {
                let (first, weights) = along_columns.of(y);
                shorten(&scratch.rows[(3 * first + c) * n..], 3 * n, weights, to);
            }
        }
    }

    #[inline(always)]
    fn along_columns_first(self) {
        let Self { pixels, width, rows, columns, along_rows, along_columns, out, scratch } = self;
        let (n, part) = (out.width(), 3 * columns.len());
        scratch.last.resize(part + 1, 0);
        let [red, green, blue] = out.colors_mut();
        let out = red.chunks_exact_mut(n).zip(green.chunks_exact_mut(n)).zip(blue.chunks_exact_mut(n));
        for (y, ((red, green), blue)) in out.enumerate() {
            let (first, weights) = along_columns.of(y);
            let from = 3 * ((rows.start + first) * width + columns.start);
            shorten(&pixels[from..], 3 * width, weights, &mut scratch.last[..part]);
            narrow(&along_rows, &scratch.last, [red, green, blue]);
        }
    }
}

/// One row of pixels, and a byte more, to a row of each colour.
#[inline(always)]
fn narrow(filter: &Filter, row: &[u8], [red, green, blue]: [&mut [u8]; 3]) {
    for (x, ((r, g), b)) in red.iter_mut().zip(green).zip(blue).enumerate() {
        let (first, weights) = filter.of(x);
        let mut sums = [1 << (BITS - 1); 4];
        for (pixel, &weight) in row[3 * first..].windows(4).step_by(3).zip(weights) {
            for (sum, &x) in sums.iter_mut().zip(pixel) {
                *sum += i32::from(x) * weight;
            }
        }
        [*r, *g, *b, _] = sums.map(byte);
    }
}

/// Rows of bytes, `stride` apart, to one.
#[inline(always)]
fn shorten(rows: &[u8], stride: usize, weights: &[i32], to: &mut [u8]) {
    const N: usize = 64;
    for (n, to) in to.chunks_mut(N).enumerate() {
        let mut sums = [1 << (BITS - 1); N];
        for (k, &weight) in weights.iter().enumerate() {
            let row = &rows[k * stride + n * N..];
            match row.first_chunk::<N>() {
                Some(row) => add(&mut sums, row, weight),
                None => sums.iter_mut().zip(row).for_each(|(sum, &x)| *sum += i32::from(x) * weight),
            }
        }
        for (to, sum) in to.iter_mut().zip(sums) {
            *to = byte(sum);
        }
    }
}

#[inline(always)]
fn add<const N: usize>(sums: &mut [i32; N], row: &[u8; N], weight: i32) {
    for (sum, &x) in sums.iter_mut().zip(row) {
        *sum += i32::from(x) * weight;
    }
}

#[inline(always)]
fn byte(sum: i32) -> u8 {
    (sum >> BITS).clamp(0, 255) as u8
}
