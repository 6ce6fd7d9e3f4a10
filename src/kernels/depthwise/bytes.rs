//! Depthwise convolution in bytes: four rows of taps are multiplied and summed by one instruction.
//!
//! A block of bytes of up to four rows is interleaved, so that the taps of one column and one channel fill a lane; the lane
//! stands for a channel or, where several pixels fit into a block, for a pixel and a channel. As for the dense convolution,
//! `out = scale_in scale[c] (sum of q w - zero sum of w) + bias[c]`.
#![allow(unsafe_code)]
use super::{Activation, Extent, Isa, Output, Pass, Shape};
use crate::kernels::isa::{ByteKernel, ByteLanes, Extents, load_block};
use crate::kernels::quantize::QuantizedView;

/// The weights of a pass.
#[derive(Clone, Debug)]
pub(super) struct BytePass {
    /// Pixels in a block.
    group: usize,
    blocks: Vec<Block>,
}

/// What the lanes of a block need, all in the order of an interleaved block.
#[derive(Clone, Debug)]
struct Block {
    /// The first channel.
    channel: usize,
    /// Numbers in use.
    used: usize,
    /// `[four rows][columns][places][4]`.
    weight: Vec<i8>,
    /// What one step of a weight is worth.
    scale: Vec<f32>,
    /// The sum of the weights, times their scale.
    sum: Vec<f32>,
    bias: Vec<f32>,
}

impl BytePass {
    pub(super) fn new(isa: Isa, shape: &Shape, pass: &Pass, bias: &[f32]) -> Self {
        let (block, channels) = (4 * isa.lanes(), shape.outputs);
        let fits = shape.stride == 1 && !shape.upsample && block.is_multiple_of(channels);
        let group = if fits { block / channels } else { 1 };
        let new = |channel| Block::new(isa, shape, pass, bias, group, channel);
        Self { group, blocks: (0..group * channels).step_by(block).map(new).collect() }
    }
}

impl Block {
    fn new(isa: Isa, shape: &Shape, pass: &Pass, bias: &[f32], group: usize, channel: usize) -> Self {
        let (places, channels) = (4 * isa.lanes(), shape.outputs);
        let (rows, columns) = pass.taps;
        let used = (group * channels - channel).min(places);
        let mut block = Self {
            channel,
            used,
            weight: vec![0; rows.div_ceil(4) * columns * places * 4],
            scale: vec![1.0; places],
            sum: vec![0.0; places],
            bias: vec![0.0; places],
        };
        for place in 0..places {
            let number = isa.interleaved(place);
            if number >= used {
                continue;
            }
            let c = (channel + number) % channels;
            let tap = |row: usize, column: usize| pass.weight[(row * columns + column) * channels + c];
            let taps = || (0..rows * columns).map(|n| (n / columns, n % columns));
            let largest = taps().map(|(row, column)| tap(row, column).abs()).fold(0.0, f32::max);
            let scale = (largest / 127.0).max(f32::MIN_POSITIVE);
            let mut total = 0_i32;
            for (row, column) in taps() {
                let weight = (tap(row, column) / scale).round() as i8;
                total += i32::from(weight);
                block.weight[((row / 4 * columns + column) * places + place) * 4 + row % 4] = weight;
            }
            (block.scale[place], block.sum[place], block.bias[place]) = (scale, total as f32 * scale, bias[c]);
        }
        block
    }
}

/// Computes a pass, and gives the range of what came out, unless it went into bytes.
pub(super) fn run(
    isa: Isa,
    shape: &Shape,
    passes: (&Pass, &BytePass),
    input: QuantizedView,
    out: &mut Output,
) -> Extent {
    let mut extent = Extent::default();
    isa.dispatch_bytes(Run { shape, pass: passes.0, bytes: passes.1, input, out, extent: &mut extent });
    extent
}

struct Run<'a, 'b> {
    shape: &'a Shape,
    pass: &'a Pass,
    bytes: &'a BytePass,
    input: QuantizedView<'a>,
    out: &'a mut Output<'b>,
    extent: &'a mut Extent,
}

impl ByteKernel for Run<'_, '_> {
    #[inline(always)]
    fn run<L: ByteLanes>(mut self) {
        let scale = if self.shape.upsample { 2 } else { 1 };
        let (height, width, _) = self.out.shape();
        let (rows, columns) = (height / scale, width / scale);
        let mut extents = Extents::<L>::default();
        for y in 0..rows {
            for block in &self.bytes.blocks {
                let row = Row { y, columns, scale, block, affine: self.affine::<L>(block) };
                match (self.pass.taps, self.bytes.group * self.shape.stride) {
                    ((3, 3), 1) => self.row::<L, 4, 3, 1>(&row, &mut extents),
                    ((3, 3), 2) => self.row::<L, 4, 3, 2>(&row, &mut extents),
                    _ => self.row::<L, 1, 1, 1>(&row, &mut extents),
                }
            }
        }
        *self.extent = extents.of_lanes();
    }
}

/// One row of outputs of one block.
struct Row<'a, L> {
    y: usize,
    columns: usize,
    /// 2 where a pass makes every second pixel of the upsampled map, else 1.
    scale: usize,
    block: &'a Block,
    /// What makes numbers of sums.
    affine: [(L, L); 4],
}

