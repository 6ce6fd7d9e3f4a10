//! Resizing of the user's images to maps, on CUDA.
use super::{Sampling, Windows};
use crate::kernels::cuda::interface::DeviceEnum;
use crate::kernels::cuda::{At, DeviceImages, Kernel, Launch, Map, Moments, Plan, TILE, count};
use std::sync::Arc;

/// Number of rows of an image that a block holds in shared memory.
const DEEP: usize = 32;

/// Adds the launch that resizes image `rows[n]` to map n of `y`, with values in [0, 1]. Returns the moments of the maps; the
/// same launch computes them.
pub fn resize(images: &DeviceImages, rows: At, sampling: Sampling, y: &Map, plan: &mut Plan) -> Moments {
    let [mut down, mut across] = [Windows::default(), Windows::default()];
    down.fill(sampling, images.height, y.height);
    across.fill(sampling, images.width, y.width);
    let moments = Moments::new(y, &mut plan.room);
    let defines = vec![plan.number.define(), ("PIXELS", images.pixels.code()), ("DEEP", DEEP)];
    let args = vec![
        images.at.into(),
        images.strides.into(),
        rows.into(),
        plan.put(&down.words()).into(),
        plan.put(&across.words()).into(),
        y.at.into(),
        moments.at.into(),
        y.height.into(),
        y.width.into(),
        down.taps.into(),
        across.taps.into(),
    ];
    plan.launches.push(Launch {
        kernel: Arc::new(Kernel { name: "resize", source: include_str!("bilinear.cu"), defines }),
        grid: [count(moments.blocks), 1, count(y.images)],
        block: count(TILE.0 * TILE.1),
        shared: DEEP * 3 * TILE.1 * 4,
        args,
    });
    moments
}
