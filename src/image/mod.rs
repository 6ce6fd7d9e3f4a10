//! One picture, and what augments it: a file an operation, each with a `sample` that draws its parameters and an `apply` that is
//! a pure function of them.
//!
//! Pictures are decoded and cropped as pixels ([`Pixels`]), and augmented colour by colour ([`Planes`]). The arithmetic is
//! Pillow's, as torchvision calls it, unless an operation says otherwise.
mod color_jitter;
mod crop;
mod decode;
mod flip;
mod gaussian_blur;
mod grayscale;
mod normalize;
mod solarize;

pub use crate::kernels::Planes;
pub use color_jitter::{ColorFactors, ColorJitter, Factor};
pub use crop::{Crop, Interpolation, RandomResizedCrop, ResizeScratch, resized_crop};
pub use decode::decode;
pub use flip::{RandomFlip, mirror};
pub use gaussian_blur::{BlurScratch, GaussianBlur, gaussian_blur};
pub use grayscale::{RandomGrayscale, grayscale};
pub use normalize::Normalize;
pub use solarize::{RandomSolarize, solarize};

use crate::error::{Error, Result};
use crate::random::Generator;
use rand::Rng;

/// A picture as pixels, `[height][width][3]`, red first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pixels {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// `height x width x 3`.
    pub bytes: Vec<u8>,
}

/// The same to read.
#[derive(Clone, Copy, Debug)]
pub struct PixelsView<'a> {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// `height x width x 3`.
    pub bytes: &'a [u8],
}

impl Pixels {
    /// All of it, to read.
    pub fn view(&self) -> PixelsView<'_> {
        PixelsView { height: self.height, width: self.width, bytes: &self.bytes }
    }
}

/// Whether an operation of this probability is applied.
fn draw(generator: &mut Generator, p: f32) -> bool {
    generator.random::<f32>() < p
}

/// A probability as a user gives it.
fn checked_p(name: &str, p: f32) -> Result<f32> {
    match (0.0..=1.0).contains(&p) {
        true => Ok(p),
        false => Err(Error::value(name, p, "a probability lies between 0 and 1")),
    }
}

/// A range as a user gives it, within limits.
fn checked_range(name: &str, (low, high): (f32, f32), limits: (f32, f32)) -> Result<(f32, f32)> {
    match limits.0 <= low && low <= high && high <= limits.1 {
        true => Ok((low, high)),
        false => {
            let remedy = format!("a range (low, high) with {} <= low <= high <= {}", limits.0, limits.1);
            Err(Error::value(name, format!("({low}, {high})"), remedy))
        }
    }
}

/// A number of a range, each as likely as the others.
fn uniform(generator: &mut Generator, (low, high): (f32, f32)) -> f32 {
    low + (high - low) * generator.random::<f32>()
}
