//! Packing of the weights for SIMD.
//!
//! A *pass* computes vectors of outputs at each position from a rectangle of taps. Channels are innermost, so the inputs under
//! a row of taps are contiguous. A pass is therefore a matrix product that reads its left factor directly from the map:
//! `out[lanes] += in[k] * panel[k][lanes]`, where k runs over all inputs under the taps.
//!
//! If there are few output channels, a pass may *group* g neighbouring pixels, so that fewer lanes are idle. The lanes are then
//! g pixels x o channels. The rectangle of taps becomes (g - 1) x stride columns wider, and weights outside a pixel's own taps
//! are zero.
use super::Isa;
use super::panels::PanelLayout;
use crate::kernels::inference::layer_shape::Shape;
use crate::kernels::inference::upsampling::Cells;

/// Packed weights of a convolution, as passes.
#[derive(Clone, Debug)]
pub(super) struct Packed {
    /// One pass, or one for each phase of the upsampled map.
    pub(super) passes: Vec<Pass>,
    /// The same passes without groups of pixels, for maps that are too narrow or have other channels (see [`Pass::fits`]).
    pub(super) narrow: Vec<Pass>,
}

/// One matrix product over the map.
#[derive(Clone, Debug)]
pub(super) struct Pass {
    /// First row and column, in the padded input, under the taps of output position (0, 0).
    pub(super) first: (usize, usize),
    /// Rows and columns of taps.
    pub(super) taps: (usize, usize),
    /// Number of pixels in a group.
    pub(super) group: usize,
    /// Row and column of the phase in each 2x2 cell of the upsampled map.
    pub(super) phase: (usize, usize),
    /// The weights, in the order of `layout`.
    pub(super) panels: Vec<f32>,
    pub(super) layout: PanelLayout,
    /// Bias of each output of the layout.
    pub(super) bias: Vec<f32>,
}

impl Packed {
    pub(super) fn new(isa: Isa, shape: &Shape, weight: &[f32], bias: &[f32]) -> Self {
        let lanes = isa.lanes();
        if shape.upsample {
            let passes = (0..4).map(|phase| upsampling(lanes, shape, (phase / 2, phase % 2), weight, bias)).collect();
            return Self { passes, narrow: vec![] };
        }
        // Multiply-adds per pixel, including zeros and idle lanes.
        let cost = |group: usize| {
            let columns = (group - 1) * shape.stride + shape.kernel.1;
            (columns * (group * shape.outputs).div_ceil(lanes)) as f32 / group as f32
        };
        let group = (1..=8).min_by(|&a, &b| cost(a).total_cmp(&cost(b))).unwrap_or(1);
        let pass = |group| plain(lanes, shape, group, weight, bias);
        Self { passes: vec![pass(group)], narrow: if group > 1 { vec![pass(1)] } else { vec![] } }
    }
}

impl Packed {
    /// Returns the passes for an output in a map of this many columns and channels.
    pub(super) fn passes_for(&self, shape: &Shape, map: (usize, usize)) -> &[Pass] {
        if self.passes[0].fits(shape, map) { &self.passes } else { &self.narrow }
    }
}

/// Packs a convolution without upsampling, `group` pixels at a time.
fn plain(lanes: usize, shape: &Shape, group: usize, weight: &[f32], bias: &[f32]) -> Pass {
    let &Shape { inputs, outputs, kernel, stride, .. } = shape;
    let columns = (group - 1) * stride + kernel.1;
    let mut pass = Pass::zeros(lanes, group * outputs, (kernel.0, columns), inputs);
    pass.group = group;
    for pixel in 0..group {
        for (o, &bias) in bias.iter().enumerate() {
            let lane = pixel * outputs + o;
            pass.bias[lane] = bias;
            for i in 0..inputs {
                for (ty, tx) in (0..shape.taps()).map(|t| (t / kernel.1, t % kernel.1)) {
                    let k = (ty * columns + pixel * stride + tx) * inputs + i;
                    let at = pass.layout.at(k, lane);
                    pass.panels[at] = weight[((o * inputs + i) * kernel.0 + ty) * kernel.1 + tx];
                }
            }
        }
    }
    pass
}

/// Packs one phase of an upsampling convolution.
fn upsampling(lanes: usize, shape: &Shape, phase: (usize, usize), weight: &[f32], bias: &[f32]) -> Pass {
    let (&Shape { inputs, outputs, .. }, kernel) = (shape, shape.side());
    let (rows, columns) = (Cells::new(kernel, phase.0), Cells::new(kernel, phase.1));
    let pad = Shape::upsample_pad(kernel).top;
    let mut pass = Pass::zeros(lanes, outputs, (rows.count(), columns.count()), inputs);
    let first = |cells: Cells| (cells.first() + pad as isize) as usize;
    (pass.first, pass.phase) = ((first(rows), first(columns)), phase);
    for (o, &bias) in bias.iter().enumerate() {
        pass.bias[o] = bias;
        for i in 0..inputs {
            for (ty, tx) in (0..kernel * kernel).map(|t| (t / kernel, t % kernel)) {
                let k = (rows.tap(ty) * columns.count() + columns.tap(tx)) * inputs + i;
                let at = pass.layout.at(k, o);
                pass.panels[at] += weight[((o * inputs + i) * kernel + ty) * kernel + tx];
            }
        }
    }
    pass
}

impl Pass {
    /// Returns whether groups of this pass fit in an output map of this many columns and channels. Groups of several pixels
    /// also require that the convolution writes all channels of the map.
    pub(super) fn fits(&self, shape: &Shape, (columns, channels): (usize, usize)) -> bool {
        self.group == 1 || (self.group <= columns && channels == shape.outputs)
    }

    fn zeros(lanes: usize, outputs: usize, taps: (usize, usize), inputs: usize) -> Self {
        let layout = PanelLayout::new(lanes, outputs, taps.0 * taps.1 * inputs);
        Self {
            first: (0, 0),
            taps,
            group: 1,
            phase: (0, 0),
            panels: vec![0.0; layout.len()],
            layout,
            bias: vec![0.0; layout.outputs()],
        }
    }
}
