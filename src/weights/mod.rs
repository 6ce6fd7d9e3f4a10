//! Files to named tensors: a model is a description of its network and the tensors it names.
pub mod network;
