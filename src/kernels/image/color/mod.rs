//! Colour operations on single pixels. They are bit-identical to Pillow (libImaging `Blend.c`, `Convert.c`), except [`scale`]
//! and [`saturate`], which serve BYOL's colour jitter.
//!
//! The loops are written once for all instruction sets; see [`super::planes`].
#![allow(unsafe_code)]
pub mod cuda;
mod hue;

use crate::kernels::image::planes::Planes;
use crate::kernels::isa::{Isa, Kernel, Lanes};

/// Writes the luma of each pixel to `gray`: ITU-R 601-2 with 16-bit weights.
///
/// # Panics
/// If `gray` does not have one byte for each pixel.
pub fn gray(isa: Isa, planes: &Planes, gray: &mut [u8]) {
    assert_eq!(gray.len(), planes.height() * planes.width(), "gray bytes");
    isa.dispatch(Gray { colors: planes.colors(), gray });
}

/// Replaces each byte `x` by `from + factor * (x - from)`, clamped to [0, 255] and truncated.
pub fn blend(isa: Isa, from: Base, factor: f32, bytes: &mut [u8]) {
    isa.dispatch(Blend { from, factor, bytes });
}

/// The argument `from` of [`blend`]: the result for a factor of 0.
#[derive(Clone, Copy, Debug)]
pub enum Base<'a> {
    /// One value for all bytes.
    Level(u8),
    /// One value per byte; the slice is repeated cyclically.
    Each(&'a [u8]),
}

/// Rotates the hue of each pixel by `steps`. The hue is a byte: a full turn is 255 steps, but sums wrap around at 256.
pub fn turn_hue(isa: Isa, steps: u8, planes: &mut Planes) {
    isa.dispatch(hue::Turn { steps, colors: planes.colors_mut() });
}

/// Inverts bytes that are at least `threshold`.
pub fn solarize(isa: Isa, threshold: u8, bytes: &mut [u8]) {
    isa.dispatch(Solarize { threshold, bytes });
}

/// Applies a bit mask to each byte.
pub fn posterize(isa: Isa, mask: u8, bytes: &mut [u8]) {
    isa.dispatch(Posterize { mask, bytes });
}

/// Replaces each byte `x` by `by * x + plus`, clamped to [0, 255] and rounded.
pub fn scale(isa: Isa, by: f32, plus: f32, bytes: &mut [u8]) {
    isa.dispatch(Scale { by, plus: plus + 0.5, bytes });
}

/// Multiplies the HSV saturation of each pixel by `factor`, and limits it to 1. The saturation is `(V - min) / V`, where `V` is
/// the largest and `min` the smallest colour value.
pub fn saturate(isa: Isa, factor: f32, planes: &mut Planes) {
    isa.dispatch(Saturate { factor, colors: planes.colors_mut() });
}

struct Gray<'a> {
    colors: [&'a [u8]; 3],
    gray: &'a mut [u8],
}

impl Kernel for Gray<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let [red, green, blue] = self.colors;
        for (out, ((&r, &g), &b)) in self.gray.iter_mut().zip(red.iter().zip(green).zip(blue)) {
            *out = ((19_595 * u32::from(r) + 38_470 * u32::from(g) + 7_471 * u32::from(b) + 0x8000) >> 16) as u8;
        }
    }
}

struct Blend<'a> {
    from: Base<'a>,
    factor: f32,
    bytes: &'a mut [u8],
}

impl Kernel for Blend<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        match self.from {
            Base::Level(level) => self.bytes.iter_mut().for_each(|x| *x = blended(level, self.factor, *x)),
            Base::Each(bytes) => {
                for part in self.bytes.chunks_mut(bytes.len().max(1)) {
                    part.iter_mut().zip(bytes).for_each(|(x, &from)| *x = blended(from, self.factor, *x));
                }
            }
        }
    }
}

#[inline(always)]
fn blended(from: u8, factor: f32, x: u8) -> u8 {
    let from = f32::from(from);
    truncated(from + factor * (f32::from(x) - from))
}

/// Clamps to [0, 255] and truncates; NaN becomes 0.
#[allow(clippy::manual_clamp)] // `clamp` lets NaN through.
#[inline(always)]
fn truncated(x: f32) -> u8 {
    let x = x.max(0.0).min(255.0);
    // SAFETY: within a byte's range.
    unsafe { x.to_int_unchecked::<i32>() as u8 }
}

struct Scale<'a> {
    by: f32,
    plus: f32,
    bytes: &'a mut [u8],
}

impl Kernel for Scale<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        self.bytes.iter_mut().for_each(|x| *x = truncated(self.by * f32::from(*x) + self.plus));
    }
}

struct Saturate<'a> {
    factor: f32,
    colors: [&'a mut [u8]; 3],
}

impl Kernel for Saturate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let [red, green, blue] = self.colors;
        for ((r, g), b) in red.iter_mut().zip(green).zip(blue) {
            let (most, least) = (f32::from((*r).max(*g).max(*b)), f32::from((*r).min(*g).min(*b)));
            // Saturation is 1 when the smallest colour is 0.
            let factor = self.factor.min(most / (most - least).max(1.0));
            for x in [r, g, b] {
                *x = truncated(most - (most - f32::from(*x)) * factor + 0.5);
            }
        }
    }
}

struct Posterize<'a> {
    mask: u8,
    bytes: &'a mut [u8],
}

impl Kernel for Posterize<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        self.bytes.iter_mut().for_each(|x| *x &= self.mask);
    }
}

struct Solarize<'a> {
    threshold: u8,
    bytes: &'a mut [u8],
}

impl Kernel for Solarize<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        for x in self.bytes {
            *x = if *x < self.threshold { *x } else { 255 - *x };
        }
    }
}
