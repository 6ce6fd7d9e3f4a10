//! 3x3 convolutions of stride 1 by Winograd's F(4x4, 3x3); `isa/winograd.rs` has the transforms. A non-finite value spreads to
//! all outputs of its tile.
//!
//! A *place* is the position of an element in a transformed tile. For each place, there is one matrix product over channels.
//! Tiles and channels are transformed in batches that stay in the L2 cache.
#![allow(unsafe_code)]
use super::layout::{Nhwc, Panels};
use super::product::{Matrix, product};
use super::{Isa, Kernel, Lanes, Shape, panel, room};
use crate::kernels::isa::winograd::{IN, OUT, PLACES, of_inputs, of_sums, of_weights};
use crate::kernels::threads::pool;
use std::ops::Range;

/// Number of tiles that are transformed at once.
const TILES: usize = 24;
/// Number of channels that are transformed at once. This applies to input and output channels.
const CHANNELS: usize = 128;
/// Padding between two places: a cache line. Without padding, all places would map to the same cache set.
const LINE: usize = 16;
/// Approximate number of tiles in one thread's share.
const SHARE: usize = 2 * TILES;

/// Returns whether this method is faster, according to measurements. It needs at least 16 input and 16 output channels, at
/// least 24 tiles in the batch, and on average at least 6 of the 16 outputs of a tile within the map.
pub(super) fn wins(shape: &Shape) -> bool {
    let fits = shape.kernel == (3, 3) && shape.stride == 1 && shape.inputs.min(shape.outputs) >= 16;
    let (down, across) = tiles(shape);
    fits && down * across * shape.batch >= 24 && 6 * down * across <= shape.pixels()
}

/// A batch of transformed tiles: `[places][tiles][channels]`, with a line of padding after each place.
struct Transformed;

impl Transformed {
    const LEN: usize = Self::at(PLACES, 0, 0);

    #[inline(always)]
    const fn at(place: usize, tile: usize, channel: usize) -> usize {
        place * (TILES * CHANNELS + LINE) + tile * CHANNELS + channel
    }
}

/// Layout of the transformed weights: a sequence of panels of outputs. Each panel is `[places][inputs][panel]`, with a line of
/// padding after each place. The part for one place is [`Panels`] with a row for each input.
#[derive(Clone, Copy)]
struct TransformedWeights(Panels);

impl TransformedWeights {
    /// Distance between panels.
    fn step(self) -> usize {
        PLACES * (self.0.panel_len() + LINE)
    }

    fn len(self) -> usize {
        self.0.panels() * self.step()
    }

    fn at(self, place: usize, input: usize, output: usize) -> usize {
        let Self(panels) = self;
        let (panel, row) = (panels.panel(output), panels.row(output));
        let within = panels.at(input, output) - panel * panels.panel_len();
        panel * self.step() + place * (panels.depth() * row + LINE) + within
    }
}

/// Computes the convolution with packed weights. They are [`Panels`] with a column for each output, and a row for each pair of
/// a tap and an input.
pub(super) fn convolve(isa: Isa, threads: usize, shape: &Shape, input: &[f32], weight: &[f32], out: &mut [f32]) {
    let (i, o, width) = (shape.inputs, shape.outputs, panel(isa));
    let panels = Panels::new(isa, 9 * i, o);
    let transformed = |outputs| TransformedWeights(Panels::new(isa, i, outputs));
    let (mut kept, len) = (room::patches(), transformed(CHANNELS.min(o)).len());
    let weights = &mut kept.of(len)[..len];
    for from in (0..o).step_by(CHANNELS) {
        let outputs = from..o.min(from + CHANNELS);
        let layout = transformed(outputs.len());
        let both = weights.chunks_mut(layout.step()).zip(weight[panels.at(0, from)..].chunks(panels.panel_len()));
        pool::each(threads, both, |(out, panel)| isa.dispatch(Weights { panel, out }));
        let (weights, own) = (&*weights, || [room::patches(), room::patches()]);
        pool::each_with(threads, shares(shape, out), own, |[maps, sums], mut share| {
            let [maps, sums] = [maps, sums].map(|kept| kept.of(Transformed::LEN));
            for first in (0..share.tiles).step_by(TILES) {
                let tiles = first..share.tiles.min(first + TILES);
                for from in (0..i).step_by(CHANNELS) {
                    let channels = from..i.min(from + CHANNELS);
                    for (n, tile) in tiles.clone().enumerate() {
                        let (corner, out) = (share.corner(shape, tile), &mut maps[Transformed::at(0, n, 0)..]);
                        isa.dispatch(Inputs { shape, input, corner, channels: channels.clone(), out });
                    }
                    for place in 0..PLACES {
                        let a = Matrix { numbers: &maps[Transformed::at(place, 0, 0)..], row: CHANNELS, step: 1 };
                        for at in (0..outputs.len()).step_by(width) {
                            let size = (tiles.len(), channels.len(), width.min(outputs.len() - at));
                            let b = &weights[layout.at(place, from, at)..];
                            let b = Matrix { numbers: b, row: layout.0.row(at), step: 1 };
                            product(isa, size, a, b, from > 0, &mut sums[Transformed::at(place, 0, at)..], CHANNELS);
                        }
                    }
                }
                for (n, tile) in tiles.enumerate() {
                    let (corner, sums) = (share.corner(shape, tile), &sums[Transformed::at(0, n, 0)..]);
                    let Share { first, ref mut out, .. } = share;
                    isa.dispatch(Outputs { shape, sums, corner, channels: outputs.clone(), first, out });
                }
            }
        });
    }
}

