//! How a convolution is split into blocks of threads: outputs and input channels of each, and its shared memory.
use super::Conv;
use crate::kernels::cuda::{Number, SHARED, TILE, stored};
use crate::kernels::inference::layer_shape::Shape;

/// Threads of a block.
pub(super) const THREADS: usize = TILE.0 * TILE.1;

/// Outputs of a block, at most, in eights: as many sums as a thread has registers for. Behind a depthwise convolution, which
/// each block computes, more of them.
const EIGHTS: usize = 8;
const EIGHTS_BEHIND: usize = 12;

/// Blocks that keep a GPU busy; where there are fewer, they have fewer outputs each. (Not behind a depthwise convolution.)
const BUSY: usize = 512;

/// Input channels in shared memory, at most.
const CHUNK: usize = 64;

/// Products of a lane that are written out one after the other.
const UNROLLED: usize = 160;

/// Bytes of shared memory, if fewer channels at a time can do with them: as many blocks then run beside each other.
const MODEST: usize = 36 << 10;

/// Outputs in memory and in the largest block, both in eights: the first is a multiple of the second.
pub(super) fn eights(outputs: usize, behind_depthwise: bool) -> (usize, usize) {
    let (used, most) = (outputs.div_ceil(8), if behind_depthwise { EIGHTS_BEHIND } else { EIGHTS });
    let largest = used.div_ceil(used.div_ceil(most));
    (used.next_multiple_of(largest), largest)
}

/// Input channels at a time of so many, of which `first` reads the input.
pub(super) fn chunk(number: Number, first: &Shape, behind_depthwise: bool, inputs: usize) -> usize {
    let inputs = stored(inputs);
    let fits = |bytes: usize| {
        let mut chunks = (1..=CHUNK / 8).rev().map(|n| 8 * n);
        chunks.find(|&chunk| {
            let values = window(number, first, behind_depthwise, chunk);
            inputs.is_multiple_of(chunk) && values * number.size() <= bytes
        })
    };
    // Four channels of the largest kernel fit.
    fits(MODEST).or_else(|| fits(SHARED)).unwrap_or(4)
}

/// Values of the window that a block's pixels need, and of what is made of it.
fn window(number: Number, first: &Shape, behind_depthwise: bool, chunk: usize) -> usize {
    let side = |n: usize, kernel: usize| match first.upsample {
        true => (n + kernel - 2) / 2 + 2,
        false => (n - 1) * first.stride + kernel,
    };
    let (rows, columns) = first.kernel;
    let pitch = pitch(number, chunk);
    // A row of taps of four channels each is even.
    let more = if chunk == 4 && first.taps() > 1 && !first.upsample { columns % 2 } else { 0 };
    let pixels = side(TILE.0, rows) * (side(TILE.1, columns) + more);
    match behind_depthwise {
        true => pixels * chunk + TILE.0 * TILE.1 * pitch,
        false => pixels * pitch,
    }
}

/// Values between two pixels in shared memory: so many that the lanes of a warp do not meet in a bank.
pub(super) fn pitch(number: Number, chunk: usize) -> usize {
    match number {
        Number::F32 if chunk > 4 => chunk + 4,
        Number::F16 if chunk > 4 && chunk / 2 % 8 != 4 => chunk + 8,
        _ => chunk,
    }
}

/// Blocks of so many outputs, in eights, that run beside each other, as the registers of their sums let them.
pub(super) fn beside(outputs: usize) -> usize {
    match outputs {
        0..=4 => 6,
        5..=8 => 4,
        _ => 2,
    }
}

/// Steps that are written out one after the other, of a block of so many outputs, in eights.
pub(super) fn unrolled(steps: usize, outputs: usize) -> usize {
    if steps * outputs <= UNROLLED { steps } else { 2 }
}

impl Conv {
    /// Outputs of a block, in eights, where a launch has so many times the pixels of one.
    pub(super) fn outputs_of_block(&self, tiles: usize) -> usize {
        if self.depthwise.is_some() {
            return self.largest;
        }
        let divides = |&n: &usize| self.largest.is_multiple_of(n);
        let busy = |&n: &usize| tiles * (self.layout.eights / n) >= BUSY;
        let sizes = || (1..=self.largest).filter(divides);
        sizes().rev().find(busy).or_else(|| sizes().find(|&n| n > 1)).unwrap_or(1)
    }

    /// Bytes of shared memory of a block of so many outputs: of the window; later of moments, two values of each warp's outputs
    /// and another of each; and of what leaves.
    pub(super) fn shared(&self, outputs: usize) -> usize {
        let window = window(self.number, self.first(), self.depthwise.is_some(), self.layout.chunk);
        let moments = (THREADS / 32 * 2 + 1) * outputs * 4;
        let leaving = if self.number == Number::F16 { TILE.0 * TILE.1 * (outputs + 8) * 2 } else { 0 };
        (window * self.number.size()).max(moments).max(leaving)
    }
}
