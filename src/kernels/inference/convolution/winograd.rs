//! 3x3 convolutions of stride 1 in float32 by F(4x4, 3x3), whose transforms `isa/winograd.rs` has. Numbers that are not finite reach
//! all outputs of their tile.
//!
//! Some tiles at a time, their inputs are transformed to `[place][tile][input]`, the product with the weights of each place is
//! `[place][tile][output]`, and that is transformed back to 4x4 pixels of each tile, with bias and activation.
#![allow(unsafe_code)]
use super::panels::PanelLayout;
use super::{FeatureMap, Isa, MapView, Place};
use crate::kernels::inference::layer_shape::{Activation, Shape};
use crate::kernels::isa::winograd::{IN, OUT, PLACES, of_inputs, of_sums, of_weights};
use crate::kernels::isa::{Extent, Kernel, LaneExtents, Lanes, Left, MOST_LANES, Right, add_products};
use crate::kernels::threads::idle::{Idle, Reusable};
use std::ops::Range;

/// Tiles that are transformed at once: a multiple of the rows of a product's tile.
const TILES: usize = 24;
/// Channels that are transformed at once, of the input and of the output.
const CHANNELS: usize = 128;
/// Values between what belongs to one place and to the next: a line, lest all places meet in one set of the cache.
const LINE: usize = 16;
/// Tiles of a map from which on it is faster.
const FEWEST: usize = 32;

/// The transformed weights.
#[derive(Clone, Debug)]
pub(super) struct Winograd {
    blocks: Vec<Block>,
    /// Filled up to whole vectors.
    bias: Vec<f32>,
}

/// The weights of some outputs and inputs.
#[derive(Clone, Debug)]
struct Block {
    outputs: Range<usize>,
    inputs: Range<usize>,
    layout: PanelLayout,
    /// `[place]`, each as `layout` says.
    weights: Vec<f32>,
}

/// Whether a convolution of this shape has channels enough for each value that is transformed.
pub(super) fn suits(shape: &Shape) -> bool {
    shape.kernel == (3, 3) && shape.stride == 1 && !shape.upsample && shape.inputs >= 32 && shape.outputs >= 64
}

/// Whether it is faster for an output of this height and width: with tiles enough for each weight, not mostly beyond the edge.
pub(super) fn wins((height, width): (usize, usize)) -> bool {
    let tiles = height.div_ceil(OUT) * width.div_ceil(OUT);
    tiles >= FEWEST && 6 * tiles <= height * width
}

impl Winograd {
    pub(super) fn new(isa: Isa, shape: &Shape, weight: &[f32], bias: &[f32]) -> Self {
        let blocks = |n: usize| (0..n).step_by(CHANNELS).map(move |from| from..n.min(from + CHANNELS));
        let block = |outputs: Range<usize>, inputs: Range<usize>| {
            let layout = PanelLayout::new(isa.lanes(), outputs.len(), inputs.len());
            let mut weights = vec![0.0; PLACES * layout.len()];
            let channels = shape.inputs;
            isa.dispatch(Pack {
                weight,
                channels,
                block: (outputs.clone(), inputs.clone()),
                layout,
                out: &mut weights,
            });
            Block { outputs, inputs, layout, weights }
        };
        let blocks = blocks(shape.outputs).flat_map(|outputs| {
            let block = &block;
            blocks(shape.inputs).map(move |inputs| block(outputs.clone(), inputs))
        });
        let mut own = Self { blocks: blocks.collect(), bias: bias.to_vec() };
        own.bias.resize(bias.len().next_multiple_of(MOST_LANES), 0.0);
        own
    }
}

/// `G g G^T` of the weights of a block, from OIHW.
struct Pack<'a> {
    weight: &'a [f32],
    channels: usize,
    block: (Range<usize>, Range<usize>),
    layout: PanelLayout,
    out: &'a mut [f32],
}

impl Kernel for Pack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { weight, channels, block: (outputs, inputs), layout, out } = self;
        for (o, i) in outputs.clone().flat_map(|o| inputs.clone().map(move |i| (o, i))) {
            let taps = &weight[9 * (o * channels + i)..][..9];
            let mut half = [[L::splat(0.0); 3]; IN];
            for x in 0..3 {
                let column = of_weights([0, 1, 2].map(|y| L::splat(taps[3 * y + x])));
                half.iter_mut().zip(column).for_each(|(half, value)| half[x] = value);
            }
            let at = layout.at(i - inputs.start, o - outputs.start);
            for (y, half) in half.into_iter().enumerate() {
                for (x, value) in of_weights(half).into_iter().enumerate() {
                    let mut lanes = [0.0; MOST_LANES];
                    // SAFETY: there is room for the most lanes.
                    unsafe { value.store(lanes.as_mut_ptr()) }
                    out[(y * IN + x) * layout.len() + at] = lanes[0];
                }
            }
        }
    }
}