impl Run<'_, '_> {
    /// Scale and shift of each vector of sums; those of bytes where bytes are written.
    #[inline(always)]
    fn affine<L: ByteLanes>(&self, block: &Block) -> [(L, L); 4] {
        let Block { scale, sum, bias, .. } = block;
        assert!([scale, sum, bias].iter().all(|all| all.len() == 4 * L::N));
        let (step, zero) = (self.input.scale, self.input.zero);
        let inverse = match &self.out {
            Output::Floats(_) => 1.0,
            Output::Bytes(out) => 1.0 / out.scale,
        };
        // SAFETY: each has 4 N numbers, as asserted.
        let [scale, sum, bias] = [scale, sum, bias].map(|all| unsafe { load_block::<L>(all.as_ptr(), 4 * L::N) });
        std::array::from_fn(|v| {
            let plus = sum[v].mul_add(L::splat(-zero * step), bias[v]);
            let times = |x: L, by: f32| x.mul_add(L::splat(by), L::splat(0.0));
            (times(scale[v], step * inverse), times(plus, inverse))
        })
    }

    /// Tiles of M groups; T columns of taps at a time, and outputs S columns of the input apart. A last tile that would hang
    /// over is shifted back over pixels already done, and writes the same numbers again.
    #[inline(always)]
    fn row<L: ByteLanes, const M: usize, const T: usize, const S: usize>(
        &mut self,
        row: &Row<L>,
        extents: &mut Extents<L>,
    ) {
        let (group, columns) = (self.bytes.group, row.columns);
        if columns < group {
            return self.tile::<L, 1, 1, 1>(row, 0, columns * self.shape.outputs, extents);
        }
        let used = row.block.used;
        let mut x = 0;
        while x < columns {
            if columns - x >= M * group {
                self.tile::<L, M, T, S>(row, x, used, extents);
                x += M * group;
            } else if columns >= M * group {
                self.tile::<L, M, T, S>(row, columns - M * group, used, extents);
                x = columns;
            } else {
                self.tile::<L, 1, 1, 1>(row, x.min(columns - group), used, extents);
                x += group;
            }
        }
    }

    /// M groups of pixels from `x` on, `used` numbers of each.
    #[inline(always)]
    fn tile<L: ByteLanes, const M: usize, const T: usize, const S: usize>(
        &mut self,
        row: &Row<L>,
        x: usize,
        used: usize,
        extents: &mut Extents<L>,
    ) {
        let (shape, pass, block) = (self.shape, self.pass, row.block);
        let (data, stride, channels) = (self.input.view.data, self.input.view.stride, shape.outputs);
        let (rows, columns) = pass.taps;
        let first = (row.y * shape.stride + pass.first.0) * stride + (x * shape.stride + pass.first.1) * channels;
        let start = first + block.channel;
        let last = start + (rows - 1) * stride + ((M - 1) * S + columns - 1) * channels;
        assert!(columns.is_multiple_of(T) && 0 < used && used <= 4 * L::N && last + used <= data.len());
        assert_eq!(block.weight.len(), rows.div_ceil(4) * columns * 16 * L::N);

        let mut sums = [[L::zero(); 4]; M];
        for four in (0..rows).step_by(4) {
            for left in (0..columns).step_by(T) {
                // SAFETY: the asserts above bound every address. Rows beyond the last have weights of 0.
                unsafe {
                    let weight = block.weight.as_ptr().add((four / 4 * columns + left) * 16 * L::N);
                    let from = data.as_ptr().add(start + left * channels);
                    let rows: [*const u8; 4] =
                        std::array::from_fn(|r| from.add((if four + r < rows { four + r } else { four }) * stride));
                    for column in 0..(M - 1) * S + T {
                        let pixels = L::interleave(rows.map(|row| row.add(column * channels)), used);
                        for (m, sums) in sums.iter_mut().enumerate() {
                            if m * S <= column && column < m * S + T {
                                let weight = weight.add((column - m * S) * 16 * L::N);
                                for (v, sum) in sums.iter_mut().enumerate() {
                                    *sum = L::dot(*sum, pixels[v], L::weights(weight.add(v * 4 * L::N)));
                                }
                            }
                        }
                    }
                }
            }
        }

        let step = self.bytes.group * row.scale * channels;
        let to = (x * row.scale + pass.phase.1) * channels + block.channel;
        let y = row.y * row.scale + pass.phase.0;
        for (m, sums) in sums.into_iter().enumerate() {
            let mut numbers: [L; 4] =
                std::array::from_fn(|v| L::float(sums[v]).mul_add(row.affine[v].0, row.affine[v].1));
            match self.out {
                Output::Bytes(out) => {
                    let out = &mut out.map.row_mut(y)[to + m * step..][..used];
                    // SAFETY: `out` has so many bytes.
                    unsafe { L::store_bytes_interleaved(numbers, out.as_mut_ptr(), used) }
                }
                Output::Floats(out) => {
                    shape.activation.apply(numbers.iter_mut());
                    let numbers = L::ordered(numbers);
                    let out = &mut out.row_mut(y)[to + m * step..][..used];
                    for (v, number) in numbers.into_iter().enumerate() {
                        let lanes = 0..used.saturating_sub(v * L::N).min(L::N);
                        // SAFETY: `out` has the floats of these lanes. They are read back as others are no numbers of the map.
                        unsafe {
                            let out = out.as_mut_ptr().wrapping_add(v * L::N);
                            match lanes.len() == L::N {
                                true => number.store(out),
                                false => number.store_some(out, lanes.clone()),
                            }
                            extents.add(if lanes.len() == L::N { number } else { L::load_some(out, lanes) });
                        }
                    }
                }
            }
        }
    }
}

/// Whether what this activation leaves is just what the bytes of this scale and zero can hold.
pub(super) fn holds(activation: Activation, scale: f32, zero: f32) -> bool {
    activation == Activation::Relu6 && zero == 0.0 && (scale * 255.0 - 6.0).abs() < 1e-4
}
