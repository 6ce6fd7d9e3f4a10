//! Layers on float32 batches in NHWC, and their gradients, for training. `nn` wraps them as operations of candle's graph.
//!
//! - [`convolution`]: forward, and the gradients of the input and of the weights.
//! - [`batch_norm`]: normalization over batch, height and width.
//! - [`pooling`]: the maximum of a window, and the mean of a map.
pub mod batch_norm;
pub mod convolution;
pub mod pooling;
