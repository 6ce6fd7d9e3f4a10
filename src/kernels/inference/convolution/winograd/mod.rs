//! 3x3 convolutions of stride 1 by Winograd's F(4x4, 3x3), with the transforms of `isa/winograd.rs`. A non-finite input affects
//! all outputs of each tile that reads it.
//!
//! A *place* is the position of an element in a transformed tile. A batch of tiles is computed in three steps:
//!
//! - Transform the inputs to `[place][tile][input]`.
//! - Multiply by the weights of each place, which gives `[place][tile][output]`.
//! - Transform back to 4x4 pixels of each tile, with bias and activation.
//!
//! The transforms are in float32. The products are in 16-bit words on byte paths, otherwise in float32.
#![allow(unsafe_code)]
mod floats;
mod words;

use super::{FeatureMap, Isa, MapView, Place};
use crate::kernels::inference::layer_shape::{Activation, Shape};
use crate::kernels::isa::winograd::{IN, OUT, PLACES, of_inputs, of_sums};
use crate::kernels::isa::{Extent, LaneExtents, Lanes, MOST_LANES, prefetch};
use crate::kernels::threads::idle::Reusable;
pub(super) use floats::Floats;
use std::ops::Range;
pub(super) use words::Words;

/// Maximum number of tiles in the buffers.
const TILES: usize = 32;
/// Maximum number of input channels, and of output channels, that are transformed at once.
const CHANNELS: usize = 128;
/// Number of padding values between two places: a cache line of floats. Without padding, all places would map to the same cache
/// set.
const LINE: usize = 16;
/// Minimum number of tiles of a map for which this method is faster than a direct convolution.
const FEWEST: usize = 32;

/// The transformed weights of a convolution.
#[derive(Clone, Debug)]
pub(super) struct Winograd<W> {
    blocks: Vec<Block<W>>,
    /// The bias, padded to whole vectors.
    bias: Vec<f32>,
}

/// The weights of a range of outputs and a range of inputs.
#[derive(Clone, Debug)]
struct Block<W> {
    outputs: Range<usize>,
    inputs: Range<usize>,
    weights: W,
}

/// Returns whether this method suits convolutions of this shape: 3x3, stride 1, no upsampling, and at least 32 inputs and 64
/// outputs to outweigh the cost of the transforms.
pub(super) fn suits(shape: &Shape) -> bool {
    shape.kernel == (3, 3) && shape.stride == 1 && !shape.upsample && shape.inputs >= 32 && shape.outputs >= 64
}

/// Returns whether this method is faster for an output of this height and width. There must be at least `FEWEST` tiles, and at
/// least 3/8 of their pixels must be inside the map.
pub(super) fn wins((height, width): (usize, usize)) -> bool {
    let tiles = height.div_ceil(OUT) * width.div_ceil(OUT);
    tiles >= FEWEST && 6 * tiles <= height * width
}

impl<W> Winograd<W> {
    /// Packs the weights of each block with `pack`, which takes ranges of outputs and inputs.
    fn of_blocks(shape: &Shape, bias: &[f32], pack: impl Fn(Range<usize>, Range<usize>) -> W) -> Self {
        let ranges = |n: usize| (0..n).step_by(CHANNELS).map(move |from| from..n.min(from + CHANNELS));
        let pairs = ranges(shape.outputs).flat_map(|outputs| ranges(shape.inputs).map(move |i| (outputs.clone(), i)));
        let block = |(outputs, inputs): (Range<usize>, Range<usize>)| {
            let weights = pack(outputs.clone(), inputs.clone());
            Block { outputs, inputs, weights }
        };
        let mut bias = bias.to_vec();
        bias.resize(bias.len().next_multiple_of(MOST_LANES), 0.0);
        Self { blocks: pairs.map(block).collect(), bias }
    }
}

/// The transformed weights of a block, in float32 or in words.
trait Factors<L: Lanes> {
    /// Type of a transformed input.
    type Number: Copy + Default;

    /// Writes a vector of transformed inputs. If the type is an integer, the inputs are first multiplied by `by`.
    ///
    /// # Safety
    /// `to` is valid for writes of a vector.
    unsafe fn store(x: L, by: f32, to: *mut Self::Number);

