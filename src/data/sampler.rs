//! In which order an epoch visits a source: a function of seed, epoch and rank.
use crate::error::{Error, Result};
use crate::random::Key;
use rand::seq::SliceRandom;

/// Order, share and batches, as torch's `DistributedSampler` and `BatchSampler` have them.
#[derive(Clone, Copy, Debug)]
pub struct Sampler {
    len: usize,
    batch_size: usize,
    shuffle: bool,
    drop_last: bool,
    seed: u64,
    rank: usize,
    world_size: usize,
}

impl Sampler {
    /// `len` images in batches.
    ///
    /// # Errors
    /// No image, a batch of none, a rank beyond the world; fewer images than one batch where the last is dropped.
    pub fn new(
        len: usize,
        batch_size: usize,
        (shuffle, drop_last): (bool, bool),
        seed: u64,
        (rank, world_size): (usize, usize),
    ) -> Result<Self> {
        if batch_size == 0 {
            return Err(Error::value("batch_size", batch_size, "at least 1"));
        }
        if world_size == 0 {
            return Err(Error::value("world_size", world_size, "at least 1"));
        }
        if rank >= world_size {
            return Err(Error::value("rank", rank, format!("from 0 to world_size - 1; world_size = {world_size}")));
        }
        if len == 0 || u32::try_from(len).is_err() {
            return Err(Error::value("len(source)", len, "from 1 to 4,294,967,295 images"));
        }
        let sampler = Self { len, batch_size, shuffle, drop_last, seed, rank, world_size };
        if sampler.batches() == 0 {
            let remedy = format!(
                "larger than this rank's {} images, and the last batch is dropped; take a smaller one, or give a TwoViewLoader with drop_last=False",
                sampler.share()
            );
            return Err(Error::value("batch_size", batch_size, remedy));
        }
        Ok(sampler)
    }

    /// Batches in an epoch.
    pub fn batches(&self) -> usize {
        match self.drop_last {
            true => self.share() / self.batch_size,
            false => self.share().div_ceil(self.batch_size),
        }
    }

    /// Images in an epoch of this rank: each rank has as many.
    pub fn share(&self) -> usize {
        match self.drop_last {
            true => self.len / self.world_size,
            false => self.len.div_ceil(self.world_size),
        }
    }

    /// Of the run.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Where in the order of its epoch a batch stands.
    pub fn range(&self, batch: usize) -> std::ops::Range<usize> {
        let first = batch * self.batch_size;
        first..(first + self.batch_size).min(self.share())
    }

    /// The images of this rank in their order. What lacks for equal shares is repeated from the beginning.
    pub fn order(&self, epoch: u64) -> Vec<u32> {
        let mut all: Vec<u32> = (0..self.len as u32).collect();
        if self.shuffle {
            let key = Key { seed: self.seed, epoch, index: u64::MAX, view: u64::MAX };
            all.shuffle(&mut key.generator());
        }
        (0..self.share()).map(|i| all[(self.rank + i * self.world_size) % self.len]).collect()
    }
}
