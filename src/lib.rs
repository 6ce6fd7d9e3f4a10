//! Style augmentations for self-supervised learning (SASSL, Rojas-Gomez et al., TMLR 2024, arXiv 2312.01187).
//!
//! The modules, lowest first; a module uses only those above it in this list (`tests/rust/layering.rs` checks the order):
//!
//! - [`error`]: errors, one variant per kind.
//! - [`files`]: reading of regular files, and atomic writing.
//! - [`interrupt`]: cancellation of long calls.
//! - [`memory`]: fallible allocation for sizes set by users and files.
//! - [`parts`]: components selected by name, with their own settings.
//! - [`random`]: random generators keyed by `(seed, epoch, index, view)`.
//! - [`kernels`]: loops over values; the only module with SIMD and CUDA.
//! - [`image`]: decoding and augmentation of one image.
//! - [`weights`]: weight files, read to named tensors and the description of a network.
//! - [`style`]: Algorithm 1 of the paper, one file per line of it.
//! - [`data`]: from files to batches of two views.
//! - [`nn`]: trainable layers, and networks as operations in candle's graph.
//! - [`encoders`]: backbones under the names of torchvision.
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