    /// Multiplies M rows of inputs by the weights of V vectors of outputs starting at `first`, and writes M rows of `to`.
    /// Rows are [`CHANNELS`] values apart, in the inputs and in `to`.
    fn product<const M: usize, const V: usize>(&self, at: Product<Self::Number>, first: usize, to: &mut [f32]);
}

/// The arguments of one product of M tiles at one place.
#[derive(Clone, Copy)]
struct Product<'a, N> {
    place: usize,
    /// The transformed inputs, starting with the first input of the first row.
    inputs: &'a [N],
    /// Scale of the transformed inputs.
    step: f32,
    /// Whether the products are added to the sums in memory.
    adds: bool,
    /// Index of this product among the products with the same weights, and the number of these products. Each product
    /// prefetches its share of the next weights.
    share: (usize, usize),
}

/// Type of the values of the input map.
trait Value: Copy {
    /// Loads the next `lanes` values as floats. From bytes, `zero` is subtracted.
    ///
    /// # Safety
    /// `from` is valid for reads of `lanes` values.
    unsafe fn load<L: Lanes>(from: *const Self, lanes: usize, zero: f32) -> L;
}

impl Value for f32 {
    #[inline(always)]
    unsafe fn load<L: Lanes>(from: *const f32, lanes: usize, _: f32) -> L {
        // SAFETY: guaranteed by the caller.
        unsafe { if lanes == L::N { L::load(from) } else { L::load_some(from, 0..lanes) } }
    }
}

impl Value for u8 {
    #[inline(always)]
    unsafe fn load<L: Lanes>(from: *const u8, lanes: usize, zero: f32) -> L {
        // SAFETY: guaranteed by the caller.
        let bytes = unsafe { L::load_pixels(from, 0..lanes) };
        bytes.mul_add(L::splat(1.0), L::splat(-zero))
    }
}

/// The input map.
#[derive(Clone, Copy)]
struct Source<'a, V> {
    view: MapView<'a, V>,
    /// The byte that represents 0; unused for a float32 map.
    zero: f32,
    /// Factor by which the transformed inputs of each place are multiplied.
    by: [f32; PLACES],
    /// Scale of the values of the map.
    step: f32,
}

/// A batch of transformed tiles: `[place][tile][channel]`, with a line of padding after each place.
#[derive(Debug)]
struct Transformed<N>(Vec<N>);

impl<N: Copy + Default> Default for Transformed<N> {
    fn default() -> Self {
        Self(vec![N::default(); at(PLACES, 0, 0)])
    }
}

/// Index of a value in [`Transformed`].
#[inline(always)]
const fn at(place: usize, tile: usize, channel: usize) -> usize {
    place * (TILES * CHANNELS + LINE) + tile * CHANNELS + channel
}

/// The buffers of a call: transformed inputs, and sums of products.
#[derive(Debug, Default)]
struct Buffers<N: Copy + Default> {
    inputs: Transformed<N>,
    sums: Transformed<f32>,
}

impl<N: Copy + Default> Reusable for Buffers<N> {
    fn bytes(&self) -> usize {
        (size_of::<N>() + size_of::<f32>()) * at(PLACES, 0, 0)
    }
}

/// The state of a convolution.
struct Run<'a, W, V, N: Copy + Default> {
    shape: &'a Shape,
    weights: &'a Winograd<W>,
    source: Source<'a, V>,
    out: &'a mut FeatureMap,
    place: Place,
    buffers: &'a mut Buffers<N>,
}

