//! Nearest x2 upsampling before a convolution, without computing the upsampled map.
//!
//! The *small map* is the map before upsampling. Each of its pixels is a *cell*, and becomes 2x2 pixels of the upsampled map.
//! The output pixels at one of the four positions within a cell are a *phase*. Each phase is a separate convolution over the
//! cells.
//!
//! Along an axis, tap `t` of output pixel `2 c + phase` reads the upsampled pixel `2 c + phase + t - kernel / 2`. That pixel is
//! a copy of cell `c + (phase + t - kernel / 2) div 2`. Weights of taps that read the same cell are added: for a 3x3 kernel,
//! nine taps become four.

/// The cells read by the taps of one phase, along one axis.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cells {
    kernel: usize,
    phase: usize,
}

impl Cells {
    /// Creates the cells of phase 0 or 1.
    pub(crate) fn new(kernel: usize, phase: usize) -> Self {
        Self { kernel, phase }
    }

    /// The upsampled pixel under tap `t`, relative to the first pixel of the cell that contains the output.
    fn pixel(self, t: usize) -> isize {
        (self.phase + t) as isize - (self.kernel / 2) as isize
    }

    /// The cell under tap `t`, relative to the cell that contains the output.
    fn cell(self, t: usize) -> isize {
        self.pixel(t).div_euclid(2)
    }

    /// The first cell, relative to the cell that contains the output.
    pub(crate) fn first(self) -> isize {
        self.cell(0)
    }

    /// Number of cells.
    pub(crate) fn count(self) -> usize {
        (self.cell(self.kernel - 1) - self.first()) as usize + 1
    }

    /// The cell under tap `t`, relative to the first cell.
    pub(crate) fn tap(self, t: usize) -> usize {
        (self.cell(t) - self.first()) as usize
    }
}

/// Rewrites an upsampling convolution as a convolution over the cells of the small map. The new output channels are
/// `[row phase][column phase][outputs]`; a pixel shuffle converts them to the output at full resolution.
///
/// `weight` is `[outputs, inputs, kernel, kernel]`. Returns the side of the new kernel in cells, and the new weight
/// `[4 outputs, inputs, side, side]`.
pub(crate) fn pixel_shuffle_weight(outputs: usize, inputs: usize, kernel: usize, weight: &[f32]) -> (usize, Vec<f32>) {
    let reach = (kernel / 2).div_ceil(2);
    let side = 2 * reach + 1;
    let mut folded = vec![0.0; 4 * outputs * inputs * side * side];
    for phase in 0..4 {
        let (rows, columns) = (Cells::new(kernel, phase / 2), Cells::new(kernel, phase % 2));
        let cell = |cells: Cells, t| (cells.cell(t) + reach as isize) as usize;
        for (n, weight) in weight.iter().enumerate() {
            let (y, x) = (cell(rows, n / kernel % kernel), cell(columns, n % kernel));
            let (o, i) = (n / (kernel * kernel) / inputs, n / (kernel * kernel) % inputs);
            folded[(((phase * outputs + o) * inputs + i) * side + y) * side + x] += weight;
        }
    }
    (side, folded)
}

/// Rewrites a convolution of stride 1 as a convolution of stride 2 that computes 2x2 output pixels at a time.
///
/// The new output channels are ordered as in [`pixel_shuffle_weight`]. The kernel of each phase is the original kernel, shifted
/// by the phase. The padding above and to the left stays `kernel / 2`.
///
/// `weight` is `[outputs, inputs, kernel, kernel]`. Returns the side of the new kernel, and the new weight
/// `[4 outputs, inputs, side, side]`.
pub(crate) fn shifted_weight(outputs: usize, inputs: usize, kernel: usize, weight: &[f32]) -> (usize, Vec<f32>) {
    let side = kernel + 1;
    let mut shifted = vec![0.0; 4 * outputs * inputs * side * side];
    for phase in 0..4 {
        for (n, weight) in weight.iter().enumerate() {
            let (y, x) = (n / kernel % kernel + phase / 2, n % kernel + phase % 2);
            let filter = phase * outputs * inputs + n / (kernel * kernel);
            shifted[(filter * side + y) * side + x] = *weight;
        }
    }
    (side, shifted)
}
