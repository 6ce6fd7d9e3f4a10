//! One image in bytes, colour by colour. All loops are in whole numbers, or round alike: every path gives the same bytes.
//!
//! - [`planes`]: the image itself; taking pixels apart and putting them together; turns; on CUDA the last steps of a view.
//! - [`resample`]: a part of an image in another size, as Pillow resizes.
//! - [`color`]: brightness, contrast, saturation, hue, grayscale.
//! - [`gaussian_blur`]: with taps or with Pillow's boxes.
//! - [`jpeg`]: the inverse DCT, and YCbCr to RGB.
pub mod color;
pub mod gaussian_blur;
pub mod jpeg;
pub mod planes;
pub mod resample;
