//! From files to batches of views: where images come from, in which order an epoch visits them, the views, and the threads that
//! make them.
mod cifar;
mod cuda;
mod faults;
mod files;
mod halves;
mod listing;
mod loader;
mod lowering;
mod names;
mod records;
mod regions;
mod sampler;
mod view;
mod views;
mod webdataset;

use crate::error::Result;
use crate::image::{DecodeOptions, Decoded};
use std::ffi::OsString;

pub use cifar::Cifar;
pub use faults::{Fault, OnDamage, OnError, Reading};
pub use files::{Files, ImageFolder};
pub use listing::Listing;
pub use loader::{Batch, Epoch, Loader, Makes, Memory};
pub use records::{Layout, Records};
pub use regions::Region;
pub use sampler::{Sampler, Share};
pub use view::{Action, Drawn, Step, Styling, View, ViewParams};
pub use views::{BatchStyles, Views};
pub use webdataset::WebDataset;

/// What is taken for an image, in folders and in shards: torchvision's `IMG_EXTENSIONS`, so that both count the same files. GIF is not
/// among them, though its first frame is read where a path names it.
pub const SUFFIXES: [&str; 9] = ["jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff", "ppm", "pgm"];

/// An image of a source.
#[derive(Clone, Debug, Default)]
pub struct Item {
    /// Its pixels, and whether its file is damaged.
    pub image: Decoded,
    /// Its class.
    pub target: i64,
}

/// Where images come from; read by many threads at once.
pub trait Source: Send + Sync {
    /// How many.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What an image is called: its path from the folder that holds all of them on, with forward slashes, or its place in a file.
    fn name(&self, index: usize) -> OsString;

    /// How many bytes an image has where it lies; None where that is not known without reading it. Names and sizes tell data apart.
    fn bytes(&self, _index: usize) -> Option<u64> {
        None
    }

    /// An image with its class; 0 where there are no classes.
    ///
    /// # Errors
    /// It cannot be read or decoded; the error names it.
    fn get(&self, index: usize, options: &DecodeOptions<'_>) -> Result<Item>;
}
