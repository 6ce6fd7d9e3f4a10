//! Trainable networks: layers with gradients on top of `kernels/`, and the operation that puts a network into candle's graph.
//!
//! candle's own convolution, batch norm, pooling and ReLU are slow, wrong or without a gradient. candle's graph would also copy
//! and add the gradient of every activation.
//!
//! A network is therefore *one* custom operation on two tensors: its input and the flat vector of its parameters ([`Network`]).
//! Within the operation, layers run on plain arrays. The backward passes are hand-written, and free the kept activations as
//! they proceed. Losses are computed with candle.
//!
//! Maps are NHWC, and weights are OHWI. In files, axes have PyTorch's order ([`Layout`]).
mod array;
mod batch_norm;
mod conv2d;
mod layout;
mod mlp;
mod network;

pub use array::{Array, ArrayRef, Engine};
pub use batch_norm::{BatchNorm, Normed};
pub use conv2d::Conv2d;
pub(crate) use layout::normal;
pub use layout::{Buffer, Initial, Layout, Parameter};
pub use mlp::{Hidden, Last, Mlp};
pub use network::{Body, Kept, Mode, Network, Pass, change};
