//! The way in and the way out: pixels to a map, and T's last map to pixels,
//! `out = (1 - beta) content + beta sigmoid(scale in + shift)`, cropped to the content's size.
pub mod cuda;
mod scalar;
mod simd;

use crate::kernels::inference::any_map::AnyMap;
use crate::kernels::inference::feature_map::FeatureMap;
use crate::kernels::isa::{Extent, Isa, MOST_LANES};
use std::ops::Range;

/// The pixels of one RGB image, height x width x 3.
#[derive(Clone, Copy, Debug)]
pub enum Pixels<'a> {
    /// 0 to 255.
    U8(&'a [u8]),
    /// 0.0 to 1.0.
    F32(&'a [f32]),
}

/// Where the pixels of one RGB image go.
#[derive(Debug)]
pub enum PixelsMut<'a> {
    /// 0 to 255, halves rounded up.
    U8(&'a mut [u8]),
    /// 0.0 to 1.0.
    F32(&'a mut [f32]),
}

impl PixelsMut<'_> {
    fn len(&self) -> usize {
        match self {
            Self::U8(pixels) => pixels.len(),
            Self::F32(pixels) => pixels.len(),
        }
    }

    /// These numbers of them.
    fn part(&mut self, range: Range<usize>) -> PixelsMut<'_> {
        match self {
            Self::U8(pixels) => PixelsMut::U8(&mut pixels[range]),
            Self::F32(pixels) => PixelsMut::F32(&mut pixels[range]),
        }
    }

    /// Takes numbers in [0, 1].
    #[inline(always)]
    #[expect(clippy::manual_clamp, reason = "clamp lets NaN through")]
    #[allow(unsafe_code)]
    fn pack(self, from: &[f32]) {
        match self {
            Self::U8(out) => {
                for (to, x) in out.iter_mut().zip(from) {
                    // At most 255.5, and truncated. NaN gives 0.
                    let x = (x * 255.0 + 0.5).max(0.0).min(255.0);
                    // SAFETY: between 0 and 255. (A checked conversion takes three times as long.)
                    *to = unsafe { x.to_int_unchecked::<i32>() } as u8;
                }
            }
            Self::F32(out) => out.copy_from_slice(from),
        }
    }
}

impl Pixels<'_> {
    /// The image as a map of [0, 1], or as its bytes; its height, width and padding stand in `out`.
    ///
    /// # Panics
    /// If `out` has another size, or not three channels.
    pub fn unpack(self, isa: Isa, out: &mut AnyMap) {
        let (height, width, channels) = out.shape();
        assert_eq!((self.len(), channels), (3 * width * height, 3));
        out.set_range(Extent { low: 0.0, high: 1.0 });
        let row = |y: usize| 3 * width * y..3 * width * (y + 1);
        match (self, out) {
            (Self::U8(from), AnyMap::Bytes(out)) => {
                (0..height).for_each(|y| out.map.row_mut(y).copy_from_slice(&from[row(y)]));
            }
            (Self::F32(from), AnyMap::Bytes(out)) => out.fill_rows(isa, from),
            (from, AnyMap::Floats(out)) => (0..height).for_each(|y| from.part(row(y)).floats(out.row_mut(y))),
        }
    }

    /// These numbers of them.
    pub(super) fn part(self, range: Range<usize>) -> Self {
        match self {
            Self::U8(pixels) => Self::U8(&pixels[range]),
            Self::F32(pixels) => Self::F32(&pixels[range]),
        }
    }

    /// Gives numbers in [0, 1].
    #[inline(always)]
    pub(super) fn floats(self, out: &mut [f32]) {
        match self {
            Self::U8(from) => out.iter_mut().zip(from).for_each(|(to, &x)| *to = f32::from(x) * (1.0 / 255.0)),
            Self::F32(from) => out.copy_from_slice(from),
        }
    }

    /// Whether all pixels are of one colour.
    pub fn is_flat(self) -> bool {
        match self {
            Self::U8(pixels) => pixels.iter().skip(3).eq(pixels.iter().take(pixels.len().saturating_sub(3))),
            Self::F32(pixels) => pixels.iter().skip(3).eq(pixels.iter().take(pixels.len().saturating_sub(3))),
        }
    }

    /// The pixels as they are.
    ///
    /// # Panics
    /// If `out` is of another type or length.
    pub fn copy(self, out: PixelsMut) {
        match (self, out) {
            (Self::U8(from), PixelsMut::U8(to)) => to.copy_from_slice(from),
            (Self::F32(from), PixelsMut::F32(to)) => to.copy_from_slice(from),
            (from, to) => panic!("{from:?} into {to:?}"),
        }
    }

    /// How many numbers.
    pub(crate) fn len(self) -> usize {
        match self {
            Self::U8(pixels) => pixels.len(),
            Self::F32(pixels) => pixels.len(),
        }
    }
}

/// T's last map, before norm and sigmoid.
#[derive(Clone, Copy, Debug)]
pub struct Last<'a> {
    /// 3 channels at full size, or 12 at half size: `[row phase][column phase][rgb]`.
    pub map: &'a FeatureMap,
    /// Of the three colours.
    pub scale: [f32; 3],
    /// Of the three colours.
    pub shift: [f32; 3],
}

/// `out = (1 - beta) content + beta sigmoid(scale last + shift)`, of the content's width, row by row as `row` holds one.
///
/// # Panics
/// If the sizes do not fit.
pub fn interpolate(
    isa: Isa,
    last: Last,
    beta: f32,
    content: Pixels,
    width: usize,
    mut out: PixelsMut,
    row: &mut Vec<f32>,
) {
    if isa != Isa::Scalar {
        return isa.dispatch(simd::Interpolate { last, beta, content, width, out, row });
    }
    for y in 0..content.len() / (3 * width) {
        last.gather_row(y, width, row);
        let range = 3 * width * y..3 * width * (y + 1);
        scalar::blend(&last, beta, &row[..3 * width], content.part(range.clone()), out.part(range));
    }
}

impl Last<'_> {
    /// Row `y` at full size, of which `width` pixels count.
    fn gather_row(&self, y: usize, width: usize, out: &mut Vec<f32>) {
        out.resize(3 * width + Self::SPARE, 0.0);
        if self.map.channels() == 3 {
            out[..3 * width].copy_from_slice(&self.map.row(y)[..3 * width]);
            return;
        }
        // Of each cell two pixels, six floats; two more are copied along, and overwritten by the next.
        let cells = &self.map.view().data[self.map.origin() + y / 2 * self.map.stride() + y % 2 * 6..];
        for x in 0..width.div_ceil(2) {
            out[6 * x..6 * x + 8].copy_from_slice(&cells[12 * x..12 * x + 8]);
        }
    }

    /// Floats beyond a row that may be read or written.
    const SPARE: usize = MOST_LANES;
}
