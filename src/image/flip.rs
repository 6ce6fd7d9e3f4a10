//! Left becomes right, or top bottom, with a probability.
use super::{Planes, checked_p, draw};
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
