//! Batches in float32, NHWC, and their gradients: what learns. `nn` makes operations of candle's graph of these.
//!
//! - [`convolution`]: forward, the gradient of the input and that of the weights.
//! - [`batch_norm`]: over batch, height and width.
//! - [`pooling`]: the largest of a window, and the mean of a map.
pub mod batch_norm;
pub mod convolution;
pub mod pooling;
