//! Readers of weight files. They turn bytes into named tensors, and check every size against the number of bytes present.
//!
//! - [`members`]: the files in a folder or an archive, by name.
//! - [`stream`]: a reader of one file of a folder or an archive.
//! - [`protobuf`]: protocol buffers, the messages of TensorFlow and ONNX.
//! - [`table`], [`bundle`], `bundle_files`: TensorFlow's tensor bundles.
//! - [`saved_model`]: checkpoints and SavedModels, by the names of their variables.
//! - [`tfjs`]: TensorFlow.js graph models.
//! - [`graph`], `operator`, `constant`: a graph of operators, read by `tflite` (from a `flatbuffer`) or `onnx`.
//! - [`numbers`]: conversion of floating-point types to float32.
//! - [`pth`]: PyTorch files, without running the code in them.
pub mod bundle;
mod bundle_files;
mod constant;
pub mod flatbuffer;
pub mod graph;
pub mod members;
pub mod numbers;
mod onnx;
mod onnx_operator;
mod operator;
pub mod protobuf;
pub mod pth;
pub mod saved_model;
pub mod stream;
pub mod table;
pub mod tfjs;
mod tflite;
mod tflite_operator;
