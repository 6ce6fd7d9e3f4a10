//! Backbones: what learns to see.
mod resnet;

pub use resnet::{Arch, EncoderSettings, resnet};
