//! Layout of the taps of a block in bytes: four rows of one column are adjacent, so that one instruction multiplies them.

/// For each of four rows, its position within a lane. AVX2 adds products in pairs: those at positions 0 and 1, and those at
/// positions 2 and 3. In a kernel of three rows, the middle row, whose weight is most often the largest, is therefore paired
/// with the padding.
pub(super) const ORDER: [usize; 4] = [0, 2, 1, 3];

/// The layout `[four rows][column][place][row of the four]`, where a place is a position in a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct TapLayout {
    /// Rows and columns of taps.
    taps: (usize, usize),
    /// Number of positions in a block, one for each byte.
    places: usize,
}

impl TapLayout {
    pub(super) fn new(taps: (usize, usize), places: usize) -> Self {
        Self { taps, places }
    }

    /// Number of taps of one position, including the padding of the rows to a multiple of four.
    pub(super) fn depth(self) -> usize {
        self.taps.0.div_ceil(4) * self.taps.1 * 4
    }

    /// Number of taps of all positions.
    pub(super) fn len(self) -> usize {
        self.depth() * self.places
    }

    /// Index of the tap at this row and column, among the taps of one position.
    pub(super) fn tap(self, (row, column): (usize, usize)) -> usize {
        4 * (row / 4 * self.taps.1 + column) + ORDER[row % 4]
    }

    /// Index of a tap of a position.
    pub(super) fn at(self, tap: usize, place: usize) -> usize {
        tap / 4 * Self::column(self.places) + Self::four(place) + tap % 4
    }

    /// Number of taps of all positions in one column of four rows.
    #[inline(always)]
    pub(super) const fn column(places: usize) -> usize {
        4 * places
    }

    /// Offset of the four taps of a position in a column.
    #[inline(always)]
    pub(super) const fn four(place: usize) -> usize {
        4 * place
    }
}

#[cfg(test)]
mod tests {
    use super::TapLayout;

    #[test]
    fn every_tap_has_its_place() {
        for (taps, places) in [((3, 3), 32), ((5, 5), 8), ((9, 2), 64), ((1, 1), 4)] {
            let layout = TapLayout::new(taps, places);
            let mut all: Vec<usize> =
                (0..layout.depth()).flat_map(|tap| (0..places).map(move |place| layout.at(tap, place))).collect();
            all.sort_unstable();
            assert!(all.into_iter().eq(0..layout.len()), "{layout:?}");
            let mut named: Vec<usize> =
                (0..taps.0).flat_map(|row| (0..taps.1).map(move |column| layout.tap((row, column)))).collect();
            named.sort_unstable();
            named.dedup();
            assert!(named.len() == taps.0 * taps.1 && named.last() < Some(&layout.depth()), "{layout:?}");
        }
    }
}
