//! Containers of weights, a file for each: bytes to named tensors, with every size checked against the bytes at hand.
//!
//! - [`members`]: a folder or an archive, and its files by name; [`stream`]: one of them while it is read.
//! - [`protobuf`]: the messages of TensorFlow and ONNX.
//! - [`table`], [`bundle`], `bundle_files`: TensorFlow's tensor bundles.
//! - [`saved_model`]: checkpoints and SavedModels, by the names of their variables.
//! - [`tfjs`]: TensorFlow.js' graph models.
//! - [`graph`], `operator`, `constant`: a graph of operators, whichever file it comes from: `tflite` on `flatbuffer`, or `onnx`.
//! - [`numbers`]: values of other types as float32.
//! - [`pth`]: PyTorch's files, without running what is in them.
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
