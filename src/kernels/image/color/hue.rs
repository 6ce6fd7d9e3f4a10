//! Hue rotation: conversion of red, green and blue to hue, saturation and value in bytes, and back.
//!
//! Pillow computes some of this in double precision. For byte inputs, the single-precision formulas below give the same bytes;
//! a test checks every colour.
use crate::kernels::isa::{Kernel, Lanes};

pub(super) struct Turn<'a> {
    pub(super) steps: u8,
    pub(super) colors: [&'a mut [u8]; 3],
}

impl Kernel for Turn<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let [red, green, blue] = self.colors;
        for ((red, green), blue) in red.iter_mut().zip(green).zip(blue) {
            [*red, *green, *blue] = turned(self.steps, [*red, *green, *blue]);
        }
    }
}

/// Rotates the hue of one pixel. The code has no branches or tables, so that the loop over pixels vectorizes.
#[inline(always)]
fn turned(steps: u8, [red, green, blue]: [u8; 3]) -> [u8; 3] {
    let (most, least) = (red.max(green).max(blue), red.min(green).min(blue));
    let middle = red.min(green).max(red.max(green).min(blue));
    let (value, range) = (f32::from(most), f32::from(most - least));
    // From the centre of the sector of the largest colour, towards the next one or the previous one.
    let (center, is_next) = if green == most { (2.0, red == least) } else { (4.0, green == least) };
    let (center, is_next) = if red == most { (0.0, blue == least) } else { (center, is_next) };
    let short = f32::from(most - middle) / range.max(1.0);
    let sixths = if is_next { center + 1.0 - short } else { center - 1.0 + short };
    let turn = sixths / 6.0 + if sixths < 0.0 { 1.0 } else { 0.0 };
    let hue = truncated(turn * 255.0).wrapping_add(steps);
    // The end of the circle coincides with its beginning.
    let hue = if hue == 255 { 0.0 } else { f32::from(hue) };
    let saturation = f32::from(truncated(range / value.max(1.0) * 255.0)) * (1.0 / 255.0);

    // The sector of the hue, of six, and the position within it.
    let part = truncated(hue * (2.0 / 85.0) + 1e-4);
    let far = (2.0 * hue - 85.0 * f32::from(part)) * (1.0 / 85.0);
    let far = if part & 1 == 1 { far } else { 1.0 - far };
    let lowest = truncated(value - value * saturation + 0.5);
    let between = truncated(value - value * (saturation * far) + 0.5);
    // `|` and not `||`, so that bytes are compared without a branch.
    let is = |one: u8, other: u8| (part == one) | (part == other);
    let pick = |is_most: bool, is_lowest: bool| {
        let rest = if is_lowest { lowest } else { between };
        if is_most { most } else { rest }
    };
    [pick(is(0, 5), is(2, 3)), pick(is(1, 2), is(4, 5)), pick(is(3, 4), is(0, 1))]
}

/// Truncates a value in [0, 256).
#[inline(always)]
fn truncated(x: f32) -> u8 {
    // SAFETY: within a byte's range. (A checked conversion takes three times as long.)
    unsafe { x.to_int_unchecked::<i32>() as u8 }
}
