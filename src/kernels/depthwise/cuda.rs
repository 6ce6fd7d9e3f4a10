//! Depthwise convolution on CUDA.
use crate::kernels::conv::Shape;
use crate::kernels::cuda::{At, Kernel, Launch, Map, Number, Weights, stored};
use crate::kernels::{Border, Pad};
use std::sync::Arc;

/// A depthwise convolution whose weights lie on the device.
#[derive(Clone, Debug)]
pub struct Depthwise {
    shape: Shape,
    number: Number,
    weight: At,
    bias: At,
}

impl Depthwise {
    /// `weight` is `[channels, 1, kernel, kernel]`.
    pub fn new(number: Number, shape: Shape, weight: &[f32], bias: Option<&[f32]>, weights: &mut Weights) -> Self {
        let (channels, taps) = (shape.outputs, shape.kernel * shape.kernel);
        let room = stored(channels);
        let turned =
            (0..taps * room).map(|n| if n % room < channels { weight[n % room * taps + n / room] } else { 0.0 });
        let weight = weights.push(Number::F32, turned);
        let biases = (0..room).map(|c| bias.and_then(|bias| bias.get(c)).copied().unwrap_or(0.0));
        Self { shape, number, weight, bias: weights.push(Number::F32, biases) }
    }

    /// Its shape.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Into `y`; what lies outside of `x` is given by the border.
    pub fn launch(&self, x: &Map, pad: Pad, border: Border, y: &Map) -> Launch {
        let Shape { kernel, stride, upsample, activation, .. } = self.shape;
        let (top, left) = if upsample { (kernel / 2, kernel / 2) } else { (pad.top, pad.left) };
        let defines = vec![
            self.number.define(),
            ("CHANNELS", x.channels),
            ("SIDE", kernel),
            ("STRIDE", stride),
            ("UPSAMPLE", upsample.into()),
            ("BORDER", border.code()),
            ("ACTIVATION", activation.code()),
        ];
        let kernel = Arc::new(Kernel { name: "depthwise", source: include_str!("depthwise.cu"), defines });
        let args = vec![
            x.at.into(),
            self.weight.into(),
            self.bias.into(),
            y.at.into(),
            x.height.into(),
            x.width.into(),
            y.height.into(),
            y.width.into(),
            top.into(),
            left.into(),
        ];
        Launch::each(&kernel, y.pixels() * y.channels / 4, y.images, args)
    }
}
