//! Nearest x2 upsampling without the upsampled map: each of the four output phases is a small convolution of its own.
//!
//! Tap `t` of output pixel `2 c + phase` falls on the upsampled pixel `2 c + phase + t - kernel / 2`, which is a copy of the
//! small map's cell `c + (phase + t - kernel / 2) div 2`. Taps on the same cell add their weights: for a 3x3 kernel, nine
//! taps become four.

/// The cells that the taps of one phase fall on, along one axis.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cells {
    kernel: usize,
    phase: usize,
}

impl Cells {
    /// Of this phase, 0 or 1.
    pub(crate) fn new(kernel: usize, phase: usize) -> Self {
        Self { kernel, phase }
    }

    /// The upsampled pixel under tap `t`, relative to the first pixel of the output's own cell.
    fn pixel(self, t: usize) -> isize {
        (self.phase + t) as isize - (self.kernel / 2) as isize
    }

    /// The cell under tap `t`, relative to the output's own.
    fn cell(self, t: usize) -> isize {
        self.pixel(t).div_euclid(2)
    }

    /// The first cell, relative to the output's own.
    pub(crate) fn first(self) -> isize {
        self.cell(0)
    }

    /// How many cells.
    pub(crate) fn count(self) -> usize {
        (self.cell(self.kernel - 1) - self.first()) as usize + 1
    }

    /// The cell under tap `t`, counted from the first.
    pub(crate) fn tap(self, t: usize) -> usize {
        (self.cell(t) - self.first()) as usize
    }
}

/// An upsampling convolution to `outputs` channels as one convolution over cells: its output channels are
/// `[row phase][column phase][outputs]`, a pixel shuffle away from the upsampled map.
///
/// `weight` is `[outputs, inputs, kernel, kernel]`. With `skip`, `[outputs, colours, kernel, kernel]` over a map at full
/// resolution is added, whose cells come as further input channels `[row phase][column phase][colours]`.
/// Returns the kernel's side in cells and the weight `[4 outputs, inputs + 4 colours, side, side]`.
pub(crate) fn pixel_shuffle_weight(
    outputs: usize,
    inputs: usize,
    kernel: usize,
    weight: &[f32],
    skip: Option<&[f32]>,
) -> (usize, Vec<f32>) {
    let reach = (kernel / 2).div_ceil(2);
    let side = 2 * reach + 1;
    let colours = skip.map_or(0, |skip| skip.len() / (outputs * kernel * kernel));
    let all_inputs = inputs + 4 * colours;
    let mut folded = vec![0.0; 4 * outputs * all_inputs * side * side];
    for phase in 0..4 {
        let (rows, columns) = (Cells::new(kernel, phase / 2), Cells::new(kernel, phase % 2));
        for o in 0..outputs {
            for (ty, tx) in (0..kernel * kernel).map(|t| (t / kernel, t % kernel)) {
                let cell = |cells: Cells, t| (cells.cell(t) + reach as isize) as usize;
                let at = |i: usize| {
                    (((phase * outputs + o) * all_inputs + i) * side + cell(rows, ty)) * side + cell(columns, tx)
                };
                let tap = |weights: &[f32], n: usize, i: usize| weights[((o * n + i) * kernel + ty) * kernel + tx];
                for i in 0..inputs {
                    folded[at(i)] += tap(weight, inputs, i);
                }
                let sub = rows.pixel(ty).rem_euclid(2) * 2 + columns.pixel(tx).rem_euclid(2);
                for i in 0..colours {
                    folded[at(inputs + sub as usize * colours + i)] += tap(skip.unwrap_or_default(), colours, i);
                }
            }
        }
    }
    (side, folded)
}
