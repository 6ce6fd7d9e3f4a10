//! The workspace of a plan: which bytes of it are whose, while launches are lined up one after the other.
use crate::kernels::cuda::{At, Map, Number, Space, stored};

/// Where an allocation begins, as the caching allocators of frameworks have it.
const ALIGN: usize = 256;

/// Bytes that are taken and given back in the order of launches, which is the order in which they run.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// Begin and end of what is taken, in order.
    taken: Vec<(usize, usize)>,
    most: usize,
}

impl Room {
    /// So many numbers of four bytes.
    pub(super) fn take(&mut self, numbers: usize) -> At {
        self.bytes(4 * numbers)
    }

    /// Maps with room for so many channels.
    pub(super) fn map(
        &mut self,
        number: Number,
        images: usize,
        (height, width): (usize, usize),
        channels: usize,
    ) -> Map {
        let at = self.bytes(number.size() * images * height * width * channels);
        Map { at, images, height, width, channels }
    }

    /// Maps with the usual room for so many channels.
    pub(super) fn stored(&mut self, number: Number, images: usize, size: (usize, usize), channels: usize) -> Map {
        self.map(number, images, size, stored(channels))
    }

    /// The first gap that is large enough.
    fn bytes(&mut self, bytes: usize) -> At {
        let bytes = bytes.next_multiple_of(ALIGN).max(ALIGN);
        let mut start = 0;
        let gap = self.taken.iter().position(|&(begin, end)| {
            let fits = begin - start >= bytes;
            if !fits {
                start = end;
            }
            fits
        });
        self.taken.insert(gap.unwrap_or(self.taken.len()), (start, start + bytes));
        self.most = self.most.max(start + bytes);
        At { space: Space::Workspace, bytes: start }
    }

    /// Gives back what begins there.
    pub(super) fn give(&mut self, at: At) {
        self.taken.retain(|&(begin, _)| begin != at.bytes);
    }

    /// Bytes that were ever taken at once.
    pub(super) fn most(&self) -> usize {
        self.most
    }
}

#[cfg(test)]
mod tests {
    use super::Room;

    #[test]
    fn gaps_are_filled_and_nothing_overlaps() {
        let mut room = Room::default();
        let [a, b, c] = [64, 128, 64].map(|numbers| room.take(numbers));
        assert_eq!([a, b, c].map(|at| at.bytes), [0, 256, 768]);
        room.give(b);
        assert_eq!([room.take(64).bytes, room.take(65).bytes, room.take(1).bytes], [256, 1024, 512]);
        assert_eq!(room.most(), 1536);
    }
}
