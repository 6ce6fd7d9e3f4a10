//! The end of the transformer T on CUDA: conversion of its last map to pixels.
use super::Squash;
use crate::kernels::cuda::interface::DeviceEnum;
use crate::kernels::cuda::{Arg, At, DeviceImages, Kernel, Launch, Map, Number, count};
use crate::kernels::inference::instance_norm::cuda::{Affine, Table};
use std::sync::{Arc, LazyLock};

static SOURCE: LazyLock<String> = LazyLock::new(|| Squash::definition() + include_str!("pixel_interpolation.cu"));

/// Number of threads in a block of `flat`.
const BLOCK: u32 = 256;

impl DeviceEnum for Squash {
    const NAMES: &'static [(Self, &'static str)] = &[(Self::Sigmoid, "SQUASH_SIGMOID"), (Self::Clamp, "SQUASH_CLAMP")];
}

/// The last map of T, with three colours.
#[derive(Clone, Copy, Debug)]
pub struct Last {
    /// The map.
    pub map: Map,
    /// Affine transform of the map's norm, `[images][3]`, if there is a norm.
    pub norm: Option<Affine>,
    /// The function that maps values to [0, 1].
    pub end: Squash,
}

/// Creates the launch that computes `out[rows[n]] = (1 - beta[n]) images[rows[n]] + beta[n] end(norm(last[n]))` for each map n.
pub fn interpolate(
    number: Number,
    last: &Last,
    beta: At,
    rows: At,
    images: &DeviceImages,
    out: &DeviceImages,
) -> Launch {
    let phased = last.map.phased;
    let defines = vec![
        number.define(),
        ("PIXELS", images.pixels.code()),
        ("OUT", out.pixels.code()),
        ("PHASED", phased.into()),
        ("SQUASH", last.end.code()),
    ];
    let (scale, shift) = last.norm.map_or((Arg::Null, Arg::Null), |norm| (norm.scale.into(), norm.shift.into()));
    let kernel = Arc::new(Kernel { name: "interpolate", source: &SOURCE, defines });
    let args = vec![
        last.map.at.into(),
        scale,
        shift,
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

/// Creates the launch that makes the last norm of T a constant for images of a single colour. The scale becomes 0. The shift
/// becomes the norm's beta, which is in the first three columns of `betas`.
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
        kernel: Arc::new(Kernel { name: "flat", source: &SOURCE, defines }),
        grid: [1, 1, count(maps)],
        block: BLOCK,
        shared: 4 * BLOCK as usize,
        args,
    }
}

/// Creates the launch that copies image `rows[n]` of `images` to `out[rows[n]]`, for each n below `count`.
pub fn copy(rows: At, count: usize, images: &DeviceImages, out: &DeviceImages) -> Launch {
    let defines = vec![("PIXELS", images.pixels.code()), ("OUT", out.pixels.code())];
    let kernel = Arc::new(Kernel { name: "copy", source: &SOURCE, defines });
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
