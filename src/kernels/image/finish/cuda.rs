//! A view's last steps on CUDA, in one launch.
use crate::kernels::cuda::interface::{DeviceEnum, DeviceStruct, Field};
use crate::kernels::cuda::{At, DeviceImages, Kernel, Launch, Plan, count, int};
use bytemuck::{Pod, Zeroable};
use std::sync::{Arc, LazyLock};

static SOURCE: LazyLock<String> =
    LazyLock::new(|| [&Finish::definition(), &Normalization::definition(), include_str!("finish.cu")].concat());

/// What a view's last steps are.
#[derive(Clone, Copy, Debug, Zeroable, Pod)]
#[repr(C)]
pub struct Finish {
    /// Bytes from here on are inverted; below 0: none.
    solarize: i32,
    horizontally: i32,
    vertically: i32,
    /// Which of the blurred views it is; below 0: none of them.
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
    /// `solarize`: bytes from there on are inverted. `flip`: left becomes right, top becomes bottom. `blurred`: which of the
    /// blurred views it is, if it is one.
    pub fn new(solarize: Option<u8>, flip: (bool, bool), blurred: Option<usize>) -> Self {
        Self {
            solarize: solarize.map_or(-1, i32::from),
            horizontally: flip.0.into(),
            vertically: flip.1.into(),
            blurred: blurred.map_or(-1, int),
        }
    }
}

/// `(x / 255 - mean) / std` of each colour.
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

/// Threads of a block, and how often each of them has four pixels, about: a block makes a table first.
const BLOCK: usize = 256;
const FOURS: usize = 8;

/// `views` or what is blurred of them, both `[n][colour][height][width]` of bytes, into `out`, as bytes or
/// `(x / 255 - mean) / std`.
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
