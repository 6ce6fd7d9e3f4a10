//! Depthwise convolution in bytes: one instruction multiplies and sums four rows of taps.
//!
//! Blocks of bytes (see [`ByteLanes`]) from up to four rows are interleaved. Each lane then holds four values of one channel:
//! the values of four rows under one column of taps. If several pixels fit into a block, the lanes hold the channels of each of
//! these pixels. As in the dense convolution,
//! `out = scale_in * scale[c] * (sum of q w - zero * sum of w) + bias[c]`.
#![allow(unsafe_code)]
use super::taps::{ORDER, TapLayout};
use super::{Activation, Extent, Isa, Output, Pass, Shape};
use crate::kernels::inference::feature_map::FeatureMap;
use crate::kernels::inference::quantize::{self, QuantizedView};
use crate::kernels::isa::{ByteKernel, ByteLanes, LaneExtents, MOST_LANES};
use std::marker::PhantomData;

/// The quantized weights of a pass.
#[derive(Clone, Debug)]
pub(super) struct BytePass {
    /// Number of pixels in a block.
    group: usize,
    blocks: Vec<Block>,
}

/// Parameters of the lanes of a block, all in the order of an interleaved block.
#[derive(Clone, Debug)]
struct Block {
    /// The first channel.
    channel: usize,
    /// Number of positions in use.
    used: usize,
    /// The channel of each position; 0 for positions not in use.
    channels: Vec<usize>,
    /// Weights in the order of [`TapLayout`].
    weight: Vec<i8>,
    /// Scale of the weights.
    scale: Vec<f32>,
    /// Sum of the quantized weights, times the scale of the weights.
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
        let layout = TapLayout::new(pass.taps, places);
        let mut block = Self {
            channel,
            used,
            channels: vec![0; places],
            weight: vec![0; layout.len()],
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
            block.channels[place] = c;
            let mut taps = vec![0.0; layout.depth()];
            for tap in (0..rows * columns).map(|n| (n / columns, n % columns)) {
                taps[layout.tap(tap)] = pass.weight[pass.at(tap, c)];
            }
            let (taps, scale) = quantize::weights(isa, &taps, (rows * columns) as f32);
            for (tap, &weight) in taps.iter().enumerate() {
                block.weight[layout.at(tap, place)] = weight;
            }
            let total: i32 = taps.iter().map(|&w| i32::from(w)).sum();
            (block.scale[place], block.sum[place], block.bias[place]) = (scale, total as f32 * scale, bias[c]);
        }
        block
    }
}

/// Computes a pass, and returns the range of float32 outputs. For outputs in bytes, the returned range is [0, 0].
pub(super) fn run(
    isa: Isa,
    shape: &Shape,
    passes: (&Pass, &BytePass),
    input: QuantizedView,
    out: &mut Output,
) -> Extent {
    let mut extent = Extent::default();
    let (pass, bytes) = passes;
    match out {
        Output::Floats(out) => {
            isa.dispatch_bytes(Run { shape, pass, bytes, input, inverse: 1.0, out, extent: &mut extent });
        }
        Output::Bytes(out) => {
            let inverse = 1.0 / out.scale[0];
            isa.dispatch_bytes(Run { shape, pass, bytes, input, inverse, out: &mut out.map, extent: &mut extent });
        }
    }
    extent
}

struct Run<'a, N> {
    shape: &'a Shape,
    pass: &'a Pass,
    bytes: &'a BytePass,
    input: QuantizedView<'a>,
    /// Factor by which values are multiplied before they are stored.
    inverse: f32,
    out: &'a mut FeatureMap<N>,
    extent: &'a mut Extent,
}

/// Type of the stored values.
trait Number: Copy + Default {
    /// Stores the first `used` values of an interleaved block. Float32 values also extend `extents`; for bytes, the range is
    /// already known.
    ///
    /// # Safety
    /// `to` is valid for `used` writes.
    unsafe fn store<L: ByteLanes>(
        block: [L; 4],
        activation: Activation,
        to: *mut Self,
        used: usize,
        extents: &mut LaneExtents<L>,
    );
}

impl Number for u8 {
    /// Applies no activation: these bytes cannot represent values that the activation would clip (see [`holds`]).
    #[inline(always)]
    unsafe fn store<L: ByteLanes>(block: [L; 4], _: Activation, to: *mut u8, used: usize, _: &mut LaneExtents<L>) {
        // SAFETY: guaranteed by the caller.
        unsafe { L::store_bytes_interleaved(block, to, used) }
    }
}

impl Number for f32 {
    #[inline(always)]
    unsafe fn store<L: ByteLanes>(
        mut block: [L; 4],
        activation: Activation,
        to: *mut f32,
        used: usize,
        extents: &mut LaneExtents<L>,
    ) {
        activation.apply(block.iter_mut());
        for (v, x) in L::ordered(block).into_iter().enumerate() {
            let (to, lanes) = (to.wrapping_add(v * L::N), used.saturating_sub(v * L::N).min(L::N));
            // SAFETY: guaranteed by the caller.
            unsafe {
                if lanes == L::N {
                    x.store(to);
                    extents.add(x);
                } else {
                    x.store_some(to, 0..lanes);
                    // Read back, because the other lanes are not values of the map.
                    extents.add(L::load_some(to, 0..lanes));
                }
            }
        }
    }
}

