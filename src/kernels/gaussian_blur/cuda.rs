//! Blur on CUDA.
use super::boxes::Window;
use crate::kernels::cuda::{Arg, At, Kernel, Launch, Plan, count};
use std::sync::Arc;

const SOURCE: &str = include_str!("gaussian_blur.cu");

/// The views named, each with its own half of at most `longest` taps, the middle first.
pub fn gaussian_blur(
    views: At,
    (height, width): (usize, usize),
    longest: usize,
    halves: &[(usize, Vec<f32>)],
    plan: &mut Plan,
) {
    if halves.is_empty() {
        return;
    }
    let rows: Vec<u32> = halves.iter().map(|&(row, _)| row as u32).collect();
    let taps = halves
        .iter()
        .flat_map(|(_, half)| (0..longest).map(|k| half.get(k).copied().unwrap_or(0.0).to_bits()).collect::<Vec<_>>());
    let (rows, taps) = (plan.put(&rows), plan.put(&taps.collect::<Vec<_>>()));
    let room = plan.room.take(halves.len() * 3 * height * width);
    for row in [1, 0] {
        let defines = vec![("ROW", row), ("HALF", longest)];
        let kernel = Arc::new(Kernel { name: "taps", source: SOURCE, defines });
        let args = vec![views.into(), room.into(), rows.into(), taps.into(), height.into(), width.into()];
        plan.launches.push(each(&kernel, (height, width), halves.len(), args));
    }
    plan.room.give(room);
}

/// The views named, each with Pillow's boxes of its own sigma.
pub fn box_blur(views: At, (height, width): (usize, usize), sigmas: &[(usize, f32)], plan: &mut Plan) {
    if sigmas.is_empty() {
        return;
    }
    let rows: Vec<u32> = sigmas.iter().map(|&(row, _)| row as u32).collect();
    // A radius below 0: nothing to blur.
    let boxes = sigmas.iter().flat_map(|&(_, sigma)| Window::new(sigma).map_or([u32::MAX, 0, 0], Window::words));
    let (rows, boxes) = (plan.put(&rows), plan.put(&boxes.collect::<Vec<_>>()));
    let room = plan.room.bytes(sigmas.len() * 3 * height * width);
    let kernel = Arc::new(Kernel { name: "box", source: SOURCE, defines: vec![] });
    // Three boxes in each direction, there and back.
    for pass in 0..6usize {
        let args: Vec<Arg> = vec![
            views.into(),
            room.into(),
            rows.into(),
            boxes.into(),
            height.into(),
            width.into(),
            usize::from(pass >= 3).into(),
            (pass % 2).into(),
        ];
        plan.launches.push(each(&kernel, (height, width), sigmas.len(), args));
    }
    plan.room.give(room);
}

/// A thread for each pixel, a row of a colour along the second axis.
fn each(kernel: &Arc<Kernel>, (height, width): (usize, usize), views: usize, args: Vec<Arg>) -> Launch {
    let launch = Launch::each(kernel, width, views, args);
    let [columns, _, views] = launch.grid;
    Launch { grid: [columns, count(3 * height), views], ..launch }
}
