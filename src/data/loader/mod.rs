//! Threads that compute batches of views.
//!
//! The consumer opens up to `prefetch` batches ahead of the one it waits for. For each batch, the consumer passes memory for
//! the views. Threads take one image at a time from the first unfinished batch, and write the image's views into the batch's
//! memory.
//!
//! With in-batch styles, each image is processed in two stages. The first stage decodes the image and computes its style
//! vector. The second stage computes the image's views; it starts once all images of the batch have style vectors.
//!
//! The result is a function of `(seed, epoch, index)` and does not depend on the threads.
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

/// The number of consecutive unreadable images after which the source is considered to have failed.
const MOST_IN_A_ROW: usize = 100;

/// The memory for a batch: for each view, one slot per image.
pub type Memory = Vec<Slots>;

/// A completed batch. The views, if any, are in the memory that was passed for the batch.
#[derive(Debug, Default)]
pub struct Batch {
    /// The index of each image in the source.
    pub indices: Vec<usize>,
    /// The class of each image.
    pub targets: Vec<i64>,
    /// The name of each image.
    pub names: Vec<OsString>,
    /// The parameters drawn for the views of each image, if operations remain to be applied.
    pub params: Vec<Vec<ViewParams>>,
    /// The decoded region of each image and its position in the image, if the views remain to be computed.
    pub regions: Vec<(Arc<RgbImage>, Crop)>,
}

/// The kind of output that a loader's threads produce.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Makes {
    /// Complete views.
    #[default]
    Views,
    /// The crops, i.e. the first half of the views, in the layout of [`Views::crops`].
    Crops,
    /// The regions of decoded images that the views need. No memory is passed for regions.
    Regions,
}

/// A loader: a source of images, the order of the images in each epoch, and the views to compute.
pub struct Loader {
    source: Arc<dyn Source>,
    views: Arc<Views>,
    sampler: Sampler,
    reading: Reading,
    faults: Faults,
    makes: Makes,
}

impl Loader {
    /// Creates a loader of views.
    pub fn new(source: Arc<dyn Source>, views: Arc<Views>, sampler: Sampler, reading: Reading) -> Self {
        Self { source, views, sampler, reading, faults: Faults::default(), makes: Makes::Views }
    }

    /// Sets the output of the threads.
    ///
    /// # Errors
    /// The same as [`Views::check_halves`] and [`Views::check_regions`].
    pub fn making(self, makes: Makes) -> Result<Self> {
        if makes != Makes::Views {
            self.views.check_halves(self.sampler.world_size())?;
        }
        if makes == Makes::Regions {
            self.views.check_regions()?;
        }
        Ok(Self { makes, ..self })
    }

    /// Returns `true` if the threads need the other images of a batch to compute the views of an image.
    fn needs_batch(&self) -> bool {
        match self.makes {
            Makes::Views => self.views.needs_batch(),
            Makes::Crops => self.views.crops_need_batch(),
            Makes::Regions => false,
        }
    }

    /// Returns the sampler, which determines the order of the images.
    pub fn sampler(&self) -> &Sampler {
        &self.sampler
    }

    /// Returns the views.
    pub fn views(&self) -> &Views {
        &self.views
    }

    /// Returns the unreadable and the damaged images so far, by name.
    pub fn faults(&self) -> BTreeMap<OsString, Fault> {
        self.faults.all()
    }

    /// Starts threads that compute the batches of an epoch from index `batch` to the end.
    ///
    /// # Errors
    /// `batch` is beyond the end of the epoch, or the system cannot start a thread.
    pub fn start(self: &Arc<Self>, epoch: u64, batch: usize, threads: usize, prefetch: usize) -> Result<Epoch> {
        Epoch::start(self.clone(), epoch, batch, threads, prefetch)
    }

    /// Decodes the image at position `place` of `order`, or its replacement, and returns (index, image, class).
    ///
    /// `region` maps the image's height and width to the region that is needed.
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
                let reason = format!("{tried} consecutive images cannot be read, this is the last of them: {error}");
                return Err(Error::image(self.source.name(index), reason));
            }
        }
    }

    /// Returns an image from which views can be computed. The inner error is the reason for replacing the image.
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
