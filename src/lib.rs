//! Style augmentations for self-supervised learning (SASSL, Rojas-Gomez et al., TMLR 2024, arXiv 2312.01187).
//!
//! The modules are listed from the lowest layer to the highest. A module uses only modules that are listed before it, which
//! `tests/rust/layering.rs` checks.
//!
//! - [`error`]: errors, one variant per kind.
//! - [`files`]: a check of files before they are read, and atomic writing.
//! - [`interrupt`]: cancellation of long calls.
//! - [`memory`]: fallible allocation for sizes set by users and files.
//! - [`parts`]: components selected by name, with their own settings.
//! - [`random`]: random generators keyed by `(seed, epoch, index, view)`.
//! - [`kernels`]: the inner loops; the only module with SIMD code and CUDA kernels.
//! - [`image`]: decoding and augmentation of one image.
//! - [`weights`]: reading of weight files into named tensors, and descriptions of networks.
//! - [`style`]: Algorithm 1 of the paper: style vectors, feature blending and style transfer.
//! - [`data`]: from files to batches of two views.
//! - [`nn`]: trainable layers, and networks as operations in candle's graph.
//! - [`encoders`]: backbones under torchvision's names.
//! - [`optim`]: optimizers and schedules.
//! - [`methods`]: MoCo v2, BYOL, SimCLR and SimSiam, one file per paper.
//! - [`eval`]: nearest neighbours and a linear probe on frozen features.
//! - [`train`]: training runs and their checkpoints.
//! - `bindings`: the Python module (feature `python`).
pub mod data;
pub mod encoders;
pub mod error;
pub mod eval;
pub mod files;
pub mod image;
pub mod interrupt;
pub mod kernels;
pub mod memory;
pub mod methods;
pub mod nn;
pub mod optim;
pub mod parts;
pub mod random;
pub mod style;
pub mod train;
pub mod weights;

#[cfg(feature = "python")]
mod bindings;

pub use error::{Error, Result};
