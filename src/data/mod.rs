//! From files to batches of two views: where pictures come from, in which order an epoch visits them, the views, and the threads that
//! make them.
mod cuda;
mod files;
mod loader;
mod records;
mod sampler;
mod views;
mod webdataset;

use crate::error::Result;
use crate::image::Pixels;

pub use files::{Files, ImageFolder};
pub use loader::{Batch, Epoch, Fault, Loader, Memory, OnError};
pub use records::{Layout, Records};
pub use sampler::Sampler;
pub use views::{BatchStyles, Position, Styling, TwoViews, View, ViewParams, ViewsParams};
pub use webdataset::WebDataset;

/// What is taken for a picture, in folders and in shards: torchvision's `IMG_EXTENSIONS`.
const SUFFIXES: [&str; 9] = ["jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff", "ppm", "pgm"];

/// Where pictures come from; read by many threads at once.
pub trait Source: Send + Sync {
    /// How many.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What a picture is called: its path, or its place in a file.
    fn name(&self, index: usize) -> String;

    /// A picture with its class; 0 where there are no classes. `least` is that of [`crate::image::decode`].
    ///
    /// # Errors
    /// It cannot be read or decoded; the error names it.
    fn get(&self, index: usize, least: Option<u16>) -> Result<(Pixels, i64)>;
}
