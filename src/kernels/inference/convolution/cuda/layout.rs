//! Layout of the weights of a convolution on the device: the order in which `multiply` in `convolution.cu` reads them.
//!
//! - Exact (float32): `[chunk][tap][channel][output]`.
//! - Fast (float16): `[chunk][step][output / 8][lane][4]`. The four values that a lane of a warp contributes to a Tensor Core
//!   product are contiguous. A step is 16 terms of the sum, in two groups of eight.
use crate::kernels::cuda::{Number, stored};

/// Number of terms of the sum in a step.
const STEP: usize = 16;
/// Number of terms of the sum in a group.
const GROUP: usize = 8;

/// The position of every weight in memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct WeightLayout {
    pub(super) number: Number,
    /// Rows and columns of the kernel.
    pub(super) kernel: (usize, usize),
    /// Number of input channels in a chunk (the channels that a block loads at a time): four, or a multiple of eight.
    pub(super) chunk: usize,
    /// Number of chunks.
    pub(super) chunks: usize,
    /// Number of outputs in units of eight.
    pub(super) eights: usize,
}

impl WeightLayout {
    /// Creates the layout for `inputs` input channels, in chunks of `chunk` channels, and `8 * eights` outputs. `kernel` is
    /// (rows, columns).
    pub(super) fn new(number: Number, kernel: (usize, usize), inputs: usize, chunk: usize, eights: usize) -> Self {
        Self { number, kernel, chunk, chunks: stored(inputs) / chunk, eights }
    }

    /// Number of positions in the kernel.
    pub(super) fn taps(&self) -> usize {
        self.kernel.0 * self.kernel.1
    }

    /// Number of steps of a chunk.
    pub(super) fn steps(&self) -> usize {
        let (rows, columns) = self.kernel;
        let row = if self.chunk == 4 { columns.next_multiple_of(2) } else { columns };
        (rows * row * self.chunk).div_ceil(STEP)
    }

    /// Number of values in memory. Positions without a weight are zeros.
    pub(super) fn len(&self) -> usize {
        let terms = match self.number {
            Number::F16 => self.steps() * STEP,
            Number::F32 => self.taps() * self.chunk,
        };
        self.chunks * terms * GROUP * self.eights
    }

    /// Index of the weight of an output, an input channel and a tap.
    pub(super) fn at(&self, output: usize, channel: usize, tap: usize) -> usize {
        let (chunk, channel) = (channel / self.chunk, channel % self.chunk);
        match self.number {
            Number::F16 => self.lane_at(output, chunk, self.term(channel, tap)),
            Number::F32 => {
                let outputs = GROUP * self.eights;
                ((chunk * self.taps() + tap) * self.chunk + channel) * outputs + output
            }
        }
    }

    /// Index within a chunk of the term for a channel and a tap.
    ///
    /// A group is eight channels of a tap. With four channels in a chunk, a group is four channels of two adjacent taps; at the
    /// end of a row, the second tap may be missing.
    fn term(&self, channel: usize, tap: usize) -> usize {
        if self.chunk == 4 {
            let (row, column) = (tap / self.kernel.1, tap % self.kernel.1);
            (row * self.kernel.1.div_ceil(2) + column / 2) * GROUP + column % 2 * 4 + channel
        } else {
            tap * self.chunk + channel
        }
    }

    /// Index of the weight of a term for the Tensor Cores. In PTX's `mma.m16n8k16`, a lane holds the weights of output
    /// `lane / 4` for the terms `2 (lane % 4)` and `2 (lane % 4) + 1` of both groups.
    fn lane_at(&self, output: usize, chunk: usize, term: usize) -> usize {
        let (step, group, pair, odd) = (term / STEP, term / GROUP % 2, term % GROUP / 2, term % 2);
        let (eight, lane) = (output / GROUP, output % GROUP * 4 + pair);
        (((chunk * self.steps() + step) * self.eights + eight) * 32 + lane) * 4 + 2 * group + odd
    }
}

#[cfg(test)]
mod tests {
    use super::{STEP, WeightLayout};
    use crate::kernels::cuda::Number;

