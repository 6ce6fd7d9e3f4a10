//! The steps to which operations are lowered on a GPU. Adjacent steps are fused into one kernel launch if possible.
use crate::kernels::image::color::cuda::DeviceFactor;
use crate::kernels::image::rotation::cuda::Axes;

/// A step that the GPU kernels compute.
#[derive(Clone, Debug)]
pub enum DeviceStep {
    /// Changes the colour of each pixel.
    Factor(DeviceFactor),
    /// Converts to grayscale, with three equal channels.
    Gray,
    /// Applies an affine transform with nearest interpolation.
    Turn(Axes),
    /// Blurs with this many taps. The vector holds the centre tap, and the taps on one side of it up to the last that can
    /// affect a byte.
    Taps(usize, Vec<f32>),
    /// Blurs with box blurs, as Pillow's `GaussianBlur` does for this sigma.
    Boxes(f32),
    /// Inverts all bytes >= this threshold.
    Solarize(u8),
    /// Flips the view.
    Flip {
        /// Left to right.
        horizontally: bool,
        /// Top to bottom.
        vertically: bool,
    },
}
