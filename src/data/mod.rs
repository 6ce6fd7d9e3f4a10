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

/// Suffixes of image files in folders and shards. They equal torchvision's `IMG_EXTENSIONS`, so that torchvision finds the same
/// files.
///
/// GIF is not included. A GIF file is read only if its path is listed explicitly; only its first frame is used.
pub const SUFFIXES: [&str; 9] = ["jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff", "ppm", "pgm"];

/// An image of a source, with its class.
#[derive(Clone, Debug, Default)]
pub struct Item {
    /// The pixels, with the decoder's warning if the file is damaged.
    pub image: Decoded,
    /// The class index.
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

    /// Returns the name of an image.
    ///
    /// The name of an image file is its path relative to the common folder of all images, with forward slashes. The name of an
    /// image in a larger file is the name of that file and the image's position in the file.
    fn name(&self, index: usize) -> OsString;

    /// Returns the stored size of an image in bytes; `None` if the size is only known after the image is read.
    ///
    /// Names and sizes are the input of a dataset's fingerprint.
    fn bytes(&self, _index: usize) -> Option<u64> {
        None
    }

    /// Returns the class of an image; `None` if the class is only known after the image is read.
    fn target(&self, _index: usize) -> Option<i64> {
        None
    }

    /// Returns an image with its class. The class is 0 if the source has no classes.
    ///
    /// # Errors
    /// The image cannot be read or decoded; the error names it.
    fn get(&self, index: usize, options: &DecodeOptions<'_>) -> Result<Item>;
}
