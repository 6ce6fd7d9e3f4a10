//! The last steps of views on CUDA, in one launch.
use crate::kernels::cuda::interface::{DeviceEnum, DeviceStruct, Field};
use crate::kernels::cuda::{At, DeviceImages, Kernel, Launch, Plan, count, int};
use bytemuck::{Pod, Zeroable};
use std::sync::{Arc, LazyLock};

static SOURCE: LazyLock<String> =
    LazyLock::new(|| [&Finish::definition(), &Normalization::definition(), include_str!("finish.cu")].concat());

/// The last steps of one view: the choice of its blurred version, flips and solarization.
#[derive(Clone, Copy, Debug, Zeroable, Pod)]
#[repr(C)]
pub struct Finish {
    /// Threshold of solarization: bytes of at least this value are inverted. It is negative if there is no solarization.
    solarize: i32,
    horizontally: i32,
    vertically: i32,
    /// Index of the view among the blurred views; negative if it is not blurred.
    blurred: i32,
}

impl DeviceStruct for Finish {
    const NAME: &'static str = "Finish";
    const FIELDS: &'static [Field<Self>] = &[
        ("solarize", |own| &own.solarize),
        ("horizontally", |own| &own.horizontally),
        ("vertically", |own| &own.vertically),
        ("blurred", |own| &own.blurred),
    ];
}

impl Finish {
    /// Creates the last steps of a view.
    ///
    /// - `solarize`: the threshold; bytes of at least this value are inverted.
    /// - `flip`: whether to flip horizontally and vertically.
    /// - `blurred`: the index of the view among the blurred views, if it is blurred.
    pub fn new(solarize: Option<u8>, flip: (bool, bool), blurred: Option<usize>) -> Self {
        Self {
            solarize: solarize.map_or(-1, i32::from),
            horizontally: flip.0.into(),
            vertically: flip.1.into(),
            blurred: blurred.map_or(-1, int),
        }
    }
}

/// The normalization of each colour, `(x / 255 - mean) / std`.
#[derive(Clone, Copy, Debug, Zeroable, Pod)]
#[repr(C)]
struct Normalization {
    mean: [f32; 3],
    std: [f32; 3],
}

impl DeviceStruct for Normalization {
    const NAME: &'static str = "Normalization";
    const FIELDS: &'static [Field<Self>] = &[("mean", |own| &own.mean), ("std", |own| &own.std)];
}

/// Number of threads in a block.
const BLOCK: usize = 256;
/// Approximate number of groups of four pixels per thread. It is above 1 because each block first computes a table.
const FOURS: usize = 8;

/// Applies the last steps of each view, and writes the results to `out`.
///
/// View n gets the steps `finishes[n]`. They start from the blurred version of the view, if there is one. If `out` has pixels
/// of type uint8, the results are bytes; otherwise, they are `(x / 255 - mean) / std`. `views` and `blurred` are bytes,
/// `[n][colour][height][width]`.
pub fn finish(
    (views, blurred): (At, At),
    out: &DeviceImages,
    finishes: &[Finish],
    (mean, std): ([f32; 3], [f32; 3]),
    plan: &mut Plan,
) {
    let all = plan.put(bytemuck::cast_slice(finishes));
    let normalization = plan.put(bytemuck::cast_slice(&[Normalization { mean, std }]));
    let threads = out.height * out.width.div_ceil(4);
    plan.launches.push(Launch {
        kernel: Arc::new(Kernel { name: "finish", source: &SOURCE, defines: vec![("OUT", out.pixels.code())] }),
        grid: [count(threads.div_ceil(FOURS * BLOCK)), 1, count(finishes.len())],
        block: count(BLOCK),
        shared: 3 * 256 * 4,
        args: vec![
            views.into(),
            blurred.into(),
            all.into(),
            out.at.into(),
            out.strides.into(),
            normalization.into(),
            out.height.into(),
            out.width.into(),
        ],
    });
}
