//! Convolution, computed by its definition.
use super::{FeatureMap, MapView, Place};
use crate::kernels::inference::layer_shape::{Activation, Shape};

pub(super) fn run(
    shape: &Shape,
    weight: &[f32],
    bias: &[f32],
    input: MapView,
    out: &mut FeatureMap,
    Place { rows, channel }: Place,
    gain: Option<&[f32]>,
) {
    let &Shape { inputs, outputs, kernel, stride, upsample, activation } = shape;
    let MapView { data, stride: row, pad, .. } = input;
    // The padded row or column under tap `t` of output position `o`.
    let under = |o: usize, t: usize, pad: usize| {
        if upsample {
            (((o + t) as isize - (shape.side() / 2) as isize).div_euclid(2) + pad as isize) as usize
        } else {
            o * stride + t
        }
    };
    for y in 0..rows.len() {
        for x in 0..out.width() {
            for o in 0..outputs {
                let at = x * out.channels() + channel + o;
                let at = &mut out.row_mut(rows.start + y)[at];
                let mut sum = bias[o];
                for ty in 0..kernel.0 {
                    for tx in 0..kernel.1 {
                        let from = under(y, ty, pad.top) * row + under(x, tx, pad.left) * inputs;
                        for i in 0..inputs {
                            sum += weight[((o * inputs + i) * kernel.0 + ty) * kernel.1 + tx] * data[from + i];
                        }
                    }
                }
                if let Some(gain) = gain {
                    sum = *at + gain[o % gain.len()] * sum;
                }
                *at = match activation {
                    Activation::None => sum,
                    Activation::Relu => sum.max(0.0),
                    Activation::Relu6 => sum.clamp(0.0, 6.0),
                };
            }
        }
    }
}
