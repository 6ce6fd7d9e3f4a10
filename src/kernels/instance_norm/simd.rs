//! Moments and the affine map over whole rows: a row is its channels repeated, so after `lcm(channels, lanes)` floats the
//! same channel stands in the same lane again.
#![allow(unsafe_code)]
use super::{Extent, Isa, Map, Then};
use crate::kernels::isa::{Extents, Kernel, Lanes};

pub(super) fn sums(isa: Isa, map: &Map, sum: &mut [f64], square: &mut [f64]) {
    isa.dispatch(Sums { map, sum, square });
}

struct Sums<'a> {
    map: &'a Map,
    sum: &'a mut [f64],
    square: &'a mut [f64],
}

impl Kernel for Sums<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let channels = self.map.channels();
        let period = period(channels, L::N);
        let (mut sums, mut squares) = (vec![0.0; period], vec![0.0; period]);
        for y in 0..self.map.height() {
            let row = self.map.row(y);
            sums.fill(0.0);
            squares.fill(0.0);
            let repeats = row.len() / period;
            for lane in (0..period).step_by(L::N) {
                // Four sums of each, as one would wait for itself.
                let (mut sum, mut square) = ([L::splat(0.0); 4], [L::splat(0.0); 4]);
                let mut add = |repeat: usize, i: usize| {
                    let at = repeat * period + lane;
                    debug_assert!(at + L::N <= row.len());
                    // SAFETY: `lane + N <= period` and `(repeat + 1) * period <= row.len()`.
                    let x = unsafe { L::load(row.as_ptr().add(at)) };
                    sum[i] = x.mul_add(L::splat(1.0), sum[i]);
                    square[i] = x.mul_add(x, square[i]);
                };
                let fours = repeats / 4 * 4;
                for repeat in (0..fours).step_by(4) {
                    (0..4).for_each(|i| add(repeat + i, i));
                }
                (fours..repeats).for_each(|repeat| add(repeat, 0));
                let total = |of: [L; 4]| {
                    let one = L::splat(1.0);
                    of[0].mul_add(one, of[1]).mul_add(one, of[2].mul_add(one, of[3]))
                };
                // SAFETY: both vectors have `period` floats, a multiple of N.
                unsafe {
                    total(sum).store(sums.as_mut_ptr().add(lane));
                    total(square).store(squares.as_mut_ptr().add(lane));
                }
            }
            for (lane, x) in row[repeats * period..].iter().enumerate() {
                sums[lane] += x;
                squares[lane] += x * x;
            }
            for (lane, (sum, square)) in sums.iter().zip(&squares).enumerate() {
                self.sum[lane % channels] += f64::from(*sum);
                self.square[lane % channels] += f64::from(*square);
            }
        }
    }
}

pub(super) fn affine(isa: Isa, input: &[f32], scale: &[f32], shift: &[f32], then: Then, out: &mut [f32]) -> Extent {
    isa.dispatch(Affine { input, scale, shift, then, out })
}

struct Affine<'a> {
    input: &'a [f32],
    scale: &'a [f32],
    shift: &'a [f32],
    then: Then,
    out: &'a mut [f32],
}

impl Kernel for Affine<'_> {
    type Output = Extent;

    #[inline(always)]
    fn run<L: Lanes>(self) -> Extent {
        let Self { input, scale, shift, then, out } = self;
        assert_eq!(input.len(), out.len());
        let channels = scale.len();
        let period = period(channels, L::N);
        let (mut extents, mut rest) = (Extents::<L>::default(), Extent::default());
        for lane in (0..period).step_by(L::N) {
            let (mut scales, mut shifts) = ([0.0; 16], [0.0; 16]);
            for i in 0..L::N {
                scales[i] = scale[(lane + i) % channels];
                shifts[i] = shift[(lane + i) % channels];
            }
            // SAFETY: no vector has more than 16 lanes.
            let (by, plus) = unsafe { (L::load(scales.as_ptr()), L::load(shifts.as_ptr())) };
            let mut at = lane;
            while at + L::N <= input.len() {
                // SAFETY: `at + N` is within both rows.
                unsafe {
                    let to = out.as_mut_ptr().add(at);
                    let x = L::load(input.as_ptr().add(at)).mul_add(by, plus);
                    let x = match then {
                        Then::Store => x,
                        Then::Relu => x.max(L::splat(0.0)),
                        Then::Add => x.mul_add(L::splat(1.0), L::load(to)),
                    };
                    extents.add(x);
                    x.store(to);
                }
                at += period;
            }
            for i in at..input.len().min(at + L::N) {
                let x = input[i] * scales[i - at] + shifts[i - at];
                match then {
                    Then::Store => out[i] = x,
                    Then::Relu => out[i] = x.max(0.0),
                    Then::Add => out[i] += x,
                }
                rest = rest.or(Extent { low: out[i], high: out[i] });
            }
        }
        rest.or(extents.of_lanes())
    }
}

/// The least common multiple of channels and lanes.
fn period(channels: usize, lanes: usize) -> usize {
    let (mut a, mut b) = (channels, lanes);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    channels / a * lanes
}
