//! The crate's tests, a file for each of its rooms.
mod allocations;
mod data;
mod flatbuffer;
mod image;
mod kernels;
mod layering;
mod style;
mod tflite;
mod weights;
