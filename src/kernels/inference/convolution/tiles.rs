//! Tiling of a pass over the output, row by row. A tile is a few groups of pixels by one or two vectors of output channels. The
//! sums of a tile stay in vector registers while k runs over the inputs under the taps.
#![allow(unsafe_code)]
use super::pack::Pass;
use super::{FeatureMap, Place};
use crate::kernels::inference::layer_shape::{Activation, Shape};
use crate::kernels::inference::quantize::Quantized;
use crate::kernels::isa::{ByteLanes, Extent, LaneExtents, Lanes, MOST_LANES};
use std::ops::Range;

/// Number of groups of pixels in a tile.
pub(super) enum Groups {
    Eight,
    Six,
    Four,
}

/// Computation of the sums of a tile.
pub(super) trait Product<L: Lanes> {
    /// Largest number of groups in a tile with two vectors of outputs. The sums and the operands of a tile must fit in the
    /// vector registers.
    const GROUPS: Groups;

    /// Returns the sums of a tile, including the bias: M groups of pixels starting at (`y`, `x`), by V vectors of lanes
    /// starting at `first`.
    fn sums<const M: usize, const V: usize>(&self, first: usize, y: usize, x: usize) -> [[L; V]; M];
}

/// A map to which sums are written.
pub(super) trait Target<L: Lanes> {
    /// Type of the stored values.
    type Number: Copy + Default;
    /// Parameters for storing a value.
    type Step: Copy;

    fn map(&mut self) -> &mut FeatureMap<Self::Number>;

    fn step(&self) -> Self::Step;

    /// Loads the given lanes as floats.
    ///
    /// # Safety
    /// `from` is valid for reads of these lanes.
    unsafe fn load(from: *const Self::Number, lanes: Range<usize>) -> L;

    /// Stores the given lanes of `x`.
    ///
    /// # Safety
    /// `to` is valid for writes of these lanes.
    unsafe fn store(x: L, step: Self::Step, to: *mut Self::Number, lanes: Range<usize>);
}

impl<L: Lanes> Target<L> for FeatureMap {
    type Number = f32;
    type Step = ();

    #[inline(always)]
    fn map(&mut self) -> &mut FeatureMap {
        self
    }

    #[inline(always)]
    fn step(&self) {}

    #[inline(always)]
    unsafe fn load(from: *const f32, lanes: Range<usize>) -> L {
        // SAFETY: guaranteed by the caller.
        unsafe { L::load_some(from, lanes) }
    }

    #[inline(always)]
    unsafe fn store(x: L, (): (), to: *mut f32, lanes: Range<usize>) {
        // SAFETY: guaranteed by the caller.
        unsafe {
            match lanes == (0..L::N) {
                true => x.store(to),
                false => x.store_some(to, lanes),
            }
        }
    }
}

impl<L: ByteLanes> Target<L> for Quantized {
    type Number = u8;
    /// The inverse of the scale, and the byte that represents 0.
    type Step = (L, L);

    #[inline(always)]
    fn map(&mut self) -> &mut FeatureMap<u8> {
        &mut self.map
    }

    #[inline(always)]
    fn step(&self) -> (L, L) {
        let (&[scale], &[zero]) = (&self.scale[..], &self.zero[..]) else { panic!("a grid of one range is written") };
        (L::splat(1.0 / scale), L::splat(f32::from(zero)))
    }

    #[inline(always)]
    unsafe fn load(_: *const u8, _: Range<usize>) -> L {
        unreachable!("nothing is added to bytes, as `Conv::add` takes floats")
    }

    #[inline(always)]
    unsafe fn store(x: L, (by, plus): (L, L), to: *mut u8, lanes: Range<usize>) {
        // SAFETY: guaranteed by the caller.
        unsafe { x.mul_add(by, plus).store_some_bytes(to, lanes) }
    }
}

/// Computes a pass into the given rows of `target`. Returns the range of the outputs if the activation is ReLU and there is no
/// gain, otherwise [0, 0].
#[inline(always)]
pub(super) fn tiles<L: Lanes, P: Product<L>, T: Target<L>>(
    shape: &Shape,
    pass: &Pass,
    product: P,
    target: &mut T,
    Place { rows, channel }: Place,
    gain: Option<&[f32]>,
) -> Extent {
    let mut extents = LaneExtents::<L>::default();
    let scale = if shape.upsample { 2 } else { 1 };
    let to_bytes = target.step();
    let out = target.map();
    let (columns, channels) = (out.width() / scale, out.channels());
    for first in (0..pass.bias.len()).step_by(2 * L::N) {
        let pair = first + L::N < pass.bias.len();
        let gain = gain.map(|gain| {
            let of_lanes: [f32; 2 * MOST_LANES] =
                std::array::from_fn(|i| gain[(first + i) % shape.outputs % gain.len()]);
            of_lanes
        });
        for y in 0..rows.len() / scale {
            let out = &mut out.row_mut(rows.start + y * scale + pass.phase.0)[pass.phase.1 * channels + channel..];
            let step = scale * channels;
            let mut row = Row::<L, P, T> {
                shape,
                pass,
                product: &product,
                out,
                to_bytes,
                step,
                first,
                y,
                gain: gain.as_ref(),
                extents,
            };
            match (pair, P::GROUPS) {
                (true, Groups::Eight) => row.tiles::<8, 2>(columns),
                (true, Groups::Six) => row.tiles::<6, 2>(columns),
                (true, Groups::Four) => row.tiles::<4, 2>(columns),
                (false, Groups::Eight | Groups::Six | Groups::Four) => row.tiles::<8, 1>(columns),
            }
            extents = row.extents;
        }
    }
    extents.of_lanes()
}

