//! The one place where generators are made: `(seed, epoch, index, view)` and an operation's name are the key of a stream.
//!
//! A stream is ChaCha8 keyed by the four numbers themselves, so two keys never share one, no draw depends on the
//! order in which images are visited, and nothing is global. Each operation of a view has a stream of its own, so that
//! one more or one less leaves the draws of all others as they are.
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The generator of one image in one view.
pub type Generator = ChaCha8Rng;

/// What names a stream of random numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Key {
    /// The run's seed, or the draw of a framework's generator.
    pub seed: u64,
    /// The epoch, counted from 0.
    pub epoch: u64,
    /// The image's index in its data set or batch.
    pub index: u64,
    /// The view: 0 is the left one.
    pub view: u64,
}

impl Key {
    /// The generator of this key.
    pub fn generator(self) -> Generator {
        let mut bytes = [0; 32];
        for (to, number) in bytes.chunks_exact_mut(8).zip([self.seed, self.epoch, self.index, self.view]) {
            to.copy_from_slice(&number.to_le_bytes());
        }
        Generator::from_seed(bytes)
    }

    /// The generator of this key's operation of this name: ChaCha's own number of a stream is the name's hash (FNV-1a, 64 bits).
    pub fn stream(self, name: &str) -> Generator {
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        let mut generator = self.generator();
        generator.set_stream(hash);
        generator
    }
}

/// Whether something of this probability comes.
pub fn comes(generator: &mut Generator, p: f32) -> bool {
    generator.random::<f32>() < p
}

/// A number of a range, each as likely as the others.
pub fn uniform(generator: &mut Generator, (low, high): (f32, f32)) -> f32 {
    low + (high - low) * generator.random::<f32>()
}

#[cfg(test)]
mod tests {
    use super::Key;
    use rand::RngCore;

    #[test]
    fn every_part_of_the_key_changes_the_stream() {
        let draw = |seed, epoch, index, view| Key { seed, epoch, index, view }.generator().next_u64();
        let streams = [draw(0, 0, 0, 0), draw(1, 0, 0, 0), draw(0, 1, 0, 0), draw(0, 0, 1, 0), draw(0, 0, 0, 1)];
        for (i, one) in streams.iter().enumerate() {
            assert!(streams[i + 1..].iter().all(|other| other != one), "stream {i} is repeated");
        }
        assert_eq!(draw(7, 8, 9, 10), draw(7, 8, 9, 10));
        let named = |name| Key::default().stream(name).next_u64();
        assert!(named("crop") != named("blur") && named("crop") == named("crop") && named("crop") != streams[0]);
    }
}
