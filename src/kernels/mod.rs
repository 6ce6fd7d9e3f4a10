//! Compute kernels: loops over pixels, features and weights. All SIMD and CUDA code is here, and almost all `unsafe` code. The
//! modules, lowest level first:
//!
//! - [`isa`]: instruction sets, and vector traits: a loop is written once and compiled for each instruction set.
//! - [`threads`]: the thread pool, and memory that many threads write.
//! - [`cuda`]: kernel launches, launch order, device memory, the driver and the compiler.
//! - [`image`]: augmentation operations on one image, stored as `uint8` colour planes.
//! - [`inference`]: the layers of the style predictor F and the transformer T, on the feature maps of one image in float32 or
//!   bytes.
//! - [`training`]: operations on float32 batches, with gradients.
//!
//! The files in the folder of an operation:
//!
//! - `mod.rs`: the public interface (checks, packing, choice of path).
//! - `scalar.rs`: plain reference loops.
//! - `simd.rs`: the same loops over the vectors of [`isa`].
//! - `cuda.rs`: the launch.
//! - `<operation>.cu`: the CUDA kernels.
//!
//! `training` and `inference` share only the inner loop of matrix products (`isa/tile.rs`) and the Winograd transforms
//! (`isa/winograd.rs`). Inference convolves one image with packed weights; training convolves batches and needs gradients.
pub mod cuda;
pub mod image;
pub mod inference;
pub mod isa;
pub mod threads;
pub mod training;
