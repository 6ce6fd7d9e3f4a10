//! Convolution as a matrix product over the padded map, tile by tile: a few pixels (or groups of pixels) by one or two
//! vectors of output channels stay in registers while k runs over the taps.
#![allow(unsafe_code)]
use super::pack::{Packed, Pass};
use super::{Activation, Isa, Map, Shape};
use crate::kernels::isa::{Kernel, Lanes};

pub(super) fn run(isa: Isa, shape: &Shape, packed: &Packed, input: &Map, out: &mut Map) {
    let passes = match packed.passes[0].group > out.width() {
        true => &packed.narrow,
        false => &packed.passes,
    };
    for pass in passes {
        isa.dispatch(Run { shape, pass, input, out });
    }
}

struct Run<'a> {
    shape: &'a Shape,
    pass: &'a Pass,
    input: &'a Map,
    out: &'a mut Map,
}

impl Kernel for Run<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { shape, pass, input, out } = self;
        let scale = if shape.upsample { 2 } else { 1 };
        let (rows, columns) = (out.height() / scale, out.width() / scale);
        let depth = pass.taps.0 * pass.taps.1 * shape.inputs;
        let mut vector = 0;
        while vector * L::N < pass.bias.len() {
            let first = vector * L::N;
            let pair = first + L::N < pass.bias.len();
            let lanes = if pair { 2 * L::N } else { L::N };
            for y in 0..rows {
                let row = Row {
                    input: &input.as_slice()[(y * shape.stride + pass.first.0) * input.stride()..],
                    column: pass.first.1,
                    stride: input.stride(),
                    panel: &pass.panels[first * depth..(first + lanes) * depth],
                    bias: &pass.bias[first..first + lanes],
                    out: &mut out.row_mut(y * scale + pass.phase.0)[pass.phase.1 * shape.outputs..],
                    step: scale * shape.outputs,
                    first,
                    columns,
                };
                match pair {
                    true if L::MANY_REGISTERS => row.tiles::<L, 8, 2>(shape, pass),
                    true => row.tiles::<L, 6, 2>(shape, pass),
                    false => row.tiles::<L, 8, 1>(shape, pass),
                }
            }
            vector += 2;
        }
    }
}

/// One output row of one panel.
struct Row<'a> {
    /// From the first row of taps on.
    input: &'a [f32],
    /// First column of taps.
    column: usize,
    /// Floats from one input row to the next.
    stride: usize,
    panel: &'a [f32],
    bias: &'a [f32],
    /// From the first pixel of the phase on.
    out: &'a mut [f32],
    /// Floats from one output pixel of the phase to the next.
    step: usize,
    /// The panel's first output.
    first: usize,
    /// Output pixels of the phase.
    columns: usize,
}

impl Row<'_> {
    /// Tiles of M groups by V vectors; a last tile that would hang over is shifted back over pixels already done, and
    /// writes the same numbers again.
    #[inline(always)]
    fn tiles<L: Lanes, const M: usize, const V: usize>(mut self, shape: &Shape, pass: &Pass) {
        let (group, groups) = (pass.group, self.columns / pass.group);
        let mut g = 0;
        while g < groups {
            match groups - g {
                left if left >= M => {
                    self.tile::<L, M, V>(shape, pass, g * group);
                    g += M;
                }
                _ if groups >= M => {
                    self.tile::<L, M, V>(shape, pass, (groups - M) * group);
                    g = groups;
                }
                left if left >= 4 => {
                    self.tile::<L, 4, V>(shape, pass, g * group);
                    g += 4;
                }
                _ => {
                    self.tile::<L, 1, V>(shape, pass, g * group);
                    g += 1;
                }
            }
        }
        if groups * group < self.columns {
            self.tile::<L, 1, V>(shape, pass, self.columns - group);
        }
    }

    /// M groups from pixel `x` on.
    #[inline(always)]
    fn tile<L: Lanes, const M: usize, const V: usize>(&mut self, shape: &Shape, pass: &Pass, x: usize) {
        let group = pass.group * shape.stride * shape.inputs;
        let run = pass.taps.1 * shape.inputs;
        let start = (x * shape.stride + self.column) * shape.inputs;
        assert!(start + (M - 1) * group + (pass.taps.0 - 1) * self.stride + run <= self.input.len());
        assert!(pass.taps.0 * run * V * L::N <= self.panel.len() && V * L::N <= self.bias.len());

        // SAFETY: the asserts above bound every address read here.
        let mut sums: [[L; V]; M] = [std::array::from_fn(|v| unsafe { L::load(self.bias.as_ptr().add(v * L::N)) }); M];
        let mut panel = self.panel.as_ptr();
        for ty in 0..pass.taps.0 {
            // SAFETY: as above.
            let pixels = unsafe { self.input.as_ptr().add(start + ty * self.stride) };
            for k in 0..run {
                // SAFETY: as above.
                unsafe {
                    let weights: [L; V] = std::array::from_fn(|v| L::load(panel.add(v * L::N)));
                    panel = panel.add(V * L::N);
                    for (m, sums) in sums.iter_mut().enumerate() {
                        let pixel = L::splat(*pixels.add(m * group + k));
                        for (sum, weight) in sums.iter_mut().zip(weights) {
                            *sum = pixel.mul_add(weight, *sum);
                        }
                    }
                }
            }
        }

        let outputs = pass.group * shape.outputs;
        for (m, sums) in sums.into_iter().enumerate() {
            let at = (x + m * pass.group) * self.step + self.first;
            for (v, sum) in sums.into_iter().enumerate() {
                let sum = match shape.activation {
                    Activation::None => sum,
                    Activation::Relu => sum.max(L::splat(0.0)),
                    Activation::Relu6 => sum.max(L::splat(0.0)).min(L::splat(6.0)),
                };
                let used = (outputs - self.first).saturating_sub(v * L::N).min(L::N);
                let out = &mut self.out[at + v * L::N..][..used];
                if used == L::N {
                    // SAFETY: `out` has N floats.
                    unsafe { sum.store(out.as_mut_ptr()) }
                } else {
                    let mut all = [0.0; 16];
                    // SAFETY: no vector has more than 16 lanes.
                    unsafe { sum.store(all.as_mut_ptr()) }
                    out.copy_from_slice(&all[..used]);
                }
            }
        }
    }
}
