//! Gaussian blur, in two versions. `gaussian_blur` is a separable convolution with symmetric taps and reflected edges, along
//! rows and then along columns. `box_blur` is Pillow's approximation by box filters.
mod boxes;
pub mod cuda;
mod scalar;
mod simd;

use crate::kernels::image::planes::Planes;
use crate::kernels::isa::Isa;

pub use boxes::box_blur;

/// Scratch buffers of a blur, reusable for the next image.
#[derive(Debug, Default)]
pub struct BlurScratch {
    /// One row with its reflected ends.
    row: Vec<f32>,
    /// Ring buffer of the last blurred rows, one row per tap. Row y is stored at index y modulo the number of taps.
    ring: Vec<f32>,
    blurred: Vec<u8>,
}

/// Blurs each colour with the taps `[half[r], .., half[1], half[0], half[1], .., half[r]]`, which must sum to 1.
///
/// # Panics
/// If `half` is empty, or r is not less than `min(height, width)`.
pub fn gaussian_blur(isa: Isa, half: &[f32], planes: &mut Planes, scratch: &mut BlurScratch) {
    let (height, width) = (planes.height(), planes.width());
    assert!(!half.is_empty() && half.len() <= height.min(width), "{} taps in {height}x{width}", 2 * half.len() - 1);
    for color in planes.colors_mut() {
        if isa == Isa::Scalar {
            scalar::blur(half, width, color);
        } else {
            isa.dispatch(simd::Blur { half, width, color, scratch });
        }
    }
}

/// Reflects position `i` into `0..n`, without repeating the edge. `i` may be outside by up to `n - 1`.
fn reflected(i: isize, n: usize) -> usize {
    let i = i.unsigned_abs();
    if i < n { i } else { 2 * (n - 1) - i }
}
