//! Affine transforms on CUDA.
use super::fixed_axis;
use crate::kernels::cuda::interface::{DeviceStruct, Field};
use crate::kernels::cuda::{At, Kernel, Launch, Plan};
use bytemuck::{Pod, Zeroable};
use std::sync::{Arc, LazyLock};

static SOURCE: LazyLock<String> = LazyLock::new(|| [&Turn::definition(), include_str!("rotation.cu")].concat());

/// Coefficients of the source position of a transformed pixel: first for its column, then for its row. They are the arguments
/// `columns` and `rows` of [`crate::kernels::image::planes::Planes::turn`].
pub type Axes = ([f64; 3], [f64; 3]);

/// [`Axes`] in 16.16 fixed point. The source position of the first pixel is (`column`, `row`). Each row adds the increments
/// `*_by_y`, and each column the increments `*_by_x`.
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

/// Transforms views as [`crate::kernels::image::planes::Planes::turn`] does. Each entry of `turns` is the index of a view and
/// its transform.
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
