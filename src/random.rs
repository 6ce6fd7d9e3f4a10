//! Random generators. Each stream is keyed by `(seed, epoch, index, view)` and, optionally, the name of an operation. All
//! random results of this crate are drawn from these streams.
//!
//! The ChaCha8 key of a stream consists of the four integers themselves, so two keys never share a stream. No draw depends on
//! the order in which images are visited, and there is no global state. Each operation of a view has its own stream. Adding or
//! removing an operation therefore does not change the draws of the other operations.
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A random generator, e.g. for one operation on one view of an image.
pub type Generator = ChaCha8Rng;

/// The key of a stream of random numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Key {
    /// The run's seed, or a seed drawn from a framework's generator.
    pub seed: u64,
    /// The epoch, counted from 0.
    pub epoch: u64,
    /// The image's index in its dataset or batch.
    pub index: u64,
    /// The index of the view; 0 is the image's first view, also called the left view.
    pub view: u64,
}

impl Key {
    /// Returns the generator of this key.
    pub fn generator(self) -> Generator {
        let mut bytes = [0; 32];
        for (to, number) in bytes.chunks_exact_mut(8).zip([self.seed, self.epoch, self.index, self.view]) {
            to.copy_from_slice(&number.to_le_bytes());
        }
        Generator::from_seed(bytes)
    }

    /// Returns the generator of the operation `name` under this key. ChaCha's stream id is the 64-bit FNV-1a hash of the name.
    pub fn stream(self, name: &str) -> Generator {
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        let mut generator = self.generator();
        generator.set_stream(hash);
        generator
    }
}

/// Returns `true` with probability `p`.
pub fn comes(generator: &mut Generator, p: f32) -> bool {
    generator.random::<f32>() < p
}

/// Draws uniformly from a range.
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
