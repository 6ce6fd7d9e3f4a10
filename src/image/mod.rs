//! Images and their augmentations. Each operation has its own file, with a `sample` that draws its parameters and a pure
//! function that applies the parameters. `operation.rs` defines the trait.
//!
//! Images are decoded and cropped as interleaved pixels ([`RgbImage`]) and augmented as planes ([`Planes`]). The arithmetic is
//! Pillow's, as called by torchvision, unless an operation documents otherwise.
mod affine;
mod color_jitter;
mod crop;
mod decode;
mod device;
mod erasing;
mod flip;
mod gaussian_blur;
mod grayscale;
mod jpeg;
mod operation;
mod output;
mod posterize;
mod refused;
mod rotate;
mod solarize;

pub use crate::kernels::image::planes::Planes;
pub use color_jitter::{ColorFactors, ColorJitter, Factor, JitterForm, brighten};
pub use crop::{Crop, Interpolation, RandomResizedCrop, ResampleScratch, Resampled, resized_crop};
pub use decode::{DecodeOptions, Decoded, color_profile, decode, read};
pub use device::DeviceStep;
pub use flip::hflip;
pub use gaussian_blur::{BlurKernel, BlurScratch, GaussianBlur, box_blur, gaussian_blur};
pub use grayscale::{Grayscale, grayscale};
pub use operation::{Operation, Probability, Room, Size, Stage, Values};
pub use output::{Dtype, Normalize, NumbersMut, Output};
use refused::{BROKEN, Refused};
pub use rotate::rotate;
pub use solarize::{Solarize, solarize};

use crate::error::{Error, Result};
use serde_json::Value;
use std::sync::Arc;

/// A function that creates an operation from its settings.
pub type Make = fn(Value) -> Result<Arc<dyn Operation>>;

/// All operations by name.
pub const OPERATIONS: &[(&str, Make)] = &[
    ("affine", affine::make),
    ("color_jitter", color_jitter::make),
    ("erasing", erasing::make),
    ("gaussian_blur", gaussian_blur::make),
    ("grayscale", grayscale::make),
    ("horizontal_flip", flip::make_horizontal),
    ("posterize", posterize::make),
    ("rotation", rotate::make),
    ("solarize", solarize::make),
    ("vertical_flip", flip::make_vertical),
];

/// Creates the operation `kind` from its settings, a JSON object.
///
/// # Errors
/// The kind is unknown, or the settings are invalid.
pub fn operation(kind: &str, settings: &str) -> Result<Arc<dyn Operation>> {
    let Some((_, make)) = OPERATIONS.iter().find(|(name, _)| *name == kind) else {
        let names: Vec<&str> = OPERATIONS.iter().map(|(name, _)| *name).collect();
        return Err(Error::value("operation", format!("{kind:?}"), format!("must be one of {}", names.join(", "))));
    };
    let settings = serde_json::from_str(settings)
        .map_err(|error| Error::invalid(format!("settings of {kind} are not JSON: {error}, got {settings}")))?;
    make(settings)
}

/// An image as interleaved pixels, `[height][width][3]`, in the order red, green, blue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RgbImage {
    /// Number of rows.
    pub height: usize,
    /// Number of columns.
    pub width: usize,
    /// The pixels, `height x width x 3` bytes.
    pub bytes: Vec<u8>,
}

/// A borrowed [`RgbImage`].
#[derive(Clone, Copy, Debug)]
pub struct RgbView<'a> {
    /// Number of rows.
    pub height: usize,
    /// Number of columns.
    pub width: usize,
    /// The pixels, `height x width x 3` bytes.
    pub bytes: &'a [u8],
}

impl RgbImage {
    /// Borrows the image.
    pub fn view(&self) -> RgbView<'_> {
        RgbView { height: self.height, width: self.width, bytes: &self.bytes }
    }
}
