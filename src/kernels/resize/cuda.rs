//! The user's images as maps, on CUDA.
use crate::kernels::cuda::{Arg, At, Kernel, Launch, Map, Number};
use crate::kernels::interpolate::cuda::Images;
use std::sync::Arc;

/// Image `rows[n]`, resized, as map n of `y`, in [0, 1].
pub fn resize(number: Number, images: &Images, rows: At, y: &Map) -> Launch {
    let defines = vec![number.define(), ("PIXELS", images.pixels as usize)];
    let kernel = Arc::new(Kernel { name: "resize", source: include_str!("resize.cu"), defines });
    let args = vec![
        images.at.into(),
        rows.into(),
        y.at.into(),
        Arg::Strides(images.strides),
        images.height.into(),
        images.width.into(),
        y.height.into(),
        y.width.into(),
    ];
    Launch::each(&kernel, y.pixels(), y.images, args)
}
