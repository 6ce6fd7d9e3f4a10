//! Depthwise convolution, one value at a time.
use super::{Activation, Pass, Shape};
use crate::kernels::inference::feature_map::{FeatureMap, MapView};

pub(super) fn run(shape: &Shape, pass: &Pass, bias: &[f32], input: MapView, out: &mut FeatureMap) {
    let scale = if shape.upsample { 2 } else { 1 };
    let (data, stride, c) = (input.data, input.stride, shape.outputs);
    for y in 0..out.height() / scale {
        for x in 0..out.width() / scale {
            for channel in 0..c {
                let mut sum = bias[channel];
                for ty in 0..pass.taps.0 {
                    for tx in 0..pass.taps.1 {
                        let row = y * shape.stride + pass.first.0 + ty;
                        let column = x * shape.stride + pass.first.1 + tx;
                        let weight = pass.weight[pass.at((ty, tx), channel)];
                        sum += weight * data[row * stride + column * c + channel];
                    }
                }
                let at = (x * scale + pass.phase.1) * c + channel;
                out.row_mut(y * scale + pass.phase.0)[at] = match shape.activation {
                    Activation::None => sum,
                    Activation::Relu => sum.max(0.0),
                    Activation::Relu6 => sum.clamp(0.0, 6.0),
                };
            }
        }
    }
}
