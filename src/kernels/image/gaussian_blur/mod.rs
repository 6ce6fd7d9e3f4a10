//! Separable convolution with symmetric taps, along rows and then along columns, with reflected edges; and Pillow's
//! approximation of a Gaussian blur by boxes.
mod boxes;
pub mod cuda;
mod scalar;
mod simd;

use crate::kernels::image::planes::Planes;
use crate::kernels::isa::Isa;

pub use boxes::box_blur;

/// Buffers of a blur, which the next image can reuse.
#[derive(Debug, Default)]
pub struct BlurScratch {
    /// One row with its reflected ends.
    row: Vec<f32>,
    /// The last blurred rows, one for each tap; row y is stored at index y modulo their number.
    ring: Vec<f32>,
    blurred: Vec<u8>,
}

/// Blurs each colour with the taps `[half[r], .., half[1], half[0], half[1], .., half[r]]`, which must sum to 1.
///
/// # Panics
/// If there are no taps, or r is not less than the height and the width.
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

/// Returns the index in `0..n` to which position `i` is reflected, without repeating the edge; `i` may be outside by up to
/// `n - 1`.
fn reflected(i: isize, n: usize) -> usize {
    let i = i.unsigned_abs();
    if i < n { i } else { 2 * (n - 1) - i }
}
