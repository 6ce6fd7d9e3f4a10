//! The order of the images in an epoch, and each rank's share of a batch: pure functions of seed, epoch, batch and rank.
//!
//! A row is a position in a global batch.
use crate::error::{Error, Result};
use crate::random::Key;
use rand::seq::SliceRandom;
use std::ops::Range;

/// The order of the images, the division of this order into global batches, and this rank's rows of each batch.
///
/// For a given global batch size, the contents of a batch do not depend on the number of ranks. The ranks only divide the rows
/// among themselves.
#[derive(Clone, Copy, Debug)]
pub struct Sampler {
    len: usize,
    /// The global batch size: the sum over all ranks.
    batch_size: usize,
    shuffle: bool,
    drop_last: bool,
    seed: u64,
    rank: usize,
    world_size: usize,
}

/// One rank's share of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The position of the batch's first image in the order of the epoch.
    pub first: usize,
    /// The number of images of the batch, on all ranks together.
    pub images: usize,
    /// The rank's rows. Rows >= `images` repeat images from the start of the epoch, so that all ranks have equally many rows.
    pub rows: Range<usize>,
}

impl Sampler {
    /// Creates a sampler for `len` images in batches of `batch_size` on each rank.
    ///
    /// # Errors
    /// The number of images is 0 or above 2^32 - 1; `batch_size` is 0; the rank is not below the world size; or `drop_last`
    /// leaves no batch, because there are fewer images than one global batch.
    pub fn new(
        len: usize,
        batch_size: usize,
        (shuffle, drop_last): (bool, bool),
        seed: u64,
        (rank, world_size): (usize, usize),
    ) -> Result<Self> {
        if batch_size == 0 {
            return Err(Error::value("batch_size", batch_size, "must be an integer >= 1"));
        }
        if world_size == 0 {
            return Err(Error::value("world_size", world_size, "must be an integer >= 1"));
        }
        if rank >= world_size {
            return Err(Error::value(
                "rank",
                rank,
                format!("must be an integer in [0, world_size - 1], with world_size={world_size}"),
            ));
        }
        if len == 0 || u32::try_from(len).is_err() {
            return Err(Error::value("len(source)", len, "must be in [1, 4294967295]"));
        }
        let all = batch_size.saturating_mul(world_size);
        let sampler = Self { len, batch_size: all, shuffle, drop_last, seed, rank, world_size };
        if sampler.batches() == 0 {
            let on_all = if world_size == 1 { String::new() } else { format!(" ({all} on {world_size} ranks)") };
            let requirement = format!(
                "must be at most the source's {len} images, as the last, incomplete batch is dropped; take a smaller one, or \
                 give a TwoViewLoader with drop_last=False"
            );
            return Err(Error::value("batch_size", format!("{batch_size}{on_all}"), requirement));
        }
        Ok(sampler)
    }

    /// Returns the number of batches in an epoch. Each rank has this number.
    pub fn batches(&self) -> usize {
        match self.drop_last {
            true => self.len / self.batch_size,
            false => self.len.div_ceil(self.batch_size),
        }
    }

    /// Returns the number of ranks among which each batch is divided.
    pub fn world_size(&self) -> usize {
        self.world_size
    }

    /// Returns the seed of the run.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Returns this rank's share of a batch: contiguous rows. The shares of all ranks, in order, form the batch.
    pub fn share(&self, batch: usize) -> Share {
        let first = batch * self.batch_size;
        let images = self.batch_size.min(self.len - first);
        let each = images.div_ceil(self.world_size);
        Share { first, images, rows: self.rank * each..(self.rank + 1) * each }
    }

    /// Returns the permutation of all images in an epoch, which is the same on each rank.
    pub fn order(&self, epoch: u64) -> Vec<u32> {
        let mut all: Vec<u32> = (0..self.len as u32).collect();
        if self.shuffle {
            let key = Key { seed: self.seed, epoch, index: u64::MAX, view: u64::MAX };
            all.shuffle(&mut key.generator());
        }
        all
    }
}