/// The computation of one output row for one panel.
struct Row<'a, L: Lanes, P, T: Target<L>> {
    shape: &'a Shape,
    pass: &'a Pass,
    product: &'a P,
    /// The output row, starting with the first output of the phase's first pixel.
    out: &'a mut [T::Number],
    to_bytes: T::Step,
    /// Number of values from one output pixel of the phase to the next.
    step: usize,
    /// The panel's first lane.
    first: usize,
    y: usize,
    /// Gain of each of the panel's lanes, if the sums are added to the output.
    gain: Option<&'a [f32; 2 * MOST_LANES]>,
    extents: LaneExtents<L>,
}

impl<L: Lanes, P: Product<L>, T: Target<L>> Row<'_, L, P, T> {
    /// Computes tiles of M groups by V vectors. A last tile that would extend beyond the row is shifted back; pixels that were
    /// already stored are not stored again. If the lanes of a group span several panels, all panels use the same groups of
    /// pixels.
    #[inline(always)]
    fn tiles<const M: usize, const V: usize>(&mut self, columns: usize) {
        let group = self.pass.group;
        let end = if self.pass.bias.len() <= V * L::N { columns } else { columns / group * group };
        let mut x = 0;
        while x < end {
            let left = end - x;
            let groups = match left / group {
                _ if end >= M * group => M,
                4.. => 4,
                _ => 1,
            };
            let done = (groups * group).saturating_sub(left);
            match groups {
                4 => self.tile::<4, V>(x - done, done),
                1 => self.tile::<1, V>(x - done, done),
                _ => self.tile::<M, V>(x - done, done),
            }
            x += groups * group - done;
        }
        if end < columns {
            self.tile::<1, V>(columns - group, group - columns % group);
        }
    }

    /// Computes M groups starting at pixel `x`, and stores all but the first `done` pixels.
    #[inline(always)]
    fn tile<const M: usize, const V: usize>(&mut self, x: usize, done: usize) {
        let sums = self.product.sums::<M, V>(self.first, self.y, x);
        // Not a loop: the sums stay in registers only with a constant index.
        let mut column = [L::splat(0.0); M];
        column.iter_mut().zip(&sums).for_each(|(to, sums)| *to = sums[0]);
        self.finish(column, 0, x, done);
        if V == 2 {
            column.iter_mut().zip(&sums).for_each(|(to, sums)| *to = sums[V - 1]);
            self.finish(column, L::N, x, done);
        }
    }

    /// Finishes and stores the sums of the panel's lanes from index `lane` on. If there is a gain, the sums are multiplied by
    /// the gain and added to the output. The activation is applied last.
    #[inline(always)]
    fn finish<const M: usize>(&mut self, mut sums: [L; M], lane: usize, x: usize, done: usize) {
        let (group, outputs, first) = (self.pass.group, self.shape.outputs, self.first + lane);
        let step = group * self.step;
        // The lanes of the vector that belong to the group's outputs.
        let used = (group * outputs - first).min(L::N);
        let out = &mut self.out[x * self.step + first..];
        assert!((M - 1) * step + used <= out.len());
        let out = out.as_mut_ptr();
        let to = |m: usize| out.wrapping_add(m * step);
        if let Some(gain) = self.gain {
            // SAFETY: a panel is at most two vectors wide.
            let gain = unsafe { L::load(gain.as_ptr().add(lane)) };
            for (m, sum) in sums.iter_mut().enumerate() {
                // SAFETY: the assert above bounds every address.
                *sum = sum.mul_add(gain, unsafe { T::load(to(m), 0..used) });
            }
        }
        self.shape.activation.apply(sums.iter_mut());
        if self.shape.activation == Activation::Relu && self.gain.is_none() {
            // Lanes that are not stored are zeros, or pixels already stored, to which nothing was added twice.
            for sum in &sums {
                self.extents.add(*sum);
            }
        }
        if done == 0 && used == L::N {
            for (m, sum) in sums.into_iter().enumerate() {
                // SAFETY: as above.
                unsafe { T::store(sum, self.to_bytes, to(m), 0..L::N) }
            }
        } else {
            for (m, sum) in sums.into_iter().enumerate() {
                let from = (done.saturating_sub(m * group) * outputs).saturating_sub(first);
                // SAFETY: as above.
                unsafe { T::store(sum, self.to_bytes, to(m), from.min(used)..used) }
            }
        }
    }
}
