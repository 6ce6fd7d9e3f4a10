//! Left becomes right, or top bottom, with a probability.
use super::{PixelsView, Planes, checked_p, draw};
use crate::error::Result;
use crate::random::Generator;

/// The operation with its settings.
#[derive(Clone, Copy, Debug)]
pub struct RandomFlip {
    horizontal: f32,
    vertical: f32,
}

impl RandomFlip {
    /// With these probabilities.
    ///
    /// # Errors
    /// One outside [0, 1].
    pub fn new(horizontal: f32, vertical: f32) -> Result<Self> {
        Ok(Self { horizontal: checked_p("hf_prob", horizontal)?, vertical: checked_p("vf_prob", vertical)? })
    }

    /// Whether to flip horizontally, and vertically.
    pub fn sample(&self, generator: &mut Generator) -> (bool, bool) {
        (draw(generator, self.horizontal), draw(generator, self.vertical))
    }

    /// Flips.
    pub fn apply(planes: &mut Planes, (horizontally, vertically): (bool, bool)) {
        if horizontally {
            planes.flip_horizontally();
        }
        if vertically {
            planes.flip_vertically();
        }
    }
}

/// Left becomes right, of pixels.
///
/// # Panics
/// If `out` has not as many bytes.
pub fn mirror(pixels: PixelsView, out: &mut [u8]) {
    let row = 3 * pixels.width.max(1);
    assert_eq!(out.len(), pixels.bytes.len(), "bytes of a picture");
    for (from, to) in pixels.bytes.chunks_exact(row).zip(out.chunks_exact_mut(row)) {
        let (from, to) = (from.as_chunks::<3>().0, to.as_chunks_mut::<3>().0);
        from.iter().rev().zip(to).for_each(|(pixel, to)| *to = *pixel);
    }
}
