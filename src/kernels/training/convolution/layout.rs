//! Memory layouts: the index of each value of a map, of packed weights and of patches.
use super::{Isa, panel};
use crate::kernels::threads::pool;
use std::ops::Range;

/// Layout of a map, `[images][rows][columns][channels]`. Weights have the same layout, with outputs in the place of images.
#[derive(Clone, Copy)]
pub(super) struct Nhwc {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) channels: usize,
}

impl Nhwc {
    #[inline(always)]
    pub(super) fn at(self, image: usize, row: usize, column: usize, channel: usize) -> usize {
        ((image * self.height + row) * self.width + column) * self.channels + channel
    }
}

/// Layout of a matrix in panels of columns, `[columns / panel][depth][panel]`, where `depth` is the number of rows. Each panel
/// has the width of a tile, except the last panel, which is only padded to whole vector registers.
#[derive(Clone, Copy)]
pub(super) struct Panels {
    depth: usize,
    columns: usize,
    width: usize,
    lanes: usize,
}

impl Panels {
    pub(super) fn new(isa: Isa, depth: usize, columns: usize) -> Self {
        Self { depth, columns, width: panel(isa), lanes: isa.lanes() }
    }

    pub(super) fn depth(self) -> usize {
        self.depth
    }

    pub(super) fn columns(self) -> usize {
        self.columns
    }

    /// Number of values of all panels.
    pub(super) fn len(self) -> usize {
        self.depth * self.columns.next_multiple_of(self.lanes)
    }

    /// Number of panels.
    pub(super) fn panels(self) -> usize {
        self.columns.div_ceil(self.width)
    }

    /// The panel that contains a column.
    pub(super) fn panel(self, column: usize) -> usize {
        column / self.width
    }

    /// Number of values in each panel except the last.
    pub(super) fn panel_len(self) -> usize {
        self.depth * self.width
    }

    /// Distance between two rows within the panel that contains a column.
    pub(super) fn row(self, column: usize) -> usize {
        self.width.min(self.columns - self.panel(column) * self.width).next_multiple_of(self.lanes)
    }

    pub(super) fn at(self, row: usize, column: usize) -> usize {
        self.panel(column) * self.panel_len() + row * self.row(column) + column % self.width
    }

    /// Packs a matrix, panel by panel. The arguments of `fill` are the columns of a panel, the length of a row of the panel,
    /// and the zeroed panel to fill.
    pub(super) fn packed(self, threads: usize, fill: impl Fn(Range<usize>, usize, &mut [f32]) + Sync) -> Vec<f32> {
        let mut packed = vec![0.0; self.len()];
        let panels = packed.chunks_mut(self.panel_len()).enumerate();
        pool::each(threads, panels, |(n, panel)| {
            let first = n * self.width;
            fill(first..self.columns.min(first + self.width), self.row(first), panel);
        });
        packed
    }
}

/// Layout of the patches of some pixels, `[values / width][pixels][width]`: panels with `width` values of each patch.
#[derive(Clone, Copy)]
pub(super) struct PatchPanels {
    pub(super) pixels: usize,
    pub(super) width: usize,
}

impl PatchPanels {
    #[inline(always)]
    pub(super) fn at(self, pixel: usize, value: usize) -> usize {
        (value / self.width * self.pixels + pixel) * self.width + value % self.width
    }
}

#[cfg(test)]
mod tests {
    use super::{Isa, Nhwc, Panels, PatchPanels};

    /// Returns whether `places` are the integers from 0, each once.
    fn fills(places: impl Iterator<Item = usize>) -> bool {
        let mut places: Vec<usize> = places.collect();
        places.sort_unstable();
        places.iter().copied().eq(0..places.len())
    }

    #[test]
    fn a_map_is_filled_channel_by_channel() {
        let map = Nhwc { height: 3, width: 5, channels: 7 };
        let places = (0..2).flat_map(|n| (0..3).flat_map(move |y| (0..5).map(move |x| (n, y, x))));
        assert!(places.flat_map(|(n, y, x)| (0..7).map(move |c| map.at(n, y, x, c))).eq(0..2 * 3 * 5 * 7));
    }

    #[test]
    fn panels_hold_each_value_once_and_only_the_last_is_filled_up() {
        for isa in Isa::supported() {
            for columns in [1, isa.lanes(), super::panel(isa) + 1, 3 * super::panel(isa)] {
                let panels = Panels::new(isa, 5, columns);
                let filled = columns.next_multiple_of(isa.lanes());
                let place = |column: usize, row| match column < columns {
                    true => panels.at(row, column),
                    // The padding of the last panel's rows follows its last column.
                    false => panels.at(row, columns - 1) + column + 1 - columns,
                };
                assert_eq!(panels.len(), 5 * filled);
                assert!(fills((0..filled).flat_map(|column| (0..5).map(move |row| place(column, row)))));
                assert_eq!(panels.at(1, 0) - panels.at(0, 0), panels.row(0));
            }
        }
    }

    #[test]
    fn patches_stand_panel_by_panel() {
        let patches = PatchPanels { pixels: 4, width: 6 };
        assert!(fills((0..4).flat_map(|pixel| (0..18).map(move |value| patches.at(pixel, value)))));
        assert_eq!([patches.at(0, 1), patches.at(1, 0), patches.at(0, 6)], [1, 6, 24]);
    }
}
