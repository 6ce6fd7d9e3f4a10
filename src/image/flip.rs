//! Left becomes right, or top bottom, with a probability.
use super::{Planes, RgbView};
use crate::error::{Result, checked_probability};
use crate::kernels::image::flip;
use crate::kernels::isa::Isa;
use crate::random::{Generator, comes};

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
        Ok(Self {
            horizontal: checked_probability("hf_prob", horizontal)?,
            vertical: checked_probability("vf_prob", vertical)?,
        })
    }

    /// Whether to flip horizontally, and vertically.
    pub fn sample(&self, generator: &mut Generator) -> (bool, bool) {
        (comes(generator, self.horizontal), comes(generator, self.vertical))
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

/// Left becomes right, of pixels as they are.
///
/// # Panics
/// If there are no pixels, or not `height x width x 3` bytes.
pub fn hflip(isa: Isa, pixels: RgbView) -> Vec<u8> {
    let mut out = vec![0; pixels.bytes.len()];
    flip::mirror(isa, pixels.width, pixels.bytes, &mut out);
    out
}
