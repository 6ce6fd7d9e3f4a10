//! Loops over numbers: one folder an operation; the home of SIMD and of `unsafe`.
//!
//! In each folder `mod.rs` is the front door (checks, packing, choice of path), `scalar.rs` the plain loops that are the
//! truth, `simd.rs` the same loops over `isa::Lanes`. All of them work on one image: a [`map::Map`] of
//! height x width x channels float32, channels innermost, with room for its padding around it. Loops over the bytes of
//! [`planes`] are written once, and compiled for each instruction set.
pub mod batch_norm;
pub mod color;
pub mod conv;
pub mod conv2d;
pub mod cuda;
pub mod depthwise;
pub mod gaussian_blur;
pub mod instance_norm;
pub mod interpolate;
pub mod isa;
pub mod jpeg;
pub mod linear;
pub mod map;
pub mod operand;
pub mod parts;
pub mod planes;
pub mod pool;
pub mod pooling;
pub mod quantize;
pub mod resample;
pub mod resize;

pub use isa::{Isa, Precision};
pub use map::{Border, Extent, Map, Pad, Scratch, View};
pub use operand::{Input, Operand, Output};
pub use planes::Planes;
