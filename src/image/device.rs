//! What operations are on a GPU: steps that kernels take, of which neighbours are one launch.
use crate::kernels::image::color::cuda::DeviceFactor;
use crate::kernels::image::rotation::cuda::Axes;

/// A step of a view.
#[derive(Clone, Debug)]
pub enum DeviceStep {
    /// Each pixel's colours change.
    Factor(DeviceFactor),
    /// Three equal colours.
    Gray,
    /// Nearest pixels from elsewhere in the view.
    Turn(Axes),
    /// A blur by so many taps, of which these are the middle and those on one side.
    Taps(usize, Vec<f32>),
    /// Pillow's blur by boxes.
    Boxes(f32),
    /// Bytes from a threshold on are inverted.
    Solarize(u8),
    /// Left becomes right, or top bottom.
    Flip {
        /// Left becomes right.
        horizontally: bool,
        /// Top becomes bottom.
        vertically: bool,
    },
}