    /// Layouts of every kind: chunks of four channels with one tap, and with rows of an even and an odd number of taps; one or
    /// more chunks of multiples of eight channels.
    fn layouts(number: Number) -> impl Iterator<Item = WeightLayout> {
        let of = move |(kernel, inputs, chunk, eights)| WeightLayout::new(number, kernel, inputs, chunk, eights);
        [
            ((1, 1), 3, 4, 1),
            ((2, 2), 3, 4, 2),
            ((3, 3), 3, 4, 1),
            ((9, 9), 4, 4, 3),
            ((7, 1), 3, 4, 1),
            ((1, 7), 3, 4, 1),
            ((1, 1), 64, 64, 2),
            ((3, 3), 40, 8, 1),
            ((3, 3), 70, 24, 2),
            ((5, 5), 30, 16, 12),
            ((7, 1), 40, 24, 2),
            ((1, 7), 40, 16, 3),
        ]
        .into_iter()
        .map(of)
    }

    /// Checks that the layout has every weight where the kernel reads it. `read` is [output, channel, tap] at each position, or
    /// `[-1, -1, -1]` at a position without a weight.
    fn check(layout: WeightLayout, read: Vec<[i64; 3]>) {
        let taps = layout.taps();
        let mut found = vec![[-1; 3]; layout.len()];
        for output in 0..8 * layout.eights {
            for channel in 0..layout.chunk * layout.chunks {
                for tap in 0..taps {
                    let place = &mut found[layout.at(output, channel, tap)];
                    assert_eq!(*place, [-1; 3], "{layout:?}: taken twice");
                    *place = [output, channel, tap].map(|n| n as i64);
                }
            }
        }
        assert!(found == read, "{layout:?}");
    }

    /// Replicates `multiply` of `convolution.cu`: the terms of `gather` and operand b of `mma.m16n8k16`.
    #[test]
    fn a_lane_finds_its_weights_in_the_order_in_which_it_reads_them() {
        for layout in layouts(Number::F16) {
            let ((rows, columns), taps) = (layout.kernel, layout.taps());
            // Tap and channel of a chunk for the input value of a term.
            let gathered = |step: usize, k: usize| -> Option<(usize, usize)> {
                let half = k / 8;
                if layout.chunk == 4 {
                    let (pairs, group) = (columns.div_ceil(2), 2 * step + half);
                    let (row, column) = (group / pairs, group % pairs * 2 + k % 8 / 4);
                    (row < rows && column < columns).then_some((row * columns + column, k % 4))
                } else {
                    let (eights, eight) = (layout.chunk / 8, 2 * step + half);
                    (eight / eights < taps).then_some((eight / eights, eight % eights * 8 + k % 8))
                }
            };
            let mut read = vec![];
            for chunk in 0..layout.chunks {
                for step in 0..layout.steps() {
                    for eight in 0..layout.eights {
                        for (lane, i) in (0..32).flat_map(|lane| (0..4).map(move |i| (lane, i))) {
                            let (k, n) = (lane % 4 * 2 + i % 2 + i / 2 * 8, lane / 4);
                            let weight = |(tap, channel)| [8 * eight + n, chunk * layout.chunk + channel, tap];
                            read.push(gathered(step, k).map_or([-1; 3], |term| weight(term).map(|n| n as i64)));
                        }
                    }
                }
            }
            assert_eq!(read.len(), layout.chunks * layout.steps() * STEP * 8 * layout.eights);
            check(layout, read);
        }
    }

    /// Replicates the exact `multiply`: `w[(tap * chunk + channel) * PACKED + o]`, chunk by chunk.
    #[test]
    fn a_thread_finds_its_weights_in_the_order_in_which_it_reads_them() {
        for layout in layouts(Number::F32) {
            let mut read = vec![];
            for chunk in 0..layout.chunks {
                for tap in 0..layout.taps() {
                    for channel in 0..layout.chunk {
                        read.extend(
                            (0..8 * layout.eights).map(|o| [o, chunk * layout.chunk + channel, tap].map(|n| n as i64)),
                        );
                    }
                }
            }
            check(layout, read);
        }
    }
}
