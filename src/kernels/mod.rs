//! Compute kernels: loops over pixels, features and weights. All SIMD and CUDA code is here, and almost all `unsafe` code. The
//! modules, lowest first:
//!
//! - [`isa`]: instruction sets, and vector types for loops that are written once.
//! - [`threads`]: the thread pool, and memory that many threads write.
//! - [`cuda`]: kernel launches, their order and memory, the driver, and the compiler.
//! - [`image`]: augmentation operations on one image, stored as `uint8` colour planes.
//! - [`inference`]: operations on the feature maps of one image, in float32 or bytes, from which the style predictor F and the
//!   transformer T are built.
//! - [`training`]: operations on float32 batches, with gradients.
//!
//! In an operation's folder, `mod.rs` is the public interface (checks, packing, choice of path), `scalar.rs` contains the plain
//! reference loops, `simd.rs` the same loops over [`isa`]'s vectors, `cuda.rs` the launch and `<operation>.cu` the kernels it
//! launches. `training` and `inference` share only the inner loop of matrix products (`isa/tile.rs`): a convolution of one
//! image with prepared weights and a convolution of batches with gradients have little else in common.
pub mod cuda;
pub mod image;
pub mod inference;
pub mod isa;
pub mod threads;
pub mod training;
