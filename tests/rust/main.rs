//! The crate's tests, a file for each of its rooms.
mod allocations;
mod cifar_files;
mod convolution;
mod cuda;
mod data;
mod flatbuffer;
mod image;
mod jpeg;
mod kernels;
mod layering;
mod optim;
mod style;
mod tflite;
mod tflite_files;
mod training;
mod weights;
