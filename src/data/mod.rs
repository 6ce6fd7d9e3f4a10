//! From files to batches of views: sources of images, the order of an epoch, the views, and the threads that compute them.
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
mod selection;
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
pub use selection::Selection;
pub use view::{Action, Drawn, Step, Styling, View, ViewParams};
pub use views::{BatchStyles, Views};
pub use webdataset::WebDataset;

/// Suffixes of image files in folders and shards: torchvision's `IMG_EXTENSIONS`, so that both count the same files. GIF is not
/// among them, though explicitly listed GIF files are read (their first frame).
pub const SUFFIXES: [&str; 9] = ["jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff", "ppm", "pgm"];

/// An image of a source.
#[derive(Clone, Debug, Default)]
pub struct Item {
    /// The pixels, with the decoder's warning if the file is damaged.
    pub image: Decoded,
    /// The class.
    pub target: i64,
}

/// A source of images; thread-safe.
pub trait Source: Send + Sync {
    /// Returns the number of images.
    fn len(&self) -> usize;

    /// Returns `true` if there are no images.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the name of an image: its path relative to the common folder, with forward slashes, or its position in a file.
    fn name(&self, index: usize) -> OsString;

    /// Returns the stored size of an image in bytes; `None` if it is not known without reading the image. Names and sizes form
    /// the fingerprint of a dataset.
    fn bytes(&self, _index: usize) -> Option<u64> {
        None
    }

    /// Returns the class of an image, or None if it is not known without reading the image.
    fn target(&self, _index: usize) -> Option<i64> {
        None
    }

    /// Returns an image with its class, or 0 if there are no classes.
    ///
    /// # Errors
    /// The image cannot be read or decoded; the error names it.
    fn get(&self, index: usize, options: &DecodeOptions<'_>) -> Result<Item>;
}
