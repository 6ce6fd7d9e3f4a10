//! The crate's tests, a file for each of its rooms.
mod kernels;
mod layering;
mod style;
mod weights;
