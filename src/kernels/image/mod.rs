//! One image in bytes, colour by colour. All loops are in whole numbers, or round alike: every path gives the same bytes.
//!
//! - [`planes`]: the image itself; taking pixels apart and putting them together.
//! - [`flip`]: left becomes right, top becomes bottom.
//! - [`rotation`]: a turn.
//! - [`finish`]: how a view leaves a GPU.
//! - [`resample`]: a part of an image in another size, as Pillow resizes.
//! - [`color`]: brightness, contrast, saturation, hue, grayscale.
//! - [`gaussian_blur`]: with taps or with Pillow's boxes.
//! - [`jpeg`]: the inverse DCT, and YCbCr to RGB.
pub mod color;
pub mod finish;
pub mod flip;
pub mod gaussian_blur;
pub mod jpeg;
pub mod planes;
pub mod resample;
pub mod rotation;
