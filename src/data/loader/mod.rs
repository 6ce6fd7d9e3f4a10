//! Threads that make batches of views.
//!
//! Whoever iterates opens batches, at most `prefetch` of them beyond the one it waits for, each with memory for its views; threads
//! take one image after the other, of the first batch that has one left, and write its views in place. Where styles come from the
//! batch, an image is taken twice: to decode and encode it, and when all of its batch are, to make its views.
//!
//! What an image becomes is a function of `(seed, epoch, index)`, never of threads.
mod epoch;
mod worker;

use super::faults::Faults;
use super::{Fault, Item, OnDamage, Reading, Sampler, Source, ViewParams, Views};
use crate::error::{Error, Result};
use crate::image::{Crop, DecodeOptions, Decoded, RgbImage};
use crate::kernels::threads::slots::Slots;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Arc;

pub use epoch::Epoch;

/// How many images may fail one after the other before it is the source that has failed.
const MOST_IN_A_ROW: usize = 100;

/// Memory for each view of a batch.
pub type Memory = Vec<Slots>;

/// A batch whose views are written.
#[derive(Debug, Default)]
pub struct Batch {
    /// Which images, in order.
    pub indices: Vec<usize>,
    /// Their classes.
    pub targets: Vec<i64>,
    /// What they are called.
    pub names: Vec<OsString>,
    /// What was drawn for each, where something of the views is still to be made.
    pub params: Vec<Vec<ViewParams>>,
    /// Regions of them and which these are, where all of the views is still to be made.
    pub regions: Vec<(Arc<RgbImage>, Crop)>,
}

/// What threads make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Makes {
    /// Views.
    #[default]
    Views,
    /// The first half of them, for which there is memory as [`Views::crops`] tells.
    Crops,
    /// Nothing but decoded images, of each the region that its views are of; no memory is given.
    Regions,
}

/// A source, an order and views.
pub struct Loader {
    source: Arc<dyn Source>,
    views: Arc<Views>,
    sampler: Sampler,
    reading: Reading,
    faults: Faults,
    makes: Makes,
}

impl Loader {
    /// What an epoch needs.
    pub fn new(source: Arc<dyn Source>, views: Arc<Views>, sampler: Sampler, reading: Reading) -> Self {
        Self { source, views, sampler, reading, faults: Faults::default(), makes: Makes::Views }
    }

    /// The same, whose threads make this.
    ///
    /// # Errors
    /// As [`Views::check_halves`] and [`Views::check_regions`].
    pub fn making(self, makes: Makes) -> Result<Self> {
        if makes != Makes::Views {
            self.views.check_halves(self.sampler.world_size())?;
        }
        if makes == Makes::Regions {
            self.views.check_regions()?;
        }
        Ok(Self { makes, ..self })
    }

    /// Whether the threads need the other images of a batch.
    fn needs_batch(&self) -> bool {
        match self.makes {
            Makes::Views => self.views.needs_batch(),
            Makes::Crops => self.views.crops_need_batch(),
            Makes::Regions => false,
        }
    }

    /// Its order.
    pub fn sampler(&self) -> &Sampler {
        &self.sampler
    }

    /// Its views.
    pub fn views(&self) -> &Views {
        &self.views
    }

    /// What was replaced, or used although it is damaged, by name.
    pub fn faults(&self) -> BTreeMap<OsString, Fault> {
        self.faults.all()
    }

    /// Starts threads for the batches of an epoch from `batch` on.
    ///
    /// # Errors
    /// A batch beyond the epoch; the system has no thread left.
    pub fn start(self: &Arc<Self>, epoch: u64, batch: usize, threads: usize, prefetch: usize) -> Result<Epoch> {
        Epoch::start(self.clone(), epoch, batch, threads, prefetch)
    }

    /// Decodes the image at this place of the order, or what stands in for it; of it, what `region` says for its size.
    fn image(
        &self,
        order: &[u32],
        place: usize,
        region: &(dyn Fn(usize, usize) -> Crop + Sync),
    ) -> Result<(usize, RgbImage, i64)> {
        let Reading { least, exif, .. } = self.reading;
        let options = DecodeOptions { least, exif, region: Some(region) };
        let mut tried = 0;
        loop {
            let index = order[(place + tried) % order.len()] as usize;
            let error = match self.usable(index, &options)? {
                Ok((image, target)) => return Ok((index, image, target)),
                Err(error) => error,
            };
            self.faults.count(self.source.name(index), error.to_string(), false);
            tried += 1;
            if tried == order.len().min(MOST_IN_A_ROW) {
                let reason = format!("{tried} images in a row cannot be read, this the last of them: {error}");
                return Err(Error::image(self.source.name(index), reason));
            }
        }
    }

    /// An image that views can be made of, or the error for which another one is to take its place.
    fn usable(&self, index: usize, options: &DecodeOptions<'_>) -> Result<Result<(RgbImage, i64)>> {
        let Reading { on_error, on_damage, .. } = self.reading;
        let wrong = |reason: String| Error::image(self.source.name(index), reason);
        let Item { image: Decoded { pixels, damage }, target } = match self.source.get(index, options) {
            Ok(item) => item,
            Err(error) => return on_error.replaces(error).map(Err),
        };
        if let Some(damage) = &damage
            && on_damage != OnDamage::Use
        {
            let error = wrong(format!("damaged: {damage}"));
            return if on_damage == OnDamage::Replace { Ok(Err(error)) } else { Err(error) };
        }
        if let Err(error) = self.views.check(pixels.view()) {
            return on_error.replaces(wrong(error.to_string())).map(Err);
        }
        if let Some(damage) = damage {
            self.faults.count(self.source.name(index), format!("damaged: {damage}"), true);
        }
        Ok(Ok((pixels, target)))
    }
}
