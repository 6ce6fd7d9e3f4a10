//! Ranges of values: over a whole sequence, or separately for each lane.
use super::lanes::{Lanes, MOST_LANES};

/// The minimum and the maximum of a sequence of values, extended to include 0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Extent {
    /// At most 0.
    pub low: f32,
    /// At least 0.
    pub high: f32,
}

impl Extent {
    /// Returns the range that covers both ranges.
    pub fn or(self, other: Self) -> Self {
        Self { low: self.low.min(other.low), high: self.high.max(other.high) }
    }
}

/// The minimum and the maximum of each lane, extended to include 0.
#[derive(Clone, Copy)]
pub(crate) struct LaneExtents<L> {
    low: L,
    high: L,
}

impl<L: Lanes> Default for LaneExtents<L> {
    #[inline(always)]
    fn default() -> Self {
        Self { low: L::splat(0.0), high: L::splat(0.0) }
    }
}

impl<L: Lanes> LaneExtents<L> {
    /// Extends the range of each lane to include that lane of `x`. NaN is ignored: `min` and `max` return the second operand if
    /// the first is NaN.
    #[inline(always)]
    pub(crate) fn add(&mut self, x: L) {
        self.low = x.min(self.low);
        self.high = x.max(self.high);
    }

    /// Returns the ranges that cover both `self` and `other`, lane by lane.
    #[inline(always)]
    pub(crate) fn or(self, other: Self) -> Self {
        Self { low: self.low.min(other.low), high: self.high.max(other.high) }
    }

    /// Widens `ranges[i]` to cover the range of lane i.
    #[inline(always)]
    pub(crate) fn take_into(self, ranges: &mut [Extent]) {
        let (lows, highs) = self.lanes();
        for (range, (low, high)) in ranges.iter_mut().zip(lows.into_iter().zip(highs)) {
            *range = range.or(Extent { low, high });
        }
    }

    /// Returns the range over all lanes.
    #[inline(always)]
    pub(crate) fn of_lanes(self) -> Extent {
        let (lows, highs) = self.lanes();
        Extent { low: lows.into_iter().fold(0.0, f32::min), high: highs.into_iter().fold(0.0, f32::max) }
    }

    #[inline(always)]
    #[allow(unsafe_code)]
    fn lanes(self) -> ([f32; MOST_LANES], [f32; MOST_LANES]) {
        let (mut lows, mut highs) = ([0.0; MOST_LANES], [0.0; MOST_LANES]);
        // SAFETY: no vector has more lanes.
        unsafe {
            self.low.store(lows.as_mut_ptr());
            self.high.store(highs.as_mut_ptr());
        }
        (lows, highs)
    }
}
