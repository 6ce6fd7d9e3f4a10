//! The weights of a depthwise convolution on CUDA. `convolution.cu` computes the depthwise convolution together with the
//! pointwise convolution that follows.
use crate::kernels::cuda::{At, Number, Weights, stored};
use crate::kernels::inference::layer_shape::Shape;

/// A depthwise convolution with weights on the device.
#[derive(Clone, Debug)]
pub struct Depthwise {
    shape: Shape,
    /// `[tap][channel]`.
    pub(in crate::kernels) weight: At,
    /// `[channel]`.
    pub(in crate::kernels) bias: At,
}

impl Depthwise {
    /// Creates the convolution with `weight` in `[channels, 1, kernel, kernel]` order.
    pub fn new(number: Number, shape: Shape, weight: &[f32], bias: Option<&[f32]>, weights: &mut Weights) -> Self {
        let (channels, taps) = (shape.outputs, shape.taps());
        let room = stored(channels);
        let turned =
            (0..taps * room).map(|n| if n % room < channels { weight[n % room * taps + n / room] } else { 0.0 });
        let weight = weights.push(number, turned);
        let biases = (0..room).map(|c| bias.and_then(|bias| bias.get(c)).copied().unwrap_or(0.0));
        Self { shape, weight, bias: weights.push(Number::F32, biases) }
    }

    /// Shape of the layer.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }
}