/// A part of the output: whole images, or whole rows of tiles of one image. `first` is the index of its first row of pixels,
/// counted over the whole batch.
struct Share<'a> {
    first: usize,
    tiles: usize,
    out: &'a mut [f32],
}

impl Share<'_> {
    /// Image, row and column of a tile's first output.
    fn corner(&self, shape: &Shape, tile: usize) -> (usize, usize, usize) {
        let ((down, across), (rows, _)) = (tiles(shape), shape.output_size());
        let (row, x) = (tile / across, tile % across);
        (self.first / rows + row / down, self.first % rows + row % down * OUT, x * OUT)
    }
}

/// Rows and columns of tiles in an image.
fn tiles(shape: &Shape) -> (usize, usize) {
    let (rows, columns) = shape.output_size();
    (rows.div_ceil(OUT), columns.div_ceil(OUT))
}

/// Splits the output into shares of about [`SHARE`] tiles.
fn shares<'a>(shape: &Shape, out: &'a mut [f32]) -> impl Iterator<Item = Share<'a>> + Send {
    let (rows, columns) = shape.output_size();
    let (down, across) = tiles(shape);
    let (image, line) = (rows * columns * shape.outputs, columns * shape.outputs);
    let images = (SHARE / (down * across)).max(1);
    let bands = if images > 1 { images * down } else { SHARE.div_ceil(across).min(down) };
    out.chunks_mut(images * image).enumerate().flat_map(move |(n, out)| {
        let length = if images > 1 { out.len() } else { bands * OUT * line };
        out.chunks_mut(length).enumerate().map(move |(band, out)| {
            let down = if images > 1 { out.len() / image * down } else { (out.len() / line).div_ceil(OUT) };
            Share { first: n * images * rows + band * bands * OUT, tiles: down * across, out }
        })
    })
}

/// Transforms a panel of weights by `G g G^T`, from `[9][inputs][panel]` to `[places][inputs][panel]`.
struct Weights<'a> {
    panel: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for Weights<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let step = self.panel.len() / 9;
        let place = step + LINE;
        assert!(step.is_multiple_of(L::N) && self.out.len() >= PLACES * place);
        for at in (0..step).step_by(L::N) {
            let mut half = [[L::splat(0.0); 3]; IN];
            for x in 0..3 {
                // SAFETY: taps are `step` apart, places another line, and `at` is a whole vector before the next.
                let tap = |y: usize| unsafe { L::load(self.panel.as_ptr().add((y * 3 + x) * step + at)) };
                let column = of_weights([tap(0), tap(1), tap(2)]);
                half.iter_mut().zip(column).for_each(|(half, number)| half[x] = number);
            }
            for (y, half) in half.into_iter().enumerate() {
                for (x, number) in of_weights(half).into_iter().enumerate() {
                    // SAFETY: as above.
                    unsafe { number.store(self.out.as_mut_ptr().add((y * IN + x) * place + at)) }
                }
            }
        }
    }
}

/// Computes `B^T d B` for some channels of an input tile. `corner` is the image, row and column of the first output of this
/// tile.
struct Inputs<'a> {
    shape: &'a Shape,
    input: &'a [f32],
    corner: (usize, usize, usize),
    channels: Range<usize>,
    out: &'a mut [f32],
}

