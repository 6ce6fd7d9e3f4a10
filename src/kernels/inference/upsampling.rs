//! Nearest x2 upsampling before a convolution, without computing the upsampled map: each of the four output phases, which are
//! the pixels at one position of every 2x2 cell, is a separate small convolution.
//!
//! Tap `t` of output pixel `2 c + phase` reads the upsampled pixel `2 c + phase + t - kernel / 2`, which is a copy of the small
//! map's cell `c + (phase + t - kernel / 2) div 2`. Weights of taps that read the same cell are added: for a 3x3 kernel, nine
//! taps become four.

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

/// Rewrites an upsampling convolution to `outputs` channels as a convolution over the cells of the small map. Its output
/// channels are `[row phase][column phase][outputs]`, which a pixel shuffle would turn into the upsampled map.
///
/// `weight` is `[outputs, inputs, kernel, kernel]`. Returns the kernel's side in cells and the weight
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

/// Rewrites a convolution at full resolution as one of stride 2 with the output channels of [`pixel_shuffle_weight`]: each
/// phase's kernel is shifted to its pixel. The padding before the map stays `kernel / 2`.
///
/// `weight` is `[outputs, inputs, kernel, kernel]`. Returns the kernel's side and the weight `[4 outputs, inputs, side, side]`.
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
