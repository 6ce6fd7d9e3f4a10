//! The end of the transformer T: conversion of its last map to pixels, cropped to the size of the content image.
//!
//! The formula is `out = (1 - beta) content + beta end(scale in + shift)`, where `end` is the sigmoid or clamps to [0, 1].
pub mod cuda;
mod scalar;
mod simd;

use crate::kernels::inference::feature_map::FeatureMap;
use crate::kernels::inference::pixels::{Pixels, PixelsMut};
use crate::kernels::isa::{Isa, MOST_LANES};

/// The function that maps values to [0, 1].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Squash {
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// Clamps to [0, 1].
    Clamp,
}

/// The last map of T, before its norm and `end`.
#[derive(Clone, Copy, Debug)]
pub struct Last<'a> {
    /// 3 channels at full size, or 12 channels, `[row phase][column phase][rgb]`, at half size.
    pub map: &'a FeatureMap,
    /// Scale of each colour.
    pub scale: [f32; 3],
    /// Shift of each colour.
    pub shift: [f32; 3],
    /// The function that maps values to [0, 1].
    pub end: Squash,
}

/// Row buffers of [`interpolate`]; the next image can reuse them.
#[derive(Debug, Default)]
pub struct InterpolationScratch {
    /// A row of the last map at full size.
    last: Vec<f32>,
    /// A row of interleaved pixels, for outputs in colour planes.
    bytes: Vec<u8>,
}

/// Computes `out = (1 - beta) content + beta end(scale last + shift)`, row by row, for a content image of `width` columns.
///
/// # Panics
/// If the sizes do not match.
pub fn interpolate(
    isa: Isa,
    last: Last,
    beta: f32,
    content: Pixels,
    width: usize,
    mut out: PixelsMut,
    scratch: &mut InterpolationScratch,
) {
    assert_eq!(content.len(), out.len(), "values of the content and of the output");
    if isa != Isa::Scalar {
        return isa.dispatch(simd::Interpolate { last, beta, content, width, out, scratch });
    }
    let InterpolationScratch { last: row, bytes } = scratch;
    for y in 0..content.len() / (3 * width) {
        last.gather_row(y, width, row);
        let content = content.part(3 * width * y..3 * width * (y + 1));
        scalar::blend(&last, beta, &row[..3 * width], content, out.row(y, width, bytes));
        out.finish_row(y, width, bytes);
    }
}

impl Last<'_> {
    /// Copies the first `width` pixels of row `y` at full size to `out`.
    fn gather_row(&self, y: usize, width: usize, out: &mut Vec<f32>) {
        out.resize(3 * width + Self::SPARE, 0.0);
        if self.map.channels() == 3 {
            out[..3 * width].copy_from_slice(&self.map.row(y)[..3 * width]);
            return;
        }
        // Each cell contributes two pixels, six floats; two more are copied, and overwritten by the next cell.
        let cells = &self.map.view().data[self.map.origin() + y / 2 * self.map.stride() + y % 2 * 6..];
        for x in 0..width.div_ceil(2) {
            out[6 * x..6 * x + 8].copy_from_slice(&cells[12 * x..12 * x + 8]);
        }
    }

    /// Number of floats beyond the end of a row that may be read or written.
    const SPARE: usize = MOST_LANES;
}
