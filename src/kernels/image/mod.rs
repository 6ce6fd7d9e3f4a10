//! Operations on one image of bytes, stored as colour planes. All loops use integers, or floats that are rounded identically.
//! Every instruction set therefore gives the same bytes.
//!
//! - [`planes`]: the image itself, and its conversion from and to interleaved pixels.
//! - [`flip`]: horizontal and vertical flips.
//! - [`rotation`]: affine transforms with nearest-pixel sampling.
//! - [`finish`]: the last steps of a view on a GPU.
//! - [`resample`]: a crop of an image, resized as in Pillow.
//! - [`color`]: brightness, contrast, saturation, hue, grayscale.
//! - [`gaussian_blur`]: Gaussian blur, with Gaussian taps or with Pillow's boxes.
//! - [`jpeg`]: the inverse DCT, upsampling, and conversion to RGB.
pub mod color;
pub mod finish;
pub mod flip;
pub mod gaussian_blur;
pub mod jpeg;
pub mod planes;
pub mod resample;
pub mod rotation;
