//! Gaussian blur on CUDA.
use super::boxes::Window;
use crate::kernels::cuda::interface::{DeviceStruct, Field};
use crate::kernels::cuda::{Arg, At, Kernel, Launch, Plan, SHARED, count, int};
use bytemuck::{Pod, Zeroable};
use std::sync::{Arc, LazyLock};

static SOURCE: LazyLock<String> = LazyLock::new(|| DeviceBox::definition() + include_str!("gaussian_blur.cu"));

/// Blurs views with symmetric taps, and returns the address of the blurred views, `[blurred][colour][height][width]`.
///
/// Each entry of `halves` is the index of a view and one half of its taps: the middle tap, then the taps on one side. A half
/// has at most `longest` taps.
pub fn gaussian_blur(
    views: At,
    (height, width): (usize, usize),
    longest: usize,
    halves: &[(usize, Vec<f32>)],
    plan: &mut Plan,
) -> At {
    let blurred = plan.room.bytes(halves.len() * 3 * height * width);
    if halves.is_empty() {
        return blurred;
    }
    let rows: Vec<u32> = halves.iter().map(|&(row, _)| row as u32).collect();
    let taps = halves
        .iter()
        .flat_map(|(_, half)| (0..longest).map(|k| half.get(k).copied().unwrap_or(0.0).to_bits()).collect::<Vec<_>>());
    let (rows, taps) = (plan.put(&rows), plan.put(&taps.collect::<Vec<_>>()));
    let size: [Arg; 2] = [height.into(), width.into()];
    if let Some(tile) = Tile::new((height, width), longest) {
        let defines = vec![("HALF", longest), ("TALL", tile.height), ("WIDE", tile.width)];
        let tiles = height.div_ceil(tile.height) * width.div_ceil(tile.width);
        plan.launches.push(Launch {
            kernel: Arc::new(Kernel { name: "tile", source: &SOURCE, defines }),
            grid: [count(tiles), 3, count(halves.len())],
            block: 256,
            shared: tile.bytes(longest),
            args: [vec![views.into(), blurred.into(), rows.into(), taps.into()], size.to_vec()].concat(),
        });
        return blurred;
    }
    let room = plan.room.take(halves.len() * 3 * height * width);
    for row in [1, 0] {
        let defines = vec![("ROW", row), ("HALF", longest)];
        let kernel = Arc::new(Kernel { name: "taps", source: &SOURCE, defines });
        let args = vec![views.into(), room.into(), blurred.into(), rows.into(), taps.into()];
        let launch = Launch::each(&kernel, width, halves.len(), [args, size.to_vec()].concat());
        let [columns, _, images] = launch.grid;
        plan.launches.push(Launch { grid: [columns, count(3 * height), images], ..launch });
    }
    plan.room.give(room);
    blurred
}

/// Copies the output of [`gaussian_blur`] back to `views`. `rows` are the indices of the blurred views.
pub fn put_back(views: At, blurred: At, (height, width): (usize, usize), rows: &[u32], plan: &mut Plan) {
    if rows.is_empty() {
        return;
    }
    let (numbers, views_of) = (3 * height * width, rows.len());
    let rows = plan.put(rows);
    let kernel = Arc::new(Kernel { name: "put_back", source: &SOURCE, defines: vec![("PUT_BACK", 1)] });
    plan.launches.push(Launch::each(
        &kernel,
        numbers,
        views_of,
        vec![views.into(), blurred.into(), rows.into(), numbers.into()],
    ));
}

/// The part of a view that one block blurs, along rows and then along columns.
#[derive(Clone, Copy)]
struct Tile {
    height: usize,
    width: usize,
}

impl Tile {
    /// Chooses a tile size: the largest of three candidates that fits in shared memory together with its margins. Returns
    /// `None` if none fits.
    fn new((height, width): (usize, usize), longest: usize) -> Option<Self> {
        let side = |n: usize, most: usize| n.div_ceil(n.div_ceil(most)).next_multiple_of(8);
        let tiles = [64, 32, 16].map(|most| Self { height: side(height, most), width: side(width, most) });
        tiles.into_iter().find(|tile| tile.bytes(longest) <= SHARED)
    }

    /// Size in bytes of the shared memory for a tile. It holds the pixels of the tile, a margin as wide as the taps reach, and
    /// the floats between the two passes. Each row has an odd number of words, to avoid bank conflicts.
    fn bytes(self, longest: usize) -> usize {
        let reach = longest - 1;
        let words = (self.width + 2 * reach.next_multiple_of(4)) / 4;
        (self.height + 2 * reach) * 4 * ((words | 1) + (self.width | 1))
    }
}

/// A box filter ([`Window`]) in the layout that kernels read.
#[derive(Clone, Copy, Debug, Zeroable, Pod)]
#[repr(C)]
struct DeviceBox {
    radius: i32,
    whole: u32,
    part: u32,
}

impl DeviceStruct for DeviceBox {
    const NAME: &'static str = "Box";
    const FIELDS: &'static [Field<Self>] =
        &[("radius", |own| &own.radius), ("whole", |own| &own.whole), ("part", |own| &own.part)];
}

impl From<Window> for DeviceBox {
    fn from(Window { radius, whole, part }: Window) -> Self {
        Self { radius: int(radius), whole, part }
    }
}

/// Maximum number of words that a block holds for each position along its lines. A word packs one byte from each of four lines.
const LANES: usize = 8;

/// Blurs views in place with Pillow's box filters. Each entry of `sigmas` is the index of a view and the sigma for this view.
pub fn box_blur(views: At, (height, width): (usize, usize), sigmas: &[(usize, f32)], plan: &mut Plan) {
    let windows: Vec<_> = sigmas.iter().filter_map(|&(row, sigma)| Some((row, Window::new(sigma)?))).collect();
    if windows.is_empty() {
        return;
    }
    let rows: Vec<u32> = windows.iter().map(|&(row, _)| row as u32).collect();
    let boxes: Vec<DeviceBox> = windows.iter().map(|&(_, window)| window.into()).collect();
    let (rows, boxes) = (plan.put(&rows), plan.put(bytemuck::cast_slice(&boxes)));
    for (columns, places, lines) in [(0, width, height), (1, height, width)] {
        let bytes = |lanes: usize| 2 * 4 * lanes * places;
        let fits = [LANES, LANES / 2, LANES / 4].into_iter().find(|&lanes| bytes(lanes) <= SHARED);
        let lanes = fits.unwrap_or(LANES);
        let blocks = lines.div_ceil(4 * lanes);
        let room = fits.is_none().then(|| plan.room.bytes(windows.len() * 3 * blocks * bytes(lanes)));
        let defines = vec![("COLUMNS", columns), ("LANES", lanes), ("OUTSIDE", usize::from(fits.is_none()))];
        plan.launches.push(Launch {
            kernel: Arc::new(Kernel { name: "box", source: &SOURCE, defines }),
            grid: [count(blocks), 3, count(windows.len())],
            block: 128,
            shared: fits.map_or(0, bytes),
            args: vec![
                views.into(),
                room.map_or(Arg::Null, Arg::At),
                rows.into(),
                boxes.into(),
                height.into(),
                width.into(),
            ],
        });
        room.into_iter().for_each(|room| plan.room.give(room));
    }
}
