//! The gradient of the weights, `dout^T patches`. Both factors are packed for [`PIXELS`] pixels at a time. One factor becomes
//! the rows of the tiles, the other one the columns.
use super::layout::PatchPanels;
use super::patches::Patches;
use super::product::{Matrix, ROWS, product};
use super::room::{self, Room};
use super::{DEPTH, Isa, PIXELS, Shape, check, panel, scalar};
use crate::kernels::threads::pool;

/// Maximum number of parts of the batch. The gradient is the sum of one partial gradient per part.
const PARTS: usize = 16;
/// Maximum width of a panel of the factor that becomes the rows of tiles. It is a multiple of the height of a tile and of the
/// width of a vector register.
const SHARE: usize = 8 * ROWS;
/// Pixels of up to this many values are read without packing. Larger ones could all map to the same few cache sets.
const DIRECT: usize = 64;

/// Computes the gradient of the weights into `out`, from the gradient of the output.
///
/// # Panics
/// If a length does not match the shape.
pub fn weight_gradient(isa: Isa, threads: usize, shape: &Shape, input: &[f32], grad: &[f32], out: &mut [f32]) {
    check(shape, input.len(), out.len(), grad.len());
    if isa == Isa::Scalar {
        return scalar::weight_gradient(shape, input, grad, out);
    }
    let threads = shape.useful_threads(threads);
    let (k, o, width) = (shape.patch(), shape.outputs, panel(isa));
    let all = shape.batch * shape.pixels();
    let flat = Shape::linear(all, o, o);
    let (patches, grads) = (Side { shape, numbers: input, n: k }, Side { shape: &flat, numbers: grad, n: o });
    // The factor that would not fill the columns of its last tile, such as a stem's few inputs, becomes the rows, whose tiles
    // are smaller.
    let cost = |rows: usize, columns: usize| rows.next_multiple_of(ROWS) * columns.next_multiple_of(width);
    let turned = 9 * cost(k, o) < 8 * cost(o, k);
    let (rows, columns) = if turned { (patches, grads) } else { (grads, patches) };
    // One partial sum for each part of the batch. Their number depends only on the shape, so that the result does not depend on
    // the threads.
    let parts = (PARTS / columns.n.div_ceil(DEPTH)).clamp(1, all.div_ceil(PIXELS));
    let each = all.div_ceil(parts).next_multiple_of(PIXELS);
    let tasks = || (0..parts).flat_map(|part| (0..columns.n).step_by(DEPTH).map(move |from| (part, from)));
    let (mut sums, most) = (room::sums(), rows.n * DEPTH);
    let sums = sums.of(tasks().count() * most);
    let own = || [room::patches(), room::patches()];
    pool::each_with(threads, sums.chunks_mut(most).zip(tasks()), own, |[left, right], (sum, (part, from))| {
        let first = part * each;
        let depth = DEPTH.min(columns.n - from);
        let sum = &mut sum[..rows.n * depth];
        sum.fill(0.0);
        for first in (first..(first + each).min(all)).step_by(PIXELS) {
            let pixels = PIXELS.min(all - first);
            let right = columns.panels(isa, width, (first, pixels), (from, depth), right);
            let left = rows.panels(isa, SHARE, (first, pixels), (0, rows.n), left);
            for at in (0..depth).step_by(width) {
                let n = width.min(depth - at);
                for row in (0..rows.n).step_by(ROWS) {
                    let (a, b) = (left.from(row).transposed(), right.from(at));
                    let m = ROWS.min(rows.n - row);
                    product(isa, (m, pixels, n), a, b, true, &mut sum[row * depth + at..], depth);
                }
            }
        }
    });
    out.fill(0.0);
    for (sum, (_, from)) in sums.chunks(most).zip(tasks()) {
        let depth = DEPTH.min(columns.n - from);
        for (row, sum) in sum[..rows.n * depth].chunks_exact(depth).enumerate() {
            let (first, step) = if turned { (from * k + row, k) } else { (row * k + from, 1) };
            out[first..].iter_mut().step_by(step).zip(sum).for_each(|(out, sum)| *out += sum);
        }
    }
}

/// One factor of the product: `n` values for each pixel.
#[derive(Clone, Copy)]
struct Side<'a> {
    shape: &'a Shape,
    numbers: &'a [f32],
    n: usize,
}

impl<'a> Side<'a> {
    /// Returns values `from..from + depth` of some pixels, packed into `room` in panels of at most `width` values. If each
    /// patch is a single pixel of few values ([`DIRECT`]) that fill whole vector registers, the input itself is returned, as
    /// one panel.
    fn panels<'b>(
        &self,
        isa: Isa,
        width: usize,
        (first, pixels): (usize, usize),
        (from, depth): (usize, usize),
        room: &'b mut Room,
    ) -> Packed<'b>
    where
        'a: 'b,
    {
        let &Self { shape, numbers: input, n } = self;
        if shape.is_pointwise() && n <= DIRECT && n.is_multiple_of(isa.lanes()) {
            return Packed { numbers: &input[first * n + from..], panels: PatchPanels { pixels, width: n } };
        }
        let width = width.min(depth.next_multiple_of(isa.lanes()));
        let room = room.of(PIXELS * depth.next_multiple_of(width));
        isa.dispatch(Patches { shape, input, first, pixels, from, depth, width, out: room });
        Packed { numbers: room, panels: PatchPanels { pixels, width } }
    }
}

/// Values of one factor, in panels.
#[derive(Clone, Copy)]
struct Packed<'a> {
    numbers: &'a [f32],
    panels: PatchPanels,
}

impl<'a> Packed<'a> {
    /// Returns the values of each pixel from index `at` on, as a matrix with one row per pixel.
    fn from(&self, at: usize) -> Matrix<'a> {
        Matrix { numbers: &self.numbers[self.panels.at(0, at)..], row: self.panels.width, step: 1 }
    }
}
