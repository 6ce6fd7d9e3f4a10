//! Operations on a GPU: steps of the kernels; adjacent steps are fused into one launch.
use crate::kernels::image::color::cuda::DeviceFactor;
use crate::kernels::image::rotation::cuda::Axes;

/// A step of a view.
#[derive(Clone, Debug)]
pub enum DeviceStep {
    /// Changes the colour of each pixel.
    Factor(DeviceFactor),
    /// Converts to grayscale, three equal channels.
    Gray,
    /// Affine transform with nearest interpolation.
    Turn(Axes),
    /// A blur with this many taps; the values are the centre tap and those on one side.
    Taps(usize, Vec<f32>),
    /// Pillow's box blur.
    Boxes(f32),
    /// Inverts bytes of at least a threshold.
    Solarize(u8),
    /// Flips the view.
    Flip {
        /// Left to right.
        horizontally: bool,
        /// Top to bottom.
        vertically: bool,
    },
}
