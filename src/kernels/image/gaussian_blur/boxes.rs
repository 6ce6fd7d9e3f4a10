//! Pillow's Gaussian blur, which applies three box filters in each direction; bit-identical to libImaging's `BoxBlur.c`.
//!
//! A box filter computes a mean with 24-bit weights, and rounds it to a byte. The mean is over the bytes within the radius, and
//! a fraction of the next byte on either side.
//!
//! The loops are written once for all instruction sets; see `image/planes.rs`.
use super::BlurScratch;
use crate::kernels::image::planes::Planes;
use crate::kernels::isa::{Isa, Kernel, Lanes};

/// Number of boxes that approximate a Gaussian.
const PASSES: usize = 3;

/// Blurs each colour with box filters that approximate a Gaussian of standard deviation `sigma`. Together, the box filters have
/// the variance of the Gaussian. Edge pixels are repeated.
pub fn box_blur(isa: Isa, sigma: f32, planes: &mut Planes, scratch: &mut BlurScratch) {
    let Some(window) = Window::new(sigma) else { return };
    let (height, width) = (planes.height(), planes.width());
    for color in planes.colors_mut() {
        isa.dispatch(Blur { window, height, width, color, scratch: &mut scratch.blurred });
    }
}

/// A box filter. Each of the central `2 radius + 1` bytes has the weight `whole`; one more byte on either side has the weight
/// `part`.
#[derive(Clone, Copy)]
pub(super) struct Window {
    pub(super) radius: usize,
    pub(super) whole: u32,
    pub(super) part: u32,
}

impl Window {
    /// Returns the box filter for a Gaussian: applied `PASSES` times, it has the variance of the Gaussian. Returns `None` if
    /// the filter would not change anything. See Gwosdek et al., "Theoretical foundations of Gaussian convolution by extended
    /// box filtering" (2011), section 2.
    pub(super) fn new(sigma: f32) -> Option<Self> {
        let variance = sigma * sigma / PASSES as f32;
        let side = (f64::from(variance) * 12.0 + 1.0).sqrt() as f32;
        let whole = ((f64::from(side) - 1.0) / 2.0).floor() as f32;
        let part = (2.0 * whole + 1.0) * (whole * (whole + 1.0) - 3.0 * variance);
        let part = part / (6.0 * (variance - (whole + 1.0) * (whole + 1.0)));
        let reach = whole + part;
        if reach == 0.0 {
            return None;
        }
        let radius = reach as u32;
        let whole = ((1 << 24) as f32 / (reach * 2.0 + 1.0)) as u32;
        let part = ((1 << 24) - (radius * 2 + 1) * whole) / 2;
        Some(Self { radius: radius as usize, whole, part })
    }
}

struct Blur<'a> {
    window: Window,
    height: usize,
    width: usize,
    color: &'a mut [u8],
    scratch: &'a mut Vec<u8>,
}

impl Kernel for Blur<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { window, height, width, color, scratch } = self;
        let edge = window.radius + 1;
        // Along rows: one row at a time, with repeated ends.
        scratch.resize(width + 2 * edge, 0);
        for row in color.chunks_exact_mut(width) {
            for _ in 0..PASSES {
                scratch[..edge].fill(row[0]);
                scratch[edge..][..width].copy_from_slice(row);
                scratch[edge + width..].fill(row[width - 1]);
                average(window, scratch, 1, row);
            }
        }
        // Along columns: all rows, with copies of the first and the last around them.
        scratch.resize((height + 2 * edge) * width, 0);
        for _ in 0..PASSES {
            let (first, last) = (&color[..width], &color[(height - 1) * width..]);
            for copy in 0..edge {
                scratch[copy * width..][..width].copy_from_slice(first);
                scratch[(edge + height + copy) * width..][..width].copy_from_slice(last);
            }
            scratch[edge * width..][..height * width].copy_from_slice(color);
            for (y, row) in color.chunks_exact_mut(width).enumerate() {
                average(window, &scratch[y * width..], width, row);
            }
        }
    }
}

/// Applies a box filter along an axis on which neighbouring bytes are `stride` apart. Output `i` is computed from
/// `2 radius + 3` bytes of `from`, starting at index `i`.
#[inline(always)]
fn average(window: Window, from: &[u8], stride: usize, to: &mut [u8]) {
    let n = to.len();
    let tap = |k: usize| &from[k * stride..][..n];
    let taps = 2 * window.radius + 3;
    match window.radius {
        // The radius for sigmas up to 2.
        0 => {
            let [a, b, c] = [tap(0), tap(1), tap(2)];
            for (i, to) in to.iter_mut().enumerate() {
                *to = window.of(u32::from(b[i]), u32::from(a[i]) + u32::from(c[i]));
            }
        }
        1 => {
            let [a, b, c, d, e] = [tap(0), tap(1), tap(2), tap(3), tap(4)];
            for (i, to) in to.iter_mut().enumerate() {
                let inner = u32::from(b[i]) + u32::from(c[i]) + u32::from(d[i]);
                *to = window.of(inner, u32::from(a[i]) + u32::from(e[i]));
            }
        }
        _ => {
            let (first, last) = (tap(0), tap(taps - 1));
            for (i, to) in to.iter_mut().enumerate() {
                let inner = (1..taps - 1).map(|k| u32::from(from[k * stride + i])).sum();
                *to = window.of(inner, u32::from(first[i]) + u32::from(last[i]));
            }
        }
    }
}

impl Window {
    #[inline(always)]
    fn of(self, inner: u32, outer: u32) -> u8 {
        ((inner * self.whole + outer * self.part + (1 << 23)) >> 24) as u8
    }
}
