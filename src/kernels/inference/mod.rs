//! Feature maps of one image: what F and T are built from, with weights that were packed once for a path.
//!
//! - [`feature_map`]: height x width x channels, channels innermost, with padding around it.
//! - [`any_map`]: a map in float32 or in bytes, whichever a path multiplies.
//! - [`spare_maps`]: maps that are not in use.
//! - [`layer_shape`]: inputs, outputs, kernel, stride; what follows the sum.
//! - `upsampling`: nearest x2 before a convolution, without the upsampled map.
//! - [`convolution`]: dense and pointwise, with what follows the sum.
//! - [`depthwise`]: each channel by itself.
//! - [`pooling`]: the largest or the mean of windows.
//! - [`instance_norm`]: moments of each channel, and the affine map that is made of them.
//! - [`linear`]: from style vectors to gammas and betas; F's head.
//! - [`quantize`]: float32 to bytes, of maps and of weights.
//! - [`bilinear`]: the image in the size that F sees.
//! - [`pixels`]: the image on its way in and out.
//! - [`pixel_interpolation`]: Algorithm 1's last line.
pub mod any_map;
pub mod bilinear;
pub mod convolution;
pub mod depthwise;
pub mod feature_map;
pub mod instance_norm;
pub mod layer_shape;
pub mod linear;
pub mod pixel_interpolation;
pub mod pixels;
pub mod pooling;
pub mod quantize;
pub mod spare_maps;
pub(crate) mod upsampling;
