//! Launches in their order, and the workspace that they share: which bytes of it are whose, while one follows the other.
use super::{At, Launch, Map, Number, Space, put, stored};

/// Where an allocation begins, as the caching allocators of frameworks have it.
const ALIGN: usize = 256;

/// Launches that run one after the other, on one stream.
#[derive(Debug)]
pub struct Plan {
    /// In their order.
    pub launches: Vec<Launch>,
    /// What maps are of.
    pub number: Number,
    /// Their workspace.
    pub room: Room,
    /// What lies at [`Space::Words`].
    words: Vec<u32>,
}

impl Plan {
    /// Without any yet.
    pub fn new(number: Number) -> Self {
        Self { launches: vec![], number, room: Room::default(), words: vec![] }
    }

    /// Bytes of [`Space::Workspace`], and of [`Space::Words`] behind it.
    pub fn workspace(&self) -> usize {
        self.words_at() + 4 * self.words.len()
    }

    /// Where [`Space::Words`] begins in the workspace.
    pub fn words_at(&self) -> usize {
        self.room.most
    }

    /// Numbers of four bytes, which are there before anything else runs, and stay. They begin at a multiple of 16 bytes.
    pub fn put(&mut self, words: &[u32]) -> At {
        let at = At { space: Space::Words, bytes: 4 * self.words.len() };
        self.words.extend(words);
        self.words.resize(self.words.len().next_multiple_of(4), 0);
        at
    }

    /// Nothing is added any more: what was put is written by the first launches.
    pub fn finish(mut self) -> Self {
        self.launches.splice(0..0, put(&self.words, Space::Words.into()));
        self
    }
}

/// Bytes that are taken and given back in the order of launches, which is the order in which they run.
#[derive(Debug, Default)]
pub struct Room {
    /// Begin and end of what is taken, in order.
    taken: Vec<(usize, usize)>,
    most: usize,
}

impl Room {
    /// So many numbers of four bytes.
    pub fn take(&mut self, numbers: usize) -> At {
        self.bytes(4 * numbers)
    }

    /// Maps with room for so many channels.
    pub fn map(&mut self, number: Number, images: usize, (height, width): (usize, usize), channels: usize) -> Map {
        let at = self.bytes(number.size() * images * height * width * channels);
        Map { at, images, height, width, channels, phased: false }
    }

    /// Maps with the usual room for so many channels.
    pub fn stored(&mut self, number: Number, images: usize, size: (usize, usize), channels: usize) -> Map {
        self.map(number, images, size, stored(channels))
    }

    /// The first gap that is large enough.
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

    /// Gives back what begins there.
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
