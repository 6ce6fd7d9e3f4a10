//! Layout of the weights of a matrix product. A panel holds the weights of two vectors of outputs, in the order in which a tile
//! reads them.

/// The layout `[pair of vectors][k][outputs of the pair]`; the last pair may be a single vector.
#[derive(Clone, Copy, Debug)]
pub(super) struct PanelLayout {
    /// Number of outputs per vector.
    lanes: usize,
    /// Number of outputs, padded to whole vectors.
    outputs: usize,
    depth: usize,
}

impl PanelLayout {
    /// Creates a layout for `outputs` outputs, padded to whole vectors, and `depth` steps of k.
    pub(super) fn new(lanes: usize, outputs: usize, depth: usize) -> Self {
        Self { lanes, outputs: outputs.next_multiple_of(lanes), depth }
    }

    /// Number of outputs, including padding to whole vectors.
    pub(super) fn outputs(self) -> usize {
        self.outputs
    }

    /// Number of steps of k.
    #[inline(always)]
    pub(super) fn depth(self) -> usize {
        self.depth
    }

    /// Number of weights.
    pub(super) fn len(self) -> usize {
        self.outputs * self.depth
    }

    /// Offset of the panel that starts with output `first`.
    #[inline(always)]
    pub(super) fn panel(self, first: usize) -> usize {
        first * self.depth
    }

    /// Offset of the weight of step k and `output`.
    pub(super) fn at(self, k: usize, output: usize) -> usize {
        let first = output / (2 * self.lanes) * (2 * self.lanes);
        let wide = (self.outputs - first).min(2 * self.lanes);
        self.panel(first) + k * wide + output - first
    }
}

#[cfg(test)]
mod tests {
    use super::PanelLayout;

    #[test]
    fn every_weight_has_its_place_and_a_tile_reads_them_in_order() {
        for (lanes, outputs, depth) in [(8, 8, 3), (8, 20, 5), (4, 9, 1), (16, 33, 2), (1, 3, 4)] {
            let layout = PanelLayout::new(lanes, outputs, depth);
            let mut places: Vec<usize> =
                (0..layout.outputs()).flat_map(|o| (0..depth).map(move |k| layout.at(k, o))).collect();
            places.sort_unstable();
            assert!(places.into_iter().eq(0..layout.len()), "{layout:?}");
            for first in (0..layout.outputs()).step_by(2 * lanes) {
                let wide = (layout.outputs() - first).min(2 * lanes);
                let read = (0..depth).flat_map(|k| (0..wide).map(move |lane| (k, lane)));
                for (n, (k, lane)) in read.enumerate() {
                    assert_eq!(layout.at(k, first + lane), layout.panel(first) + n, "{layout:?}");
                }
            }
        }
    }
}