impl Kernel for Inputs<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { shape, input, corner: (image, y, x), channels: Range { start, end }, out } = self;
        let channels = end - start;
        assert!(input.len() == shape.input_len() && image < shape.batch && end <= shape.inputs);
        assert!(Transformed::at(PLACES - 1, 0, channels.next_multiple_of(L::N)) <= out.len());
        let map = Nhwc { height: shape.height, width: shape.width, channels: shape.inputs };
        let inside = |at: usize, n: usize| at.checked_sub(shape.padding).filter(|&at| at < n);
        let (mut rows, mut columns) = ([None; IN], [None; IN]);
        for n in 0..IN {
            rows[n] = inside(y + n, shape.height).map(|y| map.at(image, y, 0, 0));
            columns[n] = inside(x + n, shape.width).map(|x| map.at(0, 0, x, start));
        }
        for at in (0..channels).step_by(L::N) {
            let lanes = L::N.min(channels - at);
            let mut half = [[L::splat(0.0); IN]; IN];
            for (x, column) in columns.into_iter().enumerate() {
                let Some(column) = column else { continue };
                let mut numbers = [L::splat(0.0); IN];
                for (number, row) in numbers.iter_mut().zip(rows) {
                    let Some(row) = row else { continue };
                    // SAFETY: the row and the column are inside the map, and the lanes within its channels, as checked above.
                    *number = unsafe {
                        let numbers = input.as_ptr().add(row + column + at);
                        if lanes == L::N { L::load(numbers) } else { L::load_some(numbers, 0..lanes) }
                    };
                }
                half.iter_mut().zip(of_inputs(numbers)).for_each(|(half, number)| half[x] = number);
            }
            for (y, half) in half.into_iter().enumerate() {
                for (x, number) in of_inputs(half).into_iter().enumerate() {
                    // SAFETY: the check above bounds the last place.
                    unsafe { number.store(out.as_mut_ptr().add(Transformed::at(y * IN + x, 0, at))) }
                }
            }
        }
    }
}

/// Computes `A^T m A` for some channels of an output tile, cropped to the map.
struct Outputs<'a> {
    shape: &'a Shape,
    sums: &'a [f32],
    corner: (usize, usize, usize),
    channels: Range<usize>,
    /// Index of the first row of `out`, counted over the whole batch.
    first: usize,
    out: &'a mut [f32],
}

impl Kernel for Outputs<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { shape, sums, corner: (image, y, x), channels: Range { start, end }, first, out } = self;
        let ((rows, columns), pixel, outputs) = (shape.output_size(), shape.outputs, end - start);
        let (line, height, width) = (columns * pixel, OUT.min(rows - y), OUT.min(columns - x));
        let out = &mut out[(image * rows + y - first) * line + x * pixel + start..];
        assert!((height - 1) * line + (width - 1) * pixel + outputs <= out.len());
        assert!(Transformed::at(PLACES - 1, 0, outputs.next_multiple_of(L::N)) <= sums.len());
        for at in (0..outputs).step_by(L::N) {
            let lanes = L::N.min(outputs - at);
            let mut half = [[L::splat(0.0); IN]; OUT];
            for x in 0..IN {
                let mut numbers = [L::splat(0.0); IN];
                for (y, number) in numbers.iter_mut().enumerate() {
                    // SAFETY: the check above bounds the last place.
                    *number = unsafe { L::load(sums.as_ptr().add(Transformed::at(y * IN + x, 0, at))) };
                }
                half.iter_mut().zip(of_sums(numbers)).for_each(|(half, number)| half[x] = number);
            }
            for (y, half) in half.into_iter().enumerate().take(height) {
                for (x, number) in of_sums(half).into_iter().enumerate().take(width) {
                    // SAFETY: the check above bounds the last row and column; lanes beyond the outputs are not accessed.
                    unsafe {
                        let to = out.as_mut_ptr().add(y * line + x * pixel + at);
                        if lanes == L::N { number.store(to) } else { number.store_some(to, 0..lanes) }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CHANNELS, Isa, LINE, PLACES, Panels, TILES, Transformed, TransformedWeights, panel};
    use std::collections::HashSet;

    #[test]
    fn transformed_tiles_have_places_of_their_own() {
        let places = (0..PLACES).flat_map(|place| (0..TILES).map(move |tile| (place, tile)));
        let at =
            places.flat_map(|(place, tile)| (0..CHANNELS).map(move |channel| Transformed::at(place, tile, channel)));
        let at: HashSet<usize> = at.collect();
        assert_eq!(at.len(), PLACES * TILES * CHANNELS);
        assert!(at.into_iter().max() == Some(Transformed::LEN - LINE - 1));
    }

    #[test]
    fn transformed_weights_have_places_of_their_own() {
        for isa in Isa::supported() {
            let outputs = 2 * panel(isa) + 3;
            let weights = TransformedWeights(Panels::new(isa, 5, outputs));
            let places = (0..PLACES).flat_map(|place| (0..5).map(move |input| (place, input)));
            let at = places.flat_map(|(place, input)| (0..outputs).map(move |output| weights.at(place, input, output)));
            let at: HashSet<usize> = at.collect();
            assert_eq!(at.len(), PLACES * 5 * outputs);
            assert!(at.into_iter().max() < Some(weights.len()));
        }
    }
}
