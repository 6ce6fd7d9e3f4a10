//! Conversion of the user's images to maps with a one-pixel frame, on CUDA.
use crate::kernels::cuda::interface::DeviceEnum;
use crate::kernels::cuda::{Arg, At, DeviceImages, Kernel, Launch, Map, Number};
use crate::kernels::inference::feature_map::Border;
use std::sync::{Arc, LazyLock};

static SOURCE: LazyLock<String> =
    LazyLock::new(|| [&Border::definition(), include_str!("../border.cuh"), include_str!("pixels.cu")].concat());

/// Contents of the one-pixel frame around an image.
#[derive(Clone, Copy, Debug)]
pub enum Frame {
    /// The reflected image.
    Reflect,
    /// A single colour, with values in [0, 1].
    Colour([f32; 3]),
}

/// Creates the launch that writes image `rows[n]` with a frame around it to map n of `y`.
///
/// Values are in [0, 1]. If the map is larger than the image with its frame, the image is first extended by reflection, below
/// and to the right.
///
/// # Panics
/// If the map is smaller than the image with its frame, or does not have four channels in memory (three colours and padding).
pub fn framed(number: Number, images: &DeviceImages, rows: At, frame: Frame, y: &Map) -> Launch {
    assert!(y.height >= images.height + 2 && y.width >= images.width + 2 && y.channels == 4, "a frame in {y:?}");
    let (border, colour) = match frame {
        Frame::Reflect => (Border::Reflect, [0.0; 3]),
        Frame::Colour(colour) => (Border::Zero, colour),
    };
    let defines = vec![number.define(), ("PIXELS", images.pixels.code()), ("BORDER", border.code())];
    let kernel = Arc::new(Kernel { name: "framed", source: &SOURCE, defines });
    let sizes: [Arg; 4] = [images.height, images.width, y.height, y.width].map(Into::into);
    let first = vec![images.at.into(), images.strides.into(), rows.into(), y.at.into()];
    Launch::each(&kernel, y.pixels(), y.images, [first, sizes.to_vec(), colour.map(Arg::Float).to_vec()].concat())
}
