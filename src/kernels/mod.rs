//! Loops over values: the only home of SIMD and CUDA, and almost the only one of `unsafe`. The rooms, lowest first:
//!
//! - [`isa`]: instruction sets, and vectors for loops that are written once.
//! - [`threads`]: the pool, and memory that many threads write.
//! - [`cuda`]: launches, their plan, the driver and the compiler.
//! - [`image`]: one image in bytes, `uint8` planes: what augmentations do to it.
//! - [`inference`]: feature maps of one image, in float32 or in bytes: what F and T are built from.
//! - [`training`]: batches in float32, with gradients.
//!
//! In an operation's folder `mod.rs` is the front door (checks, packing, choice of path), `scalar.rs` the plain loops that are
//! the reference, `simd.rs` the same loops over [`isa`]'s vectors, `cuda.rs` its launch and `<operation>.cu` what it launches.
//! `training` and `inference` share the loop over a tile (`isa/tile.rs`) and no more: a convolution of one image with prepared
//! weights and one of batches with gradients have little else in common.
pub mod cuda;
pub mod image;
pub mod inference;
pub mod isa;
pub mod threads;
pub mod training;
