//! In which order an epoch visits a source, and which rows of a batch are a rank's: a function of seed, epoch, batch and rank.
use crate::error::{Error, Result};
use crate::random::Key;
use rand::seq::SliceRandom;
use std::ops::Range;

/// The order of the images, batches of all ranks together, and this rank's rows of them.
///
/// Batches are those of one process that has all rows: ranks only share them out.
#[derive(Clone, Copy, Debug)]
pub struct Sampler {
    len: usize,
    /// Of all ranks together.
    batch_size: usize,
    shuffle: bool,
    drop_last: bool,
    seed: u64,
    rank: usize,
    world_size: usize,
}

/// A batch, and which of its rows are a rank's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// Where in the order of its epoch the batch begins.
    pub first: usize,
    /// How many images it has, on all ranks together.
    pub images: usize,
    /// The rank's rows. Those beyond `images` repeat the epoch from its beginning, so that each rank has as many.
    pub rows: Range<usize>,
}

impl Sampler {
    /// `len` images in batches of `batch_size` on each rank.
    ///
    /// # Errors
    /// No image, a batch of none, a rank beyond the world; fewer images than one batch of all ranks where the last is dropped.
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
        let all = batch_size.saturating_mul(world_size);
        let sampler = Self { len, batch_size: all, shuffle, drop_last, seed, rank, world_size };
        if sampler.batches() == 0 {
            let on_all = if world_size == 1 { String::new() } else { format!("{all} images on {world_size} ranks, ") };
            let remedy = format!(
                "{on_all}larger than the source's {len} images, and the last batch is dropped; take a smaller one, or give a \
                 TwoViewLoader with drop_last=False"
            );
            return Err(Error::value("batch_size", batch_size, remedy));
        }
        Ok(sampler)
    }

    /// Batches in an epoch, on each rank.
    pub fn batches(&self) -> usize {
        match self.drop_last {
            true => self.len / self.batch_size,
            false => self.len.div_ceil(self.batch_size),
        }
    }

    /// How many ranks share the batches.
    pub fn world_size(&self) -> usize {
        self.world_size
    }

    /// Of the run.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// This rank's part of a batch: contiguous rows, so that those of all ranks, one after the other, are the batch.
    pub fn share(&self, batch: usize) -> Share {
        let first = batch * self.batch_size;
        let images = self.batch_size.min(self.len - first);
        let each = images.div_ceil(self.world_size);
        Share { first, images, rows: self.rank * each..(self.rank + 1) * each }
    }

    /// All images in the order of an epoch, the same on each rank.
    pub fn order(&self, epoch: u64) -> Vec<u32> {
        let mut all: Vec<u32> = (0..self.len as u32).collect();
        if self.shuffle {
            let key = Key { seed: self.seed, epoch, index: u64::MAX, view: u64::MAX };
            all.shuffle(&mut key.generator());
        }
        all
    }
}