impl<N: Number> ByteKernel for Run<'_, N> {
    #[inline(always)]
    fn run<L: ByteLanes>(self) {
        let Self { shape, pass, bytes, input, inverse, out, extent } = self;
        let scale = if shape.upsample { 2 } else { 1 };
        let (rows, columns) = (out.height() / scale, out.width() / scale);
        let mut extents = LaneExtents::<L>::default();
        for block in &bytes.blocks {
            let affine = block.affine::<L>(input, inverse);
            for y in 0..rows {
                let out = &mut out.row_mut(y * scale + pass.phase.0)[pass.phase.1 * shape.outputs..];
                let extents = &mut extents;
                let mut row = Row { shape, pass, input, y, block, affine, out, group: bytes.group, scale, extents };
                match (pass.taps, bytes.group * shape.stride) {
                    ((3, 3), 1) => row.three_by_three::<1>(columns),
                    ((3, 3), 2) => row.three_by_three::<2>(columns),
                    _ => row.tiles::<1, 1, 1, false>(columns),
                }
            }
        }
        *extent = extents.of_lanes();
    }
}

impl Block {
    /// Returns the factor and the summand that convert each vector of sums to values.
    #[inline(always)]
    fn affine<L: ByteLanes>(&self, input: QuantizedView, inverse: f32) -> [(L, L); 4] {
        let (mut by, mut plus) = ([0.0_f32; 4 * MOST_LANES], [0.0_f32; 4 * MOST_LANES]);
        for place in 0..4 * L::N {
            let channel = self.channels[place];
            let (scale, zero) = (input.scale[channel % input.scale.len()], input.zero[channel % input.zero.len()]);
            by[place] = self.scale[place] * scale * inverse;
            plus[place] = (self.bias[place] - self.sum[place] * scale * f32::from(zero)) * inverse;
        }
        let mut affine = [(L::splat(0.0), L::splat(0.0)); 4];
        for (v, affine) in affine.iter_mut().enumerate() {
            // SAFETY: there is room for four vectors of any instruction set.
            *affine = unsafe { (L::load(by.as_ptr().add(v * L::N)), L::load(plus.as_ptr().add(v * L::N))) };
        }
        affine
    }
}

/// The computation of one row of outputs for one block.
struct Row<'a, 'b, L, N> {
    shape: &'a Shape,
    pass: &'a Pass,
    input: QuantizedView<'a>,
    y: usize,
    block: &'a Block,
    affine: [(L, L); 4],
    /// The output row, starting with the first pixel of the phase.
    out: &'b mut [N],
    /// Number of pixels in a block.
    group: usize,
    /// Distance between adjacent outputs of a pass, in output pixels: 2 with upsampling, otherwise 1.
    scale: usize,
    extents: &'b mut LaneExtents<L>,
}

impl<L: ByteLanes, N: Number> Row<'_, '_, L, N> {
    /// Computes a row with 3x3 taps. Tiles have as many groups of pixels as fit in the vector registers.
    #[inline(always)]
    fn three_by_three<const S: usize>(&mut self, columns: usize) {
        match (self.block.used == 4 * L::N, L::MANY_REGISTERS) {
            (true, true) => self.tiles::<4, 3, S, true>(columns),
            (false, true) => self.tiles::<4, 3, S, false>(columns),
            (true, false) => self.tiles::<2, 3, S, true>(columns),
            (false, false) => self.tiles::<2, 3, S, false>(columns),
        }
    }

    /// Computes tiles of M groups of pixels, with T columns of taps at a time. Adjacent groups are S input columns apart. A
    /// last tile that would extend beyond the row is shifted back, and computes some pixels again.
    #[inline(always)]
    fn tiles<const M: usize, const T: usize, const S: usize, const FULL: bool>(&mut self, columns: usize) {
        let group = self.group;
        if columns < group {
            return self.tile::<1, 1, 1, false>(0, columns * self.shape.outputs);
        }
        let used = self.block.used;
        let mut x = 0;
        while x < columns {
            if columns - x >= M * group {
                self.tile::<M, T, S, FULL>(x, used);
                x += M * group;
            } else if columns >= M * group {
                self.tile::<M, T, S, FULL>(columns - M * group, used);
                x = columns;
            } else {
                self.tile::<1, 1, 1, false>(x.min(columns - group), used);
                x += group;
            }
        }
    }

