//! Weight files, read into named tensors. A model is the description of a network, together with the tensors that the
//! description names.
pub mod adain;
pub mod containers;
pub mod convert;
pub mod inception_v3;
pub mod layers;
pub mod magenta;
mod model;
pub mod network;
pub mod safetensors;
pub mod styleaug;
pub mod vgg19;

pub use model::{EMBEDDED_BANK, Model, Tensor, Tensors};
pub use network::Network;
