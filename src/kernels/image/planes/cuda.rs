//! What leaves, and a turn, on CUDA.
use super::fixed_axis;
use crate::kernels::cuda::interface::{DeviceEnum, DeviceStruct, Field};
use crate::kernels::cuda::{At, DeviceImages, Kernel, Launch, Plan, count, int};
use bytemuck::{Pod, Zeroable};
use std::sync::{Arc, LazyLock};

static SOURCE: LazyLock<String> = LazyLock::new(|| {
    [&Finish::definition(), &Normalization::definition(), &Turn::definition(), include_str!("planes.cu")].concat()
});

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

/// Where a turned pixel comes from: columns, rows.
pub type Axes = ([f64; 3], [f64; 3]);

/// The same in 16.16 bits: where column and row begin, what a row and a column add to them.
#[derive(Clone, Copy, Debug, Zeroable, Pod)]
#[repr(C)]
struct Turn {
    column: i64,
    row: i64,
    column_by_y: i64,
    row_by_y: i64,
    column_by_x: i64,
    row_by_x: i64,
}

impl DeviceStruct for Turn {
    const NAME: &'static str = "Turn";
    const FIELDS: &'static [Field<Self>] = &[
        ("column", |own| &own.column),
        ("row", |own| &own.row),
        ("column_by_y", |own| &own.column_by_y),
        ("row_by_y", |own| &own.row_by_y),
        ("column_by_x", |own| &own.column_by_x),
        ("row_by_x", |own| &own.row_by_x),
    ];
}

impl From<Axes> for Turn {
    fn from((columns, rows): Axes) -> Self {
        let ([column, column_by_x, column_by_y], [row, row_by_x, row_by_y]) = (fixed_axis(columns), fixed_axis(rows));
        Self { column, row, column_by_y, row_by_y, column_by_x, row_by_x }
    }
}

/// The views named, turned as [`super::Planes::turn`] does.
pub fn turn(views: At, (height, width): (usize, usize), turns: &[(usize, Axes)], plan: &mut Plan) {
    if turns.is_empty() {
        return;
    }
    let rows: Vec<u32> = turns.iter().map(|&(row, _)| row as u32).collect();
    let all: Vec<Turn> = turns.iter().map(|&(_, axes)| axes.into()).collect();
    let (rows, all) = (plan.put(&rows), plan.put(bytemuck::cast_slice(&all)));
    let room = plan.room.bytes(turns.len() * 3 * height * width);
    let kernel = Arc::new(Kernel { name: "turn", source: &SOURCE, defines: vec![] });
    for back in [0usize, 1] {
        let args = vec![views.into(), room.into(), rows.into(), all.into(), height.into(), width.into(), back.into()];
        plan.launches.push(Launch::each(&kernel, height * width, turns.len(), args));
    }
    plan.room.give(room);
}
