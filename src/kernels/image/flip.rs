//! Horizontal and vertical flips of planes, and horizontal flips of interleaved pixels.
use super::planes::Planes;
use crate::kernels::isa::{Isa, Kernel, Lanes};

impl Planes {
    /// Swaps left and right.
    pub fn flip_horizontally(&mut self) {
        let width = self.width();
        if width > 0 {
            self.as_mut_slice().chunks_exact_mut(width).for_each(<[u8]>::reverse);
        }
    }

    /// Swaps top and bottom.
    pub fn flip_vertically(&mut self) {
        let (height, width) = (self.height(), self.width());
        for color in self.colors_mut() {
            for y in 0..height / 2 {
                let (above, below) = color.split_at_mut((height - 1 - y) * width);
                above[y * width..][..width].swap_with_slice(&mut below[..width]);
            }
        }
    }
}

/// Writes the mirror image of interleaved `pixels`, `[height][width][3]`, to `out`.
///
/// # Panics
/// If `out` and `pixels` differ in length, `width` is 0, or `pixels` does not consist of whole rows of `width` pixels.
pub fn mirror(isa: Isa, width: usize, pixels: &[u8], out: &mut [u8]) {
    assert_eq!(pixels.len(), out.len(), "bytes of a mirror image");
    assert!(width > 0 && pixels.len().is_multiple_of(3 * width), "rows of {width} pixels");
    isa.dispatch(Mirror { bytes: 3 * width, pixels, out });
}

struct Mirror<'a> {
    /// Number of bytes in a row.
    bytes: usize,
    pixels: &'a [u8],
    out: &'a mut [u8],
}

impl Kernel for Mirror<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        for (row, out) in self.pixels.chunks_exact(self.bytes).zip(self.out.chunks_exact_mut(self.bytes)) {
            let mut done = 0;
            // The byte before five pixels is written with them, and overwritten with the next five.
            while let Some(&pixels) = row[done..].first_chunk() {
                let end = self.bytes - done;
                out[end - 16..end].copy_from_slice(&L::mirror(pixels));
                done += 15;
            }
            let rest = out[..self.bytes - done].chunks_exact_mut(3).rev();
            for (to, from) in rest.zip(row[done..].chunks_exact(3)) {
                to.copy_from_slice(from);
            }
        }
    }
}
