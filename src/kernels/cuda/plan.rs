//! A sequence of launches, and the allocator of their workspace.
use super::{At, Launch, Map, Number, Space, put, stored};

/// Alignment of an allocation in bytes, the same as that of CUDA's own allocations.
const ALIGN: usize = 256;

/// A sequence of launches for one stream.
#[derive(Debug)]
pub struct Plan {
    /// The launches, in order.
    pub launches: Vec<Launch>,
    /// Element type of the maps.
    pub number: Number,
    /// The allocator of the workspace.
    pub room: Room,
    /// Contents of [`Space::Words`].
    words: Vec<u32>,
}

impl Plan {
    /// Creates an empty plan.
    pub fn new(number: Number) -> Self {
        Self { launches: vec![], number, room: Room::default(), words: vec![] }
    }

    /// Total size in bytes of [`Space::Workspace`] and of [`Space::Words`], which is stored after the workspace.
    pub fn workspace(&self) -> usize {
        self.words_at() + 4 * self.words.len()
    }

    /// Offset of [`Space::Words`] in the workspace.
    pub fn words_at(&self) -> usize {
        self.room.most
    }

    /// Adds 4-byte values, and returns their position, a multiple of 16 bytes. The plan writes the values to the device before
    /// any other launch. They are not overwritten later.
    pub fn put(&mut self, words: &[u32]) -> At {
        let at = At { space: Space::Words, bytes: 4 * self.words.len() };
        self.words.extend(words);
        self.words.resize(self.words.len().next_multiple_of(4), 0);
        at
    }

    /// Completes the plan: prepends the launches that write the values passed to [`Plan::put`].
    pub fn finish(mut self) -> Self {
        self.launches.splice(0..0, put(&self.words, Space::Words.into()));
        self
    }
}

/// An allocator of workspace memory. Allocations are made and freed in the order in which launches run.
#[derive(Debug, Default)]
pub struct Room {
    /// Start and end of each allocation, sorted.
    taken: Vec<(usize, usize)>,
    most: usize,
}

impl Room {
    /// Allocates `numbers` 4-byte values.
    pub fn take(&mut self, numbers: usize) -> At {
        self.bytes(4 * numbers)
    }

    /// Allocates maps with exactly `channels` channels in memory.
    pub fn map(&mut self, number: Number, images: usize, (height, width): (usize, usize), channels: usize) -> Map {
        let at = self.bytes(number.size() * images * height * width * channels);
        Map { at, images, height, width, channels, phased: false }
    }

    /// Allocates maps of `channels` channels. In memory, channels are padded by the function [`stored`].
    pub fn stored(&mut self, number: Number, images: usize, size: (usize, usize), channels: usize) -> Map {
        self.map(number, images, size, stored(channels))
    }

    /// Allocates `bytes` bytes in the first gap that is large enough.
    pub fn bytes(&mut self, bytes: usize) -> At {
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

    /// Frees the allocation at this position.
    pub fn give(&mut self, at: At) {
        debug_assert_eq!(at.space, Space::Workspace);
        self.taken.retain(|&(begin, _)| begin != at.bytes);
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
        assert_eq!(room.most, 1536);
    }
}