/// Some tiles, transformed: `[place][tile][channel]`, and a line more after each place.
#[derive(Debug)]
struct Transformed(Vec<f32>);

impl Default for Transformed {
    fn default() -> Self {
        Self(vec![0.0; Self::at(PLACES, 0, 0)])
    }
}

impl Transformed {
    #[inline(always)]
    const fn at(place: usize, tile: usize, channel: usize) -> usize {
        place * (TILES * CHANNELS + LINE) + tile * CHANNELS + channel
    }
}

/// The memory of a call: transformed inputs, and sums.
#[derive(Debug, Default)]
struct Buffers {
    inputs: Transformed,
    sums: Transformed,
}

impl Reusable for Buffers {
    fn bytes(&self) -> usize {
        2 * size_of::<f32>() * Transformed::at(PLACES, 0, 0)
    }
}

/// Gives the range of what a ReLU left.
pub(super) fn run(
    isa: Isa,
    shape: &Shape,
    weights: &Winograd,
    input: MapView,
    out: &mut FeatureMap,
    place: Place,
) -> Extent {
    static KEPT: Idle<Buffers> = Idle::new();
    let mut kept = KEPT.take();
    let Buffers { inputs, sums } = &mut *kept;
    isa.dispatch(Run { shape, weights, input, out, place, inputs, sums })
}

struct Run<'a> {
    shape: &'a Shape,
    weights: &'a Winograd,
    input: MapView<'a>,
    out: &'a mut FeatureMap,
    place: Place,
    inputs: &'a mut Transformed,
    sums: &'a mut Transformed,
}