    /// Computes M groups of pixels starting at `x`, with `used` values each. If FULL, each group fills a block.
    #[inline(always)]
    fn tile<const M: usize, const T: usize, const S: usize, const FULL: bool>(&mut self, x: usize, used: usize) {
        let (shape, pass, block) = (self.shape, self.pass, self.block);
        let used = if FULL { 4 * L::N } else { used };
        let (data, stride, channels) = (self.input.view.data, self.input.view.stride, shape.outputs);
        let (rows, columns) = pass.taps;
        let first = (self.y * shape.stride + pass.first.0) * stride + (x * shape.stride + pass.first.1) * channels;
        let start = first + block.channel;
        let last = start + (rows - 1) * stride + ((M - 1) * S + columns - 1) * channels;
        assert!(0 < used && used <= 4 * L::N && last + used <= data.len());
        assert_eq!(block.weight.len(), TapLayout::new(pass.taps, 4 * L::N).len());

        let mut sums = [[L::zero(); 4]; M];
        // SAFETY: the asserts above bound every address. Rows beyond the last have weights of 0.
        unsafe {
            let (weight, from) = (block.weight.as_ptr(), data.as_ptr().add(start));
            if rows <= 4 && columns == T {
                let rows = ORDER.map(|r| from.add(r.min(rows - 1) * stride));
                Columns::<L, M, T, S> { rows, channels, used, weight, lanes: PhantomData }.add_all(&mut sums);
            } else {
                for n in 0..rows.div_ceil(4) * columns {
                    let (first, column) = (n / columns * 4, n % columns);
                    let rows = ORDER.map(|r| from.add((first + r).min(rows - 1) * stride + column * channels));
                    let weight = weight.add(n * TapLayout::column(4 * L::N));
                    Columns::<L, M, 1, S> { rows, channels, used, weight, lanes: PhantomData }.add_all(&mut sums);
                }
            }
        }

        let step = self.group * self.scale * channels;
        let out = &mut self.out[x * self.scale * channels + block.channel..];
        assert!((M - 1) * step + used <= out.len());
        let (out, affine) = (out.as_mut_ptr(), self.affine);
        for (m, sums) in sums.into_iter().enumerate() {
            let [a, b, c, d] = affine;
            let block = [
                L::float(sums[0]).mul_add(a.0, a.1),
                L::float(sums[1]).mul_add(b.0, b.1),
                L::float(sums[2]).mul_add(c.0, c.1),
                L::float(sums[3]).mul_add(d.0, d.1),
            ];
            // SAFETY: the assert above bounds every address.
            unsafe { N::store(block, shape.activation, out.add(m * step), used, self.extents) }
        }
    }
}

/// Up to four rows of T columns of taps, for M outputs that are S input columns apart.
struct Columns<L, const M: usize, const T: usize, const S: usize> {
    rows: [*const u8; 4],
    channels: usize,
    used: usize,
    weight: *const i8,
    lanes: PhantomData<L>,
}

impl<L: ByteLanes, const M: usize, const T: usize, const S: usize> Columns<L, M, T, S> {
    /// Adds the products of all columns to the sums.
    ///
    /// # Safety
    /// Rows and weights are valid for all columns.
    #[inline(always)]
    unsafe fn add_all(&self, sums: &mut [[L::Sums; 4]; M]) {
        // SAFETY: guaranteed by the caller. Not a loop: only with constant indices do the sums stay in registers.
        unsafe {
            self.add::<0>(sums);
            self.add::<1>(sums);
            self.add::<2>(sums);
            self.add::<3>(sums);
            self.add::<4>(sums);
            self.add::<5>(sums);
            self.add::<6>(sums);
            self.add::<7>(sums);
            self.add::<8>(sums);
        }
    }

    /// Adds the products of input column X to the sums of the outputs whose taps cover this column. Does nothing if X is beyond
    /// the last column.
    ///
    /// # Safety
    /// Rows and weights are valid for all columns.
    #[inline(always)]
    unsafe fn add<const X: usize>(&self, sums: &mut [[L::Sums; 4]; M]) {
        const { assert!((M - 1) * S + T <= 9, "columns are counted up to 9") };
        if X >= (M - 1) * S + T {
            return;
        }
        // SAFETY: guaranteed by the caller.
        let pixels = unsafe {
            let [a, b, c, d] = self.rows;
            let at = X * self.channels;
            L::interleave([a.add(at), b.add(at), c.add(at), d.add(at)], self.used)
        };
        for (m, sums) in sums.iter_mut().enumerate() {
            if m * S <= X && X < m * S + T {
                // SAFETY: guaranteed by the caller.
                unsafe {
                    let weight = self.weight.add((X - m * S) * TapLayout::column(4 * L::N));
                    for (v, sum) in sums.iter_mut().enumerate() {
                        *sum = L::dot(*sum, pixels[v], L::weights(weight.add(TapLayout::four(v * L::N))));
                    }
                }
            }
        }
    }
}

/// Returns whether the activation is ReLU6, and the bytes represent exactly its range [0, 6].
pub(super) fn holds(activation: Activation, bytes: QuantizedView) -> bool {
    let of_relu6 = |scale: f32| (scale * 255.0 - 6.0).abs() < 1e-4;
    activation == Activation::Relu6 && bytes.zero == [0] && matches!(bytes.scale, &[scale] if of_relu6(scale))
}
