//! The way out on CUDA.
use crate::kernels::cuda::interface::DeviceEnum;
use crate::kernels::cuda::{At, DeviceImages, Kernel, Launch, Map, Number, count};
use crate::kernels::inference::instance_norm::cuda::{Affine, Table};
use std::sync::Arc;

const SOURCE: &str = include_str!("pixel_interpolation.cu");

/// Threads of a block that looks at an image.
const BLOCK: u32 = 256;

/// T's last map, of three colours, before norm and sigmoid.
#[derive(Clone, Copy, Debug)]
pub struct Last {
    /// The map.
    pub map: Map,
    /// Its norm, `[images][3]`.
    pub norm: Affine,
}

/// `out[rows[n]] = (1 - beta[n]) images[rows[n]] + beta[n] sigmoid(norm(last[n]))`.
pub fn interpolate(
    number: Number,
    last: &Last,
    beta: At,
    rows: At,
    images: &DeviceImages,
    out: &DeviceImages,
) -> Launch {
    let phased = last.map.phased;
    let defines =
        vec![number.define(), ("PIXELS", images.pixels.code()), ("OUT", out.pixels.code()), ("PHASED", phased.into())];
    let kernel = Arc::new(Kernel { name: "interpolate", source: SOURCE, defines });
    let args = vec![
        last.map.at.into(),
        last.norm.scale.into(),
        last.norm.shift.into(),
        beta.into(),
        rows.into(),
        images.at.into(),
        out.at.into(),
        images.strides.into(),
        out.strides.into(),
        images.height.into(),
        images.width.into(),
        last.map.height.into(),
        last.map.width.into(),
    ];
    let rows = if phased { images.height.div_ceil(2) } else { images.height };
    Launch::each(&kernel, rows * images.width.div_ceil(4), last.map.images, args)
}

/// The norm of T's last map where it is that of an image of one colour: scale 0, and the beta of `betas`.
pub fn flat(norm: Affine, betas: Table, (rows, images): (At, &DeviceImages), maps: usize) -> Launch {
    let defines = vec![("PIXELS", images.pixels.code()), ("FLAT", 1)];
    let args = vec![
        betas.at.into(),
        norm.scale.into(),
        norm.shift.into(),
        rows.into(),
        images.at.into(),
        images.strides.into(),
        images.height.into(),
        images.width.into(),
        betas.pitch.into(),
    ];
    Launch {
        kernel: Arc::new(Kernel { name: "flat", source: SOURCE, defines }),
        grid: [1, 1, count(maps)],
        block: BLOCK,
        shared: 4 * BLOCK as usize,
        args,
    }
}

/// `out[rows[n]] = images[rows[n]]`, for `count` of them.
pub fn copy(rows: At, count: usize, images: &DeviceImages, out: &DeviceImages) -> Launch {
    let defines = vec![("PIXELS", images.pixels.code()), ("OUT", out.pixels.code())];
    let kernel = Arc::new(Kernel { name: "copy", source: SOURCE, defines });
    let args = vec![
        rows.into(),
        images.at.into(),
        out.at.into(),
        images.strides.into(),
        out.strides.into(),
        images.height.into(),
        images.width.into(),
    ];
    Launch::each(&kernel, images.height * images.width.div_ceil(4), count, args)
}