impl Kernel for Run<'_> {
    type Output = Extent;

    #[inline(always)]
    fn run<L: Lanes>(mut self) -> Extent {
        let mut extents = LaneExtents::<L>::default();
        let across = self.out.width().div_ceil(OUT);
        let all = self.place.rows.len().div_ceil(OUT) * across;
        for first in (0..all).step_by(TILES) {
            let tiles = first..all.min(first + TILES);
            for block in &self.weights.blocks {
                for (n, tile) in tiles.clone().enumerate() {
                    self.transform_input::<L>((tile / across * OUT, tile % across * OUT), block.inputs.clone(), n);
                }
                match L::MANY_REGISTERS {
                    true => self.multiply::<L, 8>(block, tiles.len()),
                    false => self.multiply::<L, 6>(block, tiles.len()),
                }
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
}

impl Run<'_> {
    /// `B^T d B` of some channels of the tile with its corner at an output; zeros stand for what lies beyond the padding.
    #[inline(always)]
    fn transform_input<L: Lanes>(&mut self, (y, x): (usize, usize), channels: Range<usize>, tile: usize) {
        let MapView { data, stride, channels: all, .. } = self.input;
        let (height, width) = self.input.padded_size();
        let (rows, columns) = (IN.min(height - y), IN.min(width - x));
        let corner = y * stride + x * all + channels.start;
        assert!(corner + (rows - 1) * stride + (columns - 1) * all + channels.len() <= data.len());
        assert!(Transformed::at(PLACES - 1, tile, channels.len().next_multiple_of(L::N)) <= self.inputs.0.len());
        for at in (0..channels.len()).step_by(L::N) {
            let lanes = L::N.min(channels.len() - at);
            let mut half = [[L::splat(0.0); IN]; IN];
            for x in 0..columns {
                let mut values = [L::splat(0.0); IN];
                for (y, value) in values.iter_mut().enumerate().take(rows) {
                    // SAFETY: the first assert bounds the last row and column.
                    *value = unsafe {
                        let from = data.as_ptr().add(corner + y * stride + x * all + at);
                        if lanes == L::N { L::load(from) } else { L::load_some(from, 0..lanes) }
                    };
                }
                half.iter_mut().zip(of_inputs(values)).for_each(|(half, value)| half[x] = value);
            }
            for (y, half) in half.into_iter().enumerate() {
                for (x, value) in of_inputs(half).into_iter().enumerate() {
                    // SAFETY: the second assert bounds the last place.
                    unsafe { value.store(self.inputs.0.as_mut_ptr().add(Transformed::at(y * IN + x, tile, at))) }
                }
            }
        }
    }

    /// The products of each place, on top of those of the block's inputs before; of more tiles than there are, up to whole tiles of
    /// M of them.
    #[inline(always)]
    fn multiply<L: Lanes, const M: usize>(&mut self, block: &Block, tiles: usize) {
        let Block { layout, weights, inputs, .. } = block;
        assert!(TILES.is_multiple_of(M) && tiles <= TILES && layout.outputs() <= CHANNELS);
        for place in 0..PLACES {
            let weights = &weights[place * layout.len()..][..layout.len()];
            for first in (0..layout.outputs()).step_by(2 * L::N) {
                let panel = &weights[layout.panel(first)..];
                for tile in (0..tiles).step_by(M) {
                    let (from, to) = (Transformed::at(place, tile, 0), Transformed::at(place, tile, first));
                    match first + L::N < layout.outputs() {
                        true => self.product::<L, M, 2>(inputs.clone(), panel, from, to),
                        false => self.product::<L, M, 1>(inputs.clone(), panel, from, to),
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn product<L: Lanes, const M: usize, const V: usize>(
        &mut self,
        inputs: Range<usize>,
        panel: &[f32],
        from: usize,
        to: usize,
    ) {
        let depth = inputs.len();
        assert!(depth <= CHANNELS && depth * V * L::N <= panel.len() && from + M * CHANNELS <= self.inputs.0.len());
        assert!(to + (M - 1) * CHANNELS + V * L::N <= self.sums.0.len());
        let mut sums = [[L::splat(0.0); V]; M];
        // SAFETY: the asserts above bound every address.
        unsafe {
            let place = self.sums.0.as_mut_ptr().add(to);
            if inputs.start > 0 {
                for (m, sums) in sums.iter_mut().enumerate() {
                    for (v, sum) in sums.iter_mut().enumerate() {
                        *sum = L::load(place.add(m * CHANNELS + v * L::N));
                    }
                }
            }
            let left = Left { from: self.inputs.0.as_ptr().add(from), row: CHANNELS, step: 1 };
            add_products(&mut sums, left, Right { from: panel.as_ptr(), row: V * L::N }, depth);
            for (m, sums) in sums.into_iter().enumerate() {
                for (v, sum) in sums.into_iter().enumerate() {
                    sum.store(place.add(m * CHANNELS + v * L::N));
                }
            }
        }
    }

    /// `A^T m A` of some channels of a tile, or of as much of it as the map has, with bias and activation.
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
        assert!(Transformed::at(PLACES - 1, tile, padded) <= self.sums.0.len());
        let activation = self.shape.activation;
        for at in (0..outputs.len()).step_by(L::N) {
            let lanes = L::N.min(outputs.len() - at);
            let mut half = [[L::splat(0.0); IN]; OUT];
            for x in 0..IN {
                let mut values = [L::splat(0.0); IN];
                for (y, value) in values.iter_mut().enumerate() {
                    // SAFETY: the second assert bounds the last place.
                    *value = unsafe { L::load(self.sums.0.as_ptr().add(Transformed::at(y * IN + x, tile, at))) };
                }
                half.iter_mut().zip(of_sums(values)).for_each(|(half, value)| half[x] = value);
            }
            // SAFETY: the first assert bounds whole vectors of the bias.
            let bias = unsafe { L::load(bias.as_ptr().add(at)) };
            for (y, half) in half.into_iter().enumerate().take(height) {
                let mut values = of_sums(half);
                values.iter_mut().for_each(|value| *value = value.mul_add(L::splat(1.0), bias));
                activation.apply(values.iter_mut());
                for (x, value) in values.into_iter().enumerate().take(width) {
                    if activation == Activation::Relu {
                        extents.add(value);
                    }
                    // SAFETY: the first assert bounds the last row and column; lanes beyond the outputs are not touched.
                    unsafe {
                        let to = out.as_mut_ptr().add(corner + y * stride + x * all + at);
                        if lanes == L::N { value.store(to) } else { value.store_some(to, 0..lanes) }
                    }
                }
            }
        }
    }
}
