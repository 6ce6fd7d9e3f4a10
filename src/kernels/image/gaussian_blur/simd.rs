//! Blurs an image row by row, four vector registers at a time. Each row is first blurred along its length and stored in a ring
//! of rows. The ring is then blurred along columns, while it is in the cache.
#![allow(unsafe_code)]
use super::{BlurScratch, reflected};
use crate::kernels::isa::{Kernel, Lanes};

/// The arguments of [`super::gaussian_blur`], for one colour.
pub(super) struct Blur<'a> {
    pub(super) half: &'a [f32],
    pub(super) width: usize,
    pub(super) color: &'a mut [u8],
    pub(super) scratch: &'a mut BlurScratch,
}

impl Kernel for Blur<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { half, width, color, scratch: BlurScratch { row, ring, blurred } } = self;
        let (height, radius, taps) = (color.len() / width, half.len() - 1, 2 * half.len() - 1);
        let stride = width.next_multiple_of(4 * L::N);
        row.resize(stride + 2 * radius, 0.0);
        ring.resize(taps * stride, 0.0);
        blurred.resize(color.len(), 0);
        let mut ready = 0;
        for y in 0..height {
            while ready < height.min(y + radius + 1) {
                fill(&color[ready * width..][..width], radius, row);
                let to = &mut ring[ready % taps * stride..][..stride];
                for x in (0..stride).step_by(4 * L::N) {
                    // SAFETY: a row has `stride + 2 radius` values.
                    let block = unsafe {
                        let middle = row.as_ptr().add(x + radius);
                        let mut sums = scaled::<L>(middle, half[0]);
                        for (k, &tap) in half.iter().enumerate().skip(1) {
                            sums = with_pair(sums, middle.sub(k), middle.add(k), tap);
                        }
                        sums
                    };
                    for (v, sum) in block.into_iter().enumerate() {
                        // SAFETY: `stride` is a multiple of four vectors.
                        unsafe { sum.store(to.as_mut_ptr().add(x + v * L::N)) }
                    }
                }
                ready += 1;
            }
            let out = &mut blurred[y * width..][..width];
            for x in (0..width).step_by(4 * L::N) {
                // SAFETY: the ring has `taps` rows of `stride` values.
                let block = unsafe {
                    let ring = ring.as_ptr().add(x);
                    let mut sums = scaled::<L>(ring.add(y % taps * stride), half[0]);
                    for (k, &tap) in half.iter().enumerate().skip(1) {
                        let above = reflected(y as isize - k as isize, height) % taps * stride;
                        let below = reflected((y + k) as isize, height) % taps * stride;
                        sums = with_pair(sums, ring.add(above), ring.add(below), tap);
                    }
                    sums
                };
                for (v, sum) in block.into_iter().enumerate() {
                    let at = x + v * L::N;
                    if at < width {
                        let (one, half) = (L::splat(1.0), L::splat(0.5));
                        // SAFETY: within the row; bytes weighted by taps that sum to 1, plus a half, are below 256.
                        unsafe { sum.mul_add(one, half).store_pixels(out.as_mut_ptr().add(at), L::N.min(width - at)) }
                    }
                }
            }
        }
        color.copy_from_slice(blurred);
    }
}

/// Converts a row of bytes to floats, with reflected ends.
#[inline(always)]
fn fill(bytes: &[u8], radius: usize, row: &mut [f32]) {
    let width = bytes.len();
    for (to, &x) in row[radius..].iter_mut().zip(bytes) {
        *to = f32::from(x);
    }
    for k in 1..=radius {
        row[radius - k] = row[radius + reflected(-(k as isize), width)];
        row[radius + width - 1 + k] = row[radius + reflected((width - 1 + k) as isize, width)];
    }
}

/// Loads four vector registers and multiplies them by `tap`.
///
/// # Safety
/// `from` is valid for reads of four vectors.
#[inline(always)]
unsafe fn scaled<L: Lanes>(from: *const f32, tap: f32) -> [L; 4] {
    let (zero, tap) = (L::splat(0.0), L::splat(tap));
    let mut block = [zero; 4];
    for (v, x) in block.iter_mut().enumerate() {
        // SAFETY: guaranteed by the caller.
        *x = unsafe { L::load(from.add(v * L::N)) }.mul_add(tap, zero);
    }
    block
}

/// Adds `tap (a + b)` to `sums`, where `a` and `b` point to four vectors each.
///
/// # Safety
/// `a` and `b` are valid for reads of four vectors.
#[inline(always)]
unsafe fn with_pair<L: Lanes>(mut sums: [L; 4], a: *const f32, b: *const f32, tap: f32) -> [L; 4] {
    let (one, tap) = (L::splat(1.0), L::splat(tap));
    for (v, sum) in sums.iter_mut().enumerate() {
        // SAFETY: guaranteed by the caller.
        let pair = unsafe { L::load(a.add(v * L::N)).mul_add(one, L::load(b.add(v * L::N))) };
        *sum = pair.mul_add(tap, *sum);
    }
    sums
}
