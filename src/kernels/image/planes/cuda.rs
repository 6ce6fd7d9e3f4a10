//! What leaves, and a turn, on CUDA.
use super::fixed_axis;
use crate::kernels::cuda::{At, DeviceImages, Kernel, Launch, Plan, count};
use std::sync::Arc;

const SOURCE: &str = include_str!("planes.cu");

/// What a view's last steps are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Finish {
    /// Bytes from here on are inverted.
    pub solarize: Option<u8>,
    /// Left becomes right, top becomes bottom.
    pub flip: (bool, bool),
    /// Which of the blurred views it is, if it is one.
    pub blurred: Option<usize>,
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
    let words = finishes.iter().flat_map(|one| {
        let number = |of: Option<usize>| of.map_or(u32::MAX, |n| n as u32);
        [number(one.solarize.map(usize::from)), one.flip.0.into(), one.flip.1.into(), number(one.blurred)]
    });
    let numbers: Vec<u32> = mean.into_iter().chain(std).map(f32::to_bits).collect();
    let (words, numbers) = (plan.put(&words.collect::<Vec<_>>()), plan.put(&numbers));
    let threads = out.height * out.width.div_ceil(4);
    plan.launches.push(Launch {
        kernel: Arc::new(Kernel { name: "finish", source: SOURCE, defines: vec![("OUT", out.pixels as usize)] }),
        grid: [count(threads.div_ceil(FOURS * BLOCK)), 1, count(finishes.len())],
        block: count(BLOCK),
        shared: 3 * 256 * 4,
        args: vec![
            views.into(),
            blurred.into(),
            words.into(),
            out.at.into(),
            out.strides.into(),
            numbers.into(),
            out.height.into(),
            out.width.into(),
        ],
    });
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
