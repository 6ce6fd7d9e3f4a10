//! The pixels of one RGB image, as input or output. Bytes and float32 pixels both represent values in [0, 1].
#![allow(unsafe_code)]
pub mod cuda;

use super::any_map::AnyMap;
use crate::kernels::isa::{Extent, Isa, Lanes};
use std::ops::Range;

/// The pixels of one RGB image, `[height][width][3]`.
#[derive(Clone, Copy, Debug)]
pub enum Pixels<'a> {
    /// 0 to 255.
    U8(&'a [u8]),
    /// 0.0 to 1.0.
    F32(&'a [f32]),
}

/// The destination of RGB pixels.
#[derive(Debug)]
pub enum PixelsMut<'a> {
    /// 0 to 255, halves rounded up.
    U8(&'a mut [u8]),
    /// The colour planes of one image, 0 to 255, halves rounded up.
    Planes([&'a mut [u8]; 3]),
    /// 0.0 to 1.0.
    F32(&'a mut [f32]),
}

impl<'a> Pixels<'a> {
    /// Converts the image to a map of values in [0, 1]. `out` determines the height, the width and the type, float32 or bytes.
    ///
    /// # Panics
    /// If the sizes of `out` and of the image differ, or `out` does not have three channels.
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

    /// Returns the values in this range of indices.
    pub fn part(self, range: Range<usize>) -> Self {
        match self {
            Self::U8(pixels) => Self::U8(&pixels[range]),
            Self::F32(pixels) => Self::F32(&pixels[range]),
        }
    }

    /// Converts the pixels to values in [0, 1].
    #[inline(always)]
    pub(super) fn floats(self, out: &mut [f32]) {
        match self {
            Self::U8(from) => out.iter_mut().zip(from).for_each(|(to, &x)| *to = f32::from(x) * (1.0 / 255.0)),
            Self::F32(from) => out.copy_from_slice(from),
        }
    }

    /// Returns whether all pixels have the same colour.
    pub fn is_flat(self) -> bool {
        match self {
            Self::U8(pixels) => pixels.iter().skip(3).eq(pixels.iter().take(pixels.len().saturating_sub(3))),
            Self::F32(pixels) => pixels.iter().skip(3).eq(pixels.iter().take(pixels.len().saturating_sub(3))),
        }
    }

    /// Copies the pixels unchanged.
    ///
    /// # Panics
    /// If `out` has another type or length.
    pub fn copy(self, out: PixelsMut) {
        match (self, out) {
            (Self::U8(from), PixelsMut::U8(to)) => to.copy_from_slice(from),
            (Self::U8(from), PixelsMut::Planes(to)) => split(from, to),
            (Self::F32(from), PixelsMut::F32(to)) => to.copy_from_slice(from),
            (from, to) => panic!("{from:?} into {to:?}"),
        }
    }

    /// Number of values.
    pub fn len(self) -> usize {
        match self {
            Self::U8(pixels) => pixels.len(),
            Self::F32(pixels) => pixels.len(),
        }
    }

    /// Returns whether there are no values.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Loads `used` values starting at `at`, converted to [0, 1].
    ///
    /// # Safety
    /// `at + used` is at most [`Pixels::len`].
    #[inline(always)]
    pub(super) unsafe fn load<L: Lanes>(self, at: usize, used: usize) -> L {
        // SAFETY: guaranteed by the caller.
        let steps: L = unsafe { self.load_steps(at, used) };
        match self {
            Self::U8(_) => steps.mul_add(L::splat(self.step()), L::splat(0.0)),
            Self::F32(_) => steps,
        }
    }

    /// Loads `used` values starting at `at`, unconverted.
    ///
    /// # Safety
    /// `at + used` is at most [`Pixels::len`].
    #[inline(always)]
    pub(super) unsafe fn load_steps<L: Lanes>(self, at: usize, used: usize) -> L {
        // SAFETY: guaranteed by the caller.
        unsafe {
            match self {
                Self::U8(from) => L::load_pixels(from.as_ptr().add(at), 0..used),
                Self::F32(from) if used == L::N => L::load(from.as_ptr().add(at)),
                Self::F32(from) => L::load_some(from.as_ptr().add(at), 0..used),
            }
        }
    }

    /// The factor that converts stored values to [0, 1].
    pub(super) fn step(self) -> f32 {
        match self {
            Self::U8(_) => 1.0 / 255.0,
            Self::F32(_) => 1.0,
        }
    }
}

impl PixelsMut<'_> {
    /// Number of values.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::U8(pixels) => pixels.len(),
            Self::Planes(colors) => colors.iter().map(|color| color.len()).sum(),
            Self::F32(pixels) => pixels.len(),
        }
    }

    /// Returns row `y`, of `width` pixels, for writing. If the image consists of colour planes, this row is in the buffer
    /// `bytes`, and [`PixelsMut::finish_row`] copies it to the planes.
    #[inline(always)]
    pub(super) fn row<'a>(&'a mut self, y: usize, width: usize, bytes: &'a mut Vec<u8>) -> RowMut<'a> {
        let range = 3 * width * y..3 * width * (y + 1);
        match self {
            Self::U8(pixels) => RowMut::U8(&mut pixels[range]),
            Self::Planes(_) => {
                bytes.resize(3 * width, 0);
                RowMut::U8(bytes)
            }
            Self::F32(pixels) => RowMut::F32(&mut pixels[range]),
        }
    }

    /// Copies row `y` from the buffer `bytes` to the colour planes. Does nothing if there are no colour planes, because
    /// [`PixelsMut::row`] then returned the row of the image itself.
    #[inline(always)]
    pub(super) fn finish_row(&mut self, y: usize, width: usize, bytes: &[u8]) {
        if let Self::Planes(colors) = self {
            split(bytes, colors.each_mut().map(|color| &mut color[width * y..width * (y + 1)]));
        }
    }
}

/// A row of pixels, for writing.
#[derive(Debug)]
pub(super) enum RowMut<'a> {
    /// 0 to 255, halves rounded up.
    U8(&'a mut [u8]),
    /// 0.0 to 1.0.
    F32(&'a mut [f32]),
}

impl RowMut<'_> {
    /// Writes values in [0, 1] to the row.
    #[inline(always)]
    #[expect(clippy::manual_clamp, reason = "clamp lets NaN through")]
    pub(super) fn pack(self, from: &[f32]) {
        match self {
            Self::U8(out) => {
                for (to, x) in out.iter_mut().zip(from) {
                    // At most 255.5, then truncated. NaN becomes 0.
                    let x = (x * 255.0 + 0.5).max(0.0).min(255.0);
                    // SAFETY: between 0 and 255. (A checked conversion takes three times as long.)
                    *to = unsafe { x.to_int_unchecked::<i32>() } as u8;
                }
            }
            Self::F32(out) => out.copy_from_slice(from),
        }
    }

    /// Number of values.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::U8(row) => row.len(),
            Self::F32(row) => row.len(),
        }
    }

    /// The factor that converts stored values to [0, 1].
    #[inline(always)]
    pub(super) fn step(&self) -> f32 {
        match self {
            Self::U8(_) => 1.0 / 255.0,
            Self::F32(_) => 1.0,
        }
    }

    /// The summand that turns truncation to bytes into rounding; 0 for float32.
    #[inline(always)]
    pub(super) fn half(&self) -> f32 {
        match self {
            Self::U8(_) => 0.5,
            Self::F32(_) => 0.0,
        }
    }

    /// Writes values that were divided by [`RowMut::step`] and then increased by [`RowMut::half`]. NaN becomes the byte 0.
    ///
    /// # Safety
    /// `used` values from `at` on are within the row.
    #[inline(always)]
    pub(super) unsafe fn store<L: Lanes>(&mut self, at: usize, used: usize, x: L) {
        // SAFETY: guaranteed by the caller; values are below 256.
        unsafe {
            match self {
                Self::U8(out) => {
                    x.max(L::splat(0.0)).min(L::splat(255.0)).store_pixels(out.as_mut_ptr().add(at), used);
                }
                Self::F32(out) if used == L::N => x.store(out.as_mut_ptr().add(at)),
                Self::F32(out) => x.store_some(out.as_mut_ptr().add(at), 0..used),
            }
        }
    }
}

/// Splits interleaved pixels into colour planes.
#[inline(always)]
fn split(pixels: &[u8], [red, green, blue]: [&mut [u8]; 3]) {
    for (pixel, ((r, g), b)) in pixels.as_chunks::<3>().0.iter().zip(red.iter_mut().zip(green).zip(blue)) {
        [*r, *g, *b] = *pixel;
    }
}
