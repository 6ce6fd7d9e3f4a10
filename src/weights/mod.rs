//! Files to named tensors: a model is the description of its network and the tensors that this names.
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
