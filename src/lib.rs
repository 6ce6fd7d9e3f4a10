//! Style augmentations for self-supervised learning (SASSL, Rojas-Gomez et al., TMLR 2024, arXiv 2312.01187).
//!
//! The rooms, lowest first; a module uses those above it in this list and nothing else of the crate
//! (`tests/rust/layering.rs` holds the order):
//!
//! - [`error`]: the ways to be wrong.
//! - [`files`]: files read if they are regular ones, and written whole or not at all.
//! - [`interrupt`]: the early end of a long call.
//! - [`memory`]: sizes that others decide.
//! - [`parts`]: parts that are chosen by name, with settings of their own.
//! - [`random`]: `(seed, epoch, index, view)` to a generator.
//! - [`kernels`]: loops over values; the only home of SIMD and CUDA.
//! - [`image`]: one image: decoding, cropping, colours, blur.
//! - [`weights`]: files to named tensors and the description of a network.
//! - [`style`]: the paper's Algorithm 1, a file for each of its lines.
//! - [`data`]: from files to batches of two views.
//! - [`nn`]: layers that learn, and networks as operations of candle's graph.
//! - [`encoders`]: backbones under the names of torchvision.
//! - [`optim`]: optimizers and schedules.
//! - [`methods`]: MoCo v2, BYOL, SimCLR and SimSiam, a file for each paper.
//! - [`eval`]: nearest neighbours and a linear probe, on frozen features.
//! - [`train`]: a run, and what a later one needs to go on.
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
