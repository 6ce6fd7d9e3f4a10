//! Moments and the affine transform, row by row. Along a row, the lanes hold the same channels again after
//! `lcm(channels, lanes)` floats.
#![allow(unsafe_code)]
use super::{Extent, FeatureMap, Isa, Norm, Sums};
use crate::kernels::isa::{Kernel, LaneExtents, Lanes, MOST_LANES, period, prefetch};

pub(super) fn sums(isa: Isa, map: &FeatureMap, sums: &mut Sums) {
    isa.dispatch(Measure { map, sums });
}

struct Measure<'a> {
    map: &'a FeatureMap,
    sums: &'a mut Sums,
}

/// Sums, sums of squares, minima and maxima of each lane over a row.
#[derive(Clone, Copy)]
struct Gathered<L> {
    sum: L,
    square: L,
    low: L,
    high: L,
}

impl<L: Lanes> Gathered<L> {
    #[inline(always)]
    fn new() -> Self {
        let [zero, low, high] = [0.0, f32::INFINITY, f32::NEG_INFINITY].map(L::splat);
        Self { sum: zero, square: zero, low, high }
    }

    #[inline(always)]
    fn add(&mut self, x: L) {
        self.sum = x.mul_add(L::splat(1.0), self.sum);
        self.square = x.mul_add(x, self.square);
        (self.low, self.high) = (x.min(self.low), x.max(self.high));
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        let one = L::splat(1.0);
        Self {
            sum: self.sum.mul_add(one, other.sum),
            square: self.square.mul_add(one, other.square),
            low: self.low.min(other.low),
            high: self.high.max(other.high),
        }
    }

    /// Adds the first `used` lanes to the entries of `sums` from index `place` on.
    #[inline(always)]
    fn give(self, sums: &mut Sums, place: usize, used: usize) {
        let [sum, square, low, high] = [self.sum, self.square, self.low, self.high].map(|x| {
            let mut lanes = [0.0_f32; MOST_LANES];
            // SAFETY: no vector has more lanes.
            unsafe { x.store(lanes.as_mut_ptr()) }
            lanes
        });
        for (to, x) in [(&mut sums.sum, sum), (&mut sums.square, square)] {
            to[place..place + used].iter_mut().zip(x).for_each(|(to, x)| *to += f64::from(x));
        }
        sums.low[place..place + used].iter_mut().zip(low).for_each(|(to, x)| *to = to.min(x));
        sums.high[place..place + used].iter_mut().zip(high).for_each(|(to, x)| *to = to.max(x));
    }
}

impl Kernel for Measure<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { map, sums } = self;
        let period = period(map.channels(), L::N);
        sums.clear(period);
        for y in 0..map.height() {
            let row = map.row(y);
            let repeats = row.len() / period;
            for lane in (0..period).step_by(L::N) {
                // Four independent accumulators, to hide the latency of additions.
                let mut four = [Gathered::<L>::new(); 4];
                let mut add = |repeat: usize, i: usize| {
                    let at = repeat * period + lane;
                    debug_assert!(at + L::N <= row.len());
                    // Prefetch the next row: hardware prefetchers expect rows from end to end, not lane by lane.
                    prefetch(row.as_ptr().wrapping_add(map.stride() + at));
                    // SAFETY: `lane + N <= period` and `(repeat + 1) * period <= row.len()`.
                    four[i].add(unsafe { L::load(row.as_ptr().add(at)) });
                };
                let fours = repeats / 4 * 4;
                for repeat in (0..fours).step_by(4) {
                    (0..4).for_each(|i| add(repeat + i, i));
                }
                (fours..repeats).for_each(|repeat| add(repeat, 0));
                let [a, b, c, d] = four;
                a.and(b).and(c.and(d)).give(sums, lane, L::N);
            }
            let rest = repeats * period;
            for at in (rest..row.len()).step_by(L::N) {
                let used = (row.len() - at).min(L::N);
                let mut gathered = Gathered::<L>::new();
                // SAFETY: the row has these lanes; the others are zeros, which are not added to the sums.
                gathered.add(unsafe { L::load_some(row.as_ptr().add(at), 0..used) });
                gathered.give(sums, at - rest, used);
            }
        }
    }
}

/// Computes `out = max(scale in + shift, 0)`.
pub(super) fn affine_relu(isa: Isa, input: &FeatureMap, norm: &mut Norm, out: &mut FeatureMap) {
    isa.dispatch(Affine::<false> { input, norm, out });
}

/// Computes `out += scale in + shift`; returns the range of the result.
pub(super) fn affine_add(isa: Isa, input: &FeatureMap, norm: &mut Norm, out: &mut FeatureMap) -> Extent {
    isa.dispatch(Affine::<true> { input, norm, out })
}

struct Affine<'a, const ADD: bool> {
    input: &'a FeatureMap,
    norm: &'a mut Norm,
    out: &'a mut FeatureMap,
}

impl<const ADD: bool> Kernel for Affine<'_, ADD> {
    type Output = Extent;

    #[inline(always)]
    fn run<L: Lanes>(self) -> Extent {
        let Self { input, norm, out } = self;
        let period = period(input.channels(), L::N);
        let [scale, shift] = norm.repeat(period);
        let mut extents = LaneExtents::<L>::default();
        for y in 0..input.height() {
            let (input, out) = (input.row(y), out.row_mut(y));
            let n = input.len().min(out.len());
            // From end to end, as hardware prefetchers expect, although scale and shift are loaded again for each vector.
            let mut lanes = (0..period).step_by(L::N).cycle();
            for at in (0..n).step_by(L::N) {
                let (used, lane) = ((n - at).min(L::N), lanes.next().unwrap_or(0));
                // SAFETY: scale and shift have `period` floats, and `lane + N` is at most that; both rows have floats from `at`
                // to `at + used`.
                unsafe {
                    let (by, plus) = (L::load(scale.as_ptr().add(lane)), L::load(shift.as_ptr().add(lane)));
                    let (from, to) = (input.as_ptr().add(at), out.as_mut_ptr().add(at));
                    let some = |from| if used == L::N { L::load(from) } else { L::load_some(from, 0..used) };
                    let x = some(from).mul_add(by, plus);
                    let x = match ADD {
                        false => x.max(L::splat(0.0)),
                        true => x.mul_add(L::splat(1.0), some(to)),
                    };
                    match used == L::N {
                        true => x.store(to),
                        false => x.store_some(to, 0..used),
                    }
                    if ADD {
                        // Read back, because lanes beyond `used` are not values of the map.
                        extents.add(if used == L::N { x } else { some(to) });
                    }
                }
            }
        }
        extents.of_lanes()
    }
}