impl<W, V, N: Copy + Default> Run<'_, W, V, N> {
    /// Computes the convolution. Tiles are transformed `at_once` at a time, and multiplied M at a time. Returns the range of
    /// the outputs if the activation is ReLU, otherwise [0, 0].
    #[inline(always)]
    fn run<L: Lanes, const M: usize>(mut self, at_once: usize) -> Extent
    where
        W: Factors<L, Number = N>,
        V: Value,
    {
        let mut extents = LaneExtents::<L>::default();
        let across = self.out.width().div_ceil(OUT);
        let all = self.place.rows.len().div_ceil(OUT) * across;
        for first in (0..all).step_by(at_once) {
            let tiles = first..all.min(first + at_once);
            for block in &self.weights.blocks {
                for (n, tile) in tiles.clone().enumerate() {
                    self.transform_input::<L>((tile / across * OUT, tile % across * OUT), block.inputs.clone(), n);
                }
                self.multiply::<L, M>(block, tiles.len());
                if block.inputs.end < self.shape.inputs {
                    continue;
                }
                for (n, tile) in tiles.clone().enumerate() {
                    let corner = (tile / across * OUT, tile % across * OUT);
                    self.transform_sums::<L>(corner, block.outputs.clone(), n, &mut extents);
                }
            }
        }
        extents.of_lanes()
    }

    /// Computes `B^T d B` for some channels of the tile with this top-left corner. Values beyond the padding are zeros.
    #[inline(always)]
    fn transform_input<L: Lanes>(&mut self, (y, x): (usize, usize), channels: Range<usize>, tile: usize)
    where
        W: Factors<L, Number = N>,
        V: Value,
    {
        let &MapView { data, stride, channels: all, .. } = &self.source.view;
        let (height, width) = self.source.view.padded_size();
        let (rows, columns) = (IN.min(height - y), IN.min(width - x));
        let corner = y * stride + x * all + channels.start;
        assert!(corner + (rows - 1) * stride + (columns - 1) * all + channels.len() <= data.len());
        assert!(at(PLACES - 1, tile, channels.len().next_multiple_of(L::N)) <= self.buffers.inputs.0.len());
        for channel in (0..channels.len()).step_by(L::N) {
            let lanes = L::N.min(channels.len() - channel);
            let to = at(0, tile, channel);
            // SAFETY: the first assert bounds the last row and column, the second the last element.
            unsafe {
                match (rows, columns) == (IN, IN) && lanes == L::N {
                    true => self.transform_inputs::<L>(corner + channel, (IN, IN), L::N, to),
                    false => self.transform_inputs::<L>(corner + channel, (rows, columns), lanes, to),
                }
            }
        }
    }

    /// Transforms `lanes` channels of `rows` x `columns` values. `from` is the index of the first value in the map; `to` is the
    /// index of the first result, within each place.
    ///
    /// # Safety
    /// All elements to read and to write are in bounds.
    #[inline(always)]
    unsafe fn transform_inputs<L: Lanes>(
        &mut self,
        from: usize,
        (rows, columns): (usize, usize),
        lanes: usize,
        to: usize,
    ) where
        W: Factors<L, Number = N>,
        V: Value,
    {
        let Source { view, zero, by, .. } = &self.source;
        let inputs = self.buffers.inputs.0.as_mut_ptr();
        let mut half = [[L::splat(0.0); IN]; IN];
        for x in 0..columns {
            let mut values = [L::splat(0.0); IN];
            for (y, value) in values.iter_mut().enumerate().take(rows) {
                let value_at = view.data.as_ptr().wrapping_add(from + y * view.stride + x * view.channels);
                // SAFETY: guaranteed by the caller.
                *value = unsafe { V::load(value_at, lanes, *zero) };
                // The next tile starts with the last columns of this one.
                if x >= IN - OUT {
                    prefetch(value_at.wrapping_add(OUT * view.channels));
                }
            }
            half.iter_mut().zip(of_inputs(values)).for_each(|(half, value)| half[x] = value);
        }
        for (y, half) in half.into_iter().enumerate() {
            for (x, value) in of_inputs(half).into_iter().enumerate() {
                let place = y * IN + x;
                // SAFETY: as above.
                unsafe { W::store(value, by[place], inputs.add(to + at(place, 0, 0))) }
            }
        }
    }

    /// Computes the products of each place, and adds them to the sums over the preceding blocks of inputs. The number of tiles
    /// is rounded up to a multiple of M.
    #[inline(always)]
    fn multiply<L: Lanes, const M: usize>(&mut self, block: &Block<W>, tiles: usize)
    where
        W: Factors<L, Number = N>,
    {
        let Block { weights, inputs, outputs } = block;
        assert!(tiles.next_multiple_of(M) <= TILES && outputs.len() <= CHANNELS);
        let (from, to) = (&self.buffers.inputs.0, &mut self.buffers.sums.0);
        for place in 0..PLACES {
            let step = self.source.step / self.source.by[place];
            for first in (0..outputs.len()).step_by(2 * L::N) {
                for tile in (0..tiles).step_by(M) {
                    let rows = &from[at(place, tile, 0)..];
                    let share = (tile / M, tiles.div_ceil(M));
                    let product = Product { place, inputs: rows, step, adds: inputs.start > 0, share };
                    let to = &mut to[at(place, tile, first)..];
                    match first + L::N < outputs.len() {
                        true => weights.product::<M, 2>(product, first, to),
                        false => weights.product::<M, 1>(product, first, to),
                    }
                }
            }
        }
    }

    /// Computes `A^T m A` from the sums m of some channels of a tile, cropped to the map, with bias and activation.
    #[inline(always)]
    fn transform_sums<L: Lanes>(
        &mut self,
        (y, x): (usize, usize),
        outputs: Range<usize>,
        tile: usize,
        extents: &mut LaneExtents<L>,
    ) {
        let Place { ref rows, channel } = self.place;
        let (height, width) = (OUT.min(rows.len() - y), OUT.min(self.out.width() - x));
        let (stride, all) = (self.out.stride(), self.out.channels());
        let corner = self.out.origin() + (rows.start + y) * stride + x * all + channel + outputs.start;
        let (bias, out) = (&self.weights.bias[outputs.start..], self.out.as_mut_slice());
        let padded = outputs.len().next_multiple_of(L::N);
        assert!(
            corner + (height - 1) * stride + (width - 1) * all + outputs.len() <= out.len() && padded <= bias.len()
        );
        assert!(at(PLACES - 1, tile, padded) <= self.buffers.sums.0.len());
        for channel in (0..outputs.len()).step_by(L::N) {
            let lanes = L::N.min(outputs.len() - channel);
            let (from, to) = (at(0, tile, channel), (corner + channel, outputs.start + channel));
            // SAFETY: the first assert bounds the last row and column and whole vectors of the bias, the second the last
            // element.
            unsafe {
                match (height, width) == (OUT, OUT) && lanes == L::N {
                    true => self.transform_back::<L>(from, to, (OUT, OUT), L::N, extents),
                    false => self.transform_back::<L>(from, to, (height, width), lanes, extents),
                }
            }
        }
    }

    /// Transforms `lanes` channels of sums back to `rows` x `columns` values, with bias and activation. `from` is the index of
    /// the first sum within each place, `to` the index of the first value in the map, and `output` the first output channel.
    ///
    /// # Safety
    /// All elements to read and to write are in bounds.
    #[inline(always)]
    unsafe fn transform_back<L: Lanes>(
        &mut self,
        from: usize,
        (to, output): (usize, usize),
        (rows, columns): (usize, usize),
        lanes: usize,
        extents: &mut LaneExtents<L>,
    ) {
        let (stride, all, activation) = (self.out.stride(), self.out.channels(), self.shape.activation);
        let sums = self.buffers.sums.0.as_ptr();
        let mut half = [[L::splat(0.0); IN]; OUT];
        for x in 0..IN {
            // SAFETY: guaranteed by the caller.
            let values = std::array::from_fn(|y| unsafe { L::load(sums.add(from + at(y * IN + x, 0, 0))) });
            half.iter_mut().zip(of_sums(values)).for_each(|(half, value)| half[x] = value);
        }
        // SAFETY: as above.
        let bias = unsafe { L::load(self.weights.bias.as_ptr().add(output)) };
        let out = self.out.as_mut_slice().as_mut_ptr();
        for (y, half) in half.into_iter().enumerate().take(rows) {
            let mut values = of_sums(half);
            values.iter_mut().for_each(|value| *value = value.mul_add(L::splat(1.0), bias));
            activation.apply(values.iter_mut());
            for (x, value) in values.into_iter().enumerate().take(columns) {
                if activation == Activation::Relu {
                    extents.add(value);
                }
                // SAFETY: as above; lanes beyond the outputs are not touched.
                unsafe {
                    let to = out.add(to + y * stride + x * all);
                    if lanes == L::N { value.store(to) } else { value.store_some(to, 0..lanes) }
                }
            }
        }
    }
}
