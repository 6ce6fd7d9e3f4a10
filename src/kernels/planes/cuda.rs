//! What leaves, and a turn, on CUDA.
use super::fixed_axis;
use crate::kernels::cuda::{Arg, At, Kernel, Launch, Plan};
use crate::kernels::interpolate::cuda::Images;
use std::sync::Arc;

const SOURCE: &str = include_str!("planes.cu");

/// What a view's last steps are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Finish {
    /// Bytes from here on are inverted.
    pub solarize: Option<u8>,
    /// Left becomes right, top becomes bottom.
    pub flip: (bool, bool),
}

/// `views`, `[n][colour][height][width]` of bytes, into `out`, as bytes or `(x / 255 - mean) / std`.
pub fn finish(views: At, out: &Images, finishes: &[Finish], (mean, std): ([f32; 3], [f32; 3]), plan: &mut Plan) {
    let words = finishes.iter().flat_map(|one| {
        let solarize = one.solarize.map_or(u32::MAX, u32::from);
        [solarize, one.flip.0.into(), one.flip.1.into()]
    });
    let numbers: Vec<u32> = mean.into_iter().chain(std).map(f32::to_bits).collect();
    let (words, numbers) = (plan.put(&words.collect::<Vec<_>>()), plan.put(&numbers));
    let defines = vec![("OUT", out.pixels as usize)];
    let kernel = Arc::new(Kernel { name: "finish", source: SOURCE, defines });
    let args = vec![
        views.into(),
        words.into(),
        out.at.into(),
        Arg::Strides(out.strides),
        numbers.into(),
        out.height.into(),
        out.width.into(),
    ];
    plan.launches.push(Launch::each(&kernel, out.height * out.width, finishes.len(), args));
}

/// Where a turned pixel comes from: columns, rows.
pub type Axes = ([f64; 3], [f64; 3]);

/// The views named, turned as [`super::Planes::turn`] does.
pub fn turn(views: At, (height, width): (usize, usize), turns: &[(usize, Axes)], plan: &mut Plan) {
    if turns.is_empty() {
        return;
    }
    let rows: Vec<u32> = turns.iter().map(|&(row, _)| row as u32).collect();
    let words = turns.iter().flat_map(|&(_, (columns, rows))| {
        let ([column, column_by_x, column_by_y], [row, row_by_x, row_by_y]) = (fixed_axis(columns), fixed_axis(rows));
        let numbers = [column, row, column_by_y, row_by_y, column_by_x, row_by_x].map(i64::cast_unsigned);
        numbers.into_iter().flat_map(|x| [x as u32, (x >> 32) as u32]).collect::<Vec<_>>()
    });
    let (rows, words) = (plan.put(&rows), plan.put(&words.collect::<Vec<_>>()));
    let room = plan.room.bytes(turns.len() * 3 * height * width);
    let kernel = Arc::new(Kernel { name: "turn", source: SOURCE, defines: vec![] });
    for back in [0usize, 1] {
        let args = vec![views.into(), room.into(), rows.into(), words.into(), height.into(), width.into(), back.into()];
        plan.launches.push(Launch::each(&kernel, height * width, turns.len(), args));
    }
    plan.room.give(room);
}
