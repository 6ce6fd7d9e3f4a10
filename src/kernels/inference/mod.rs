//! The layers of the style predictor F and the transformer T, on the feature maps of one image. Weights are packed once, for a
//! kernel path (an instruction set and a precision).
//!
//! - [`feature_map`]: height x width x channels, channels innermost, with padding.
//! - [`any_map`]: a map in float32 or in bytes, depending on the kernel path.
//! - [`spare_maps`]: maps kept for reuse.
//! - [`layer_shape`]: inputs, outputs, kernel, stride, and activation.
//! - `upsampling`: nearest x2 upsampling before a convolution, without computing the upsampled map.
//! - [`convolution`]: dense and pointwise convolution, with bias and activation.
//! - [`depthwise`]: depthwise convolution, with one filter for each channel.
//! - [`pooling`]: the maximum or the mean of windows.
//! - [`instance_norm`]: moments of each channel, and the resulting affine transform.
//! - [`linear`]: linear layers. They compute gammas and betas from style vectors; the last layer of F is linear, too.
//! - [`quantize`]: quantization of maps and weights from float32 to bytes.
//! - [`bilinear`]: resizing of the image to the input size of F.
//! - [`pixels`]: the pixels of an image, as input and output.
//! - [`pixel_interpolation`]: interpolation between content and stylized image (the last line of the paper's Algorithm 1).
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
