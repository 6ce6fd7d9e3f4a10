//! Cropping and resizing of a batch of images on CUDA.
use super::Interpolation;
use crate::kernels::cuda::interface::{DeviceStruct, Field};
use crate::kernels::cuda::{Arg, At, DeviceImages, Kernel, Launch, Plan, int};
use bytemuck::{Pod, Zeroable};
use std::sync::{Arc, LazyLock};

static SOURCE: LazyLock<String> = LazyLock::new(|| DeviceCrop::definition() + include_str!("resample.cu"));

/// Maximum number of bytes that the first pass writes. Larger batches are processed in parts.
const PART: usize = 64 << 20;

/// Approximate number of groups of four pixels per thread.
const TIMES: usize = 4;

/// The crop of an image: the offset of its first value, the distance between its rows, and its size. Offset and distance are in
/// values.
#[derive(Clone, Copy, Debug, Zeroable, Pod)]
#[repr(C)]
pub struct DeviceCrop {
    begin: i64,
    row: i64,
    height: i32,
    width: i32,
}

impl DeviceStruct for DeviceCrop {
    const NAME: &'static str = "Crop";
    const FIELDS: &'static [Field<Self>] = &[
        ("begin", |own| &own.begin),
        ("row", |own| &own.row),
        ("height", |own| &own.height),
        ("width", |own| &own.width),
    ];
}

impl DeviceCrop {
    /// Creates a crop of the given size, starting at offset `begin`, with `row` values from one row to the next.
    pub fn new(begin: i64, row: i64, (height, width): (usize, usize)) -> Self {
        Self { begin, row, height: int(height), width: int(width) }
    }

    const WORDS: usize = size_of::<Self>() / 4;
}

/// Resizes crops of uint8 images into `views`, `[crop][colour][height][width]`. Only some fields of `images` are used: the
/// address, the size, and the strides of columns and colours. No crop may be larger than an image.
pub fn resample(
    images: &DeviceImages,
    crops: &[DeviceCrop],
    interpolation: Interpolation,
    views: At,
    (height, width): (usize, usize),
    plan: &mut Plan,
) {
    let widened = |from: usize, to: usize| (from as f64 / to as f64).max(1.0);
    let scale = widened(images.height, height).max(widened(images.width, width));
    let longest = (scale * interpolation.support()).ceil() as usize * 2 + 1;
    let kernel = |name| {
        let cubic = usize::from(interpolation == Interpolation::Bicubic);
        let defines = vec![("CUBIC", cubic)];
        Arc::new(Kernel { name, source: &SOURCE, defines })
    };
    let [filters, first, second] = ["filters", "first_pass", "second_pass"].map(kernel);
    // The first pass changes one axis, so its output mixes the image's and the view's sizes.
    let fours = |n: usize| n.next_multiple_of(4);
    let room = (images.height * fours(width)).max(height * fours(images.width));
    let part = (PART / (3 * room)).clamp(1, crops.len().max(1));
    let all = plan.put(bytemuck::cast_slice(crops));
    let table = plan.room.take(part * (width + height) * (2 + longest));
    let middle = plan.room.bytes(part * 3 * room);
    let size: [Arg; 2] = [height.into(), width.into()];
    // A thread computes four rows of a column or four columns of a row, several times.
    let threads = |rows: usize, columns: usize| rows.max(columns) / 4 / TIMES + 1;
    let firsts = threads(fours(images.height) * width, height * fours(images.width));
    let seconds = threads(fours(height) * width, height * fours(width));
    for start in (0..crops.len()).step_by(part) {
        let count = part.min(crops.len() - start);
        let crops = all.plus(DeviceCrop::WORDS * start);
        let to = At { bytes: views.bytes + start * 3 * height * width, ..views };
        let args = [vec![crops.into(), table.into()], size.to_vec(), vec![longest.into()]].concat();
        plan.launches.push(Launch::each(&filters, width + height, count, args));
        let args: Vec<Arg> = vec![images.at.into(), crops.into(), table.into(), middle.into(), images.strides.into()];
        let args = [args, size.to_vec(), vec![room.into(), longest.into()]].concat();
        plan.launches.push(Launch::each(&first, firsts, count, args));
        let args: Vec<Arg> = vec![middle.into(), crops.into(), table.into(), to.into()];
        let args = [args, size.to_vec(), vec![room.into(), longest.into()]].concat();
        plan.launches.push(Launch::each(&second, seconds, count, args));
    }
    [table, middle].into_iter().for_each(|at| plan.room.give(at));
}
