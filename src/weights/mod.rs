//! Files to named tensors: a model is the description of its network and the tensors that this names.
mod flatbuffer;
pub mod layers;
pub mod magenta;
mod model;
pub mod network;
pub mod safetensors;
pub mod tflite;
mod tflite_operator;

pub use model::{EMBEDDED_BANK, Model, Tensor, Tensors};
pub use network::Network;
