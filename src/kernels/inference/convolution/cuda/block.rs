//! Partition of a convolution into blocks of threads: the outputs, input channels and shared memory of a block.
use super::Conv;
use crate::kernels::cuda::{Number, SHARED, TILE, stored};
use crate::kernels::inference::layer_shape::Shape;

/// Number of threads in a block.
pub(super) const THREADS: usize = TILE.0 * TILE.1;

/// Maximum number of outputs of a block, in units of eight. The registers for a thread's sums limit this number.
const EIGHTS: usize = 8;
/// Like [`EIGHTS`], after a depthwise convolution. The limit is higher, because each block repeats the depthwise convolution.
const EIGHTS_BEHIND: usize = 12;

/// Number of blocks that keep a GPU busy. If there would be fewer blocks, each block gets fewer outputs, except after a
/// depthwise convolution.
const BUSY: usize = 512;

/// Maximum number of input channels in a chunk, the channels that are in shared memory at the same time.
const CHUNK: usize = 64;

/// Maximum number of unrolled products of a lane.
const UNROLLED: usize = 160;

/// Preferred limit of a block's shared memory in bytes, so that more blocks run concurrently. If possible, the chunks of
/// channels are small enough to stay within this limit.
const MODEST: usize = 36 << 10;

/// Returns the number of outputs in memory and the number in the largest block, in units of eight. The first is a multiple of
/// the second.
pub(super) fn eights(outputs: usize, behind_depthwise: bool) -> (usize, usize) {
    let (used, most) = (outputs.div_ceil(8), if behind_depthwise { EIGHTS_BEHIND } else { EIGHTS });
    let largest = used.div_ceil(used.div_ceil(most));
    (used.next_multiple_of(largest), largest)
}

/// Returns the number of input channels per chunk. `inputs` is the number of all input channels, and `first` is the layer that
/// reads the input.
pub(super) fn chunk(number: Number, first: &Shape, behind_depthwise: bool, inputs: usize) -> usize {
    let inputs = stored(inputs);
    let fits = |bytes: usize| {
        let mut chunks = (1..=CHUNK / 8).rev().map(|n| 8 * n);
        chunks.find(|&chunk| {
            let values = window(number, first, behind_depthwise, chunk);
            inputs.is_multiple_of(chunk) && values * number.size() <= bytes
        })
    };
    // Four channels of the largest kernel always fit.
    fits(MODEST).or_else(|| fits(SHARED)).unwrap_or(4)
}

/// Number of values in a block's window of the input. After a depthwise convolution, this includes the output of that
/// convolution.
fn window(number: Number, first: &Shape, behind_depthwise: bool, chunk: usize) -> usize {
    let side = |n: usize, kernel: usize| match first.upsample {
        true => (n + kernel - 2) / 2 + 2,
        false => (n - 1) * first.stride + kernel,
    };
    let (rows, columns) = first.kernel;
    let pitch = pitch(number, chunk);
    // With four channels, rows of taps have even lengths.
    let more = if chunk == 4 && first.taps() > 1 && !first.upsample { columns % 2 } else { 0 };
    let pixels = side(TILE.0, rows) * (side(TILE.1, columns) + more);
    match behind_depthwise {
        true => pixels * chunk + TILE.0 * TILE.1 * pitch,
        false => pixels * pitch,
    }
}

/// Distance between two pixels in shared memory, in values. The distance avoids bank conflicts between the lanes of a warp.
pub(super) fn pitch(number: Number, chunk: usize) -> usize {
    match number {
        Number::F32 if chunk > 4 => chunk + 4,
        Number::F16 if chunk > 4 && chunk / 2 % 8 != 4 => chunk + 8,
        _ => chunk,
    }
}

/// Number of blocks that should run concurrently on a multiprocessor. The registers for sums limit this number. `outputs` is
/// the number of outputs of a block, in units of eight.
pub(super) fn beside(outputs: usize) -> usize {
    match outputs {
        0..=4 => 6,
        5..=8 => 4,
        _ => 2,
    }
}

/// Number of unrolled steps in a block. `outputs` is the number of outputs of the block, in units of eight.
pub(super) fn unrolled(steps: usize, outputs: usize) -> usize {
    if steps * outputs <= UNROLLED { steps } else { 2 }
}

impl Conv {
    /// Number of outputs of a block, in units of eight, for a launch with `tiles` tiles of pixels.
    pub(super) fn outputs_of_block(&self, tiles: usize) -> usize {
        if self.depthwise.is_some() {
            return self.largest;
        }
        let divides = |&n: &usize| self.largest.is_multiple_of(n);
        let busy = |&n: &usize| tiles * (self.layout.eights / n) >= BUSY;
        let sizes = || (1..=self.largest).filter(divides);
        sizes().rev().find(busy).or_else(|| sizes().find(|&n| n > 1)).unwrap_or(1)
    }

    /// Shared memory, in bytes, of a block with this many outputs. The same memory is used in turn for the window, the moments
    /// and, in float16, the outputs. Moments are two values for each output and warp, and one more value for each output.
    pub(super) fn shared(&self, outputs: usize) -> usize {
        let window = window(self.number, self.first(), self.depthwise.is_some(), self.layout.chunk);
        let moments = (THREADS / 32 * 2 + 1) * outputs * 4;
        let leaving = if self.number == Number::F16 { TILE.0 * TILE.1 * (outputs + 8) * 2 } else { 0 };
        (window * self.number.size()).max(moments).max(leaving)
    }
}
