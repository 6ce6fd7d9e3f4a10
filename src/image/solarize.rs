//! Bright bytes inverted, with a probability.
use crate::error::{Result, checked_probability};
use crate::kernels::image::color;
use crate::kernels::isa::Isa;
use crate::random::{Generator, comes};

/// The operation with its settings.
#[derive(Clone, Copy, Debug)]
pub struct RandomSolarize {
    p: f32,
    /// Bytes below it stay.
    pub threshold: u8,
}

impl RandomSolarize {
    /// With this probability; BYOL's threshold is 128.
    ///
    /// # Errors
    /// A probability outside [0, 1].
    pub fn new(p: f32, threshold: u8) -> Result<Self> {
        Ok(Self { p: checked_probability("solarization_prob", p)?, threshold })
    }

    /// Whether to apply it.
    pub fn sample(&self, generator: &mut Generator) -> bool {
        comes(generator, self.p)
    }
}

/// Inverts bytes from `threshold` on.
pub fn solarize(isa: Isa, bytes: &mut [u8], threshold: u8) {
    color::solarize(isa, threshold, bytes);
}
