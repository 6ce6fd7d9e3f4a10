//! Ranges and rounding, row by row. Along a row, the lanes hold the same channels again after a period of
//! `lcm(channels, lanes)` values.
#![allow(unsafe_code)]
use super::{Extent, Isa};
use crate::kernels::inference::feature_map::MapView;
use crate::kernels::isa::{
    ByteKernel, ByteLanes, Kernel, LaneExtents, Lanes, MOST_LANES, load_block, mul_add_block, period,
};

/// Computes the range of each channel.
pub(super) fn extents(isa: Isa, map: MapView, out: &mut Vec<Extent>) {
    out.resize(period(map.channels, isa.lanes()), Extent::default());
    isa.dispatch(Ranges { map, out });
    let (first, others) = out.split_at_mut(map.channels);
    for pixel in others.chunks_exact(map.channels) {
        first.iter_mut().zip(pixel).for_each(|(all, range)| *all = all.or(*range));
    }
    out.truncate(map.channels);
}

/// Computes the range of all values.
pub(super) fn extent(isa: Isa, map: MapView) -> Extent {
    let mut out = [Extent::default(); MOST_LANES];
    isa.dispatch(Ranges { map, out: &mut out[..isa.lanes()] });
    out.into_iter().fold(Extent::default(), Extent::or)
}

struct Ranges<'a> {
    map: MapView<'a>,
    /// Range of each position in a period. A period consists of whole vectors.
    out: &'a mut [Extent],
}

impl Kernel for Ranges<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { map, out } = self;
        let period = out.len();
        for row in map.padded_rows() {
            for lane in (0..period.min(row.len())).step_by(L::N) {
                // Four independent accumulators, to hide the latency of the operations.
                let mut four = [LaneExtents::<L>::default(); 4];
                let mut at = lane;
                while at + 3 * period + L::N <= row.len() {
                    for (i, extents) in four.iter_mut().enumerate() {
                        // SAFETY: the row has N floats from `at + 3 period` on.
                        extents.add(unsafe { L::load(row.as_ptr().add(at + i * period)) });
                    }
                    at += 4 * period;
                }
                while at < row.len() {
                    let used = (row.len() - at).min(L::N);
                    // SAFETY: the row has these lanes; the others are zeros, which every range includes.
                    four[0].add(unsafe { L::load_some(row.as_ptr().add(at), 0..used) });
                    at += period;
                }
                let [a, b, c, d] = four;
                a.or(b).or(c.or(d)).take_into(&mut out[lane..lane + L::N]);
            }
        }
    }
}

/// Repeats `n` values to fill a whole number of blocks of four vectors.
pub(super) fn repeat(isa: Isa, n: usize, numbers: impl Iterator<Item = f32> + Clone, out: &mut Vec<f32>) {
    out.clear();
    out.extend(numbers.cycle().take(period(n, 4 * isa.lanes())));
}

/// Converts `by * x` for each value x of `row` to words.
pub(super) fn quantize_words(isa: Isa, row: &[f32], by: f32, out: &mut [i16]) {
    isa.dispatch_bytes(QuantizeWords { row, by, out });
}

struct QuantizeWords<'a> {
    row: &'a [f32],
    by: f32,
    out: &'a mut [i16],
}

impl ByteKernel for QuantizeWords<'_> {
    #[inline(always)]
    fn run<L: ByteLanes>(self) {
        let Self { row, by, out } = self;
        let (by, zero) = (L::splat(by), L::splat(0.0));
        let n = row.len().min(out.len());
        for at in (0..n).step_by(L::N) {
            let used = (n - at).min(L::N);
            // SAFETY: both rows have the values from `at` to `at + used`.
            unsafe {
                let from = row.as_ptr().add(at);
                let x = if used == L::N { L::load(from) } else { L::load_some(from, 0..used) };
                x.mul_add(by, zero).store_words(out.as_mut_ptr().add(at), used);
            }
        }
    }
}

/// Converts `by * x + plus` to bytes for each value x of `row`. [`repeat`] must have filled `by` and `plus`.
pub(super) fn quantize(isa: Isa, row: &[f32], by: &[f32], plus: &[f32], out: &mut [u8]) {
    isa.dispatch_bytes(Quantize { row, by, plus, out });
}

struct Quantize<'a> {
    row: &'a [f32],
    by: &'a [f32],
    plus: &'a [f32],
    out: &'a mut [u8],
}

impl ByteKernel for Quantize<'_> {
    #[inline(always)]
    fn run<L: ByteLanes>(self) {
        let Self { row, by, plus, out } = self;
        let (n, period) = (row.len().min(out.len()), by.len());
        assert!(period == plus.len() && period.is_multiple_of(4 * L::N));
        for lane in (0..period.min(n)).step_by(4 * L::N) {
            // SAFETY: both have `period` floats, and `lane + 4 N` is at most that.
            let (by, plus) = unsafe {
                let (by, plus) = (by.as_ptr().add(lane), plus.as_ptr().add(lane));
                (load_block::<L>(by, 4 * L::N), load_block::<L>(plus, 4 * L::N))
            };
            for at in (lane..n).step_by(period) {
                let used = (n - at).min(4 * L::N);
                // SAFETY: `at + used` is within both rows, and the lanes of each load are those below `used`.
                unsafe {
                    let x = load_block::<L>(row.as_ptr().add(at), used);
                    L::store_bytes(mul_add_block(x, by, plus), out.as_mut_ptr().add(at), used);
                }
            }
        }
    }
}
