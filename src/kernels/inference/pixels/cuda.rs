//! The user's images as maps with a frame, on CUDA.
use crate::kernels::cuda::interface::DeviceEnum;
use crate::kernels::cuda::{Arg, At, DeviceImages, Kernel, Launch, Map, Number};
use crate::kernels::inference::feature_map::Border;
use std::sync::{Arc, LazyLock};

static SOURCE: LazyLock<String> =
    LazyLock::new(|| [&Border::definition(), include_str!("../border.cuh"), include_str!("pixels.cu")].concat());

/// Contents of the one-pixel frame around an image.
#[derive(Clone, Copy, Debug)]
pub enum Frame {
    /// The mirror image.
    Reflect,
    /// A colour.
    Colour([f32; 3]),
}

/// Writes image `rows[n]`, in [0, 1], as map n of `y`, including its frame. If the map is larger than image and frame, the
/// image is extended by reflection below and to the right.
///
/// # Panics
/// If the map is smaller, or does not have three channels.
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
