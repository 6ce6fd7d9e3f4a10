//! Three equal colours of an image's luma (ITU-R 601-2), with a probability.
use super::Planes;
use crate::error::{Result, checked_probability};
use crate::kernels::image::color;
use crate::kernels::isa::Isa;
use crate::random::{Generator, comes};

/// The operation with its settings.
#[derive(Clone, Copy, Debug)]
pub struct RandomGrayscale {
    p: f32,
}

impl RandomGrayscale {
    /// With this probability.
    ///
    /// # Errors
    /// One outside [0, 1].
    pub fn new(p: f32) -> Result<Self> {
        Ok(Self { p: checked_probability("random_gray_scale", p)? })
    }

    /// Whether to apply it.
    pub fn sample(&self, generator: &mut Generator) -> bool {
        comes(generator, self.p)
    }
}

/// Makes it gray. `gray` is room for one colour.
pub fn grayscale(isa: Isa, planes: &mut Planes, gray: &mut Vec<u8>) {
    gray.resize(planes.height() * planes.width(), 0);
    color::gray(isa, planes, gray);
    planes.colors_mut().into_iter().for_each(|color| color.copy_from_slice(gray));
}
