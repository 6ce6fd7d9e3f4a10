//! The convolution and its gradients, computed directly from their definitions.
use super::Shape;
use super::layout::Nhwc;

pub(super) fn forward(shape: &Shape, input: &[f32], weight: &[f32], out: &mut [f32]) {
    out.fill(0.0);
    each(shape, |at_input, at_weight, at_out| out[at_out] += input[at_input] * weight[at_weight]);
}

pub(super) fn input_gradient(shape: &Shape, grad: &[f32], weight: &[f32], out: &mut [f32]) {
    out.fill(0.0);
    each(shape, |at_input, at_weight, at_out| out[at_input] += grad[at_out] * weight[at_weight]);
}

pub(super) fn weight_gradient(shape: &Shape, input: &[f32], grad: &[f32], out: &mut [f32]) {
    out.fill(0.0);
    each(shape, |at_input, at_weight, at_out| out[at_weight] += grad[at_out] * input[at_input]);
}

/// Calls `product` for each multiplication, with the index of the input, of the weight and of the output.
fn each(shape: &Shape, mut product: impl FnMut(usize, usize, usize)) {
    let &Shape { batch, height, width, inputs, outputs, kernel, stride, padding } = shape;
    let (rows, columns) = shape.output_size();
    let input = Nhwc { height, width, channels: inputs };
    let weight = Nhwc { height: kernel.0, width: kernel.1, channels: inputs };
    let output = Nhwc { height: rows, width: columns, channels: outputs };
    // The row or column under a tap, unless it is padding.
    let under = |at: usize, tap: usize, n: usize| (at * stride + tap).checked_sub(padding).filter(|&at| at < n);
    for image in 0..batch {
        for (y, x) in (0..rows).flat_map(|y| (0..columns).map(move |x| (y, x))) {
            for (ty, tx) in (0..kernel.0).flat_map(|ty| (0..kernel.1).map(move |tx| (ty, tx))) {
                let (Some(row), Some(column)) = (under(y, ty, height), under(x, tx, width)) else { continue };
                for o in 0..outputs {
                    for i in 0..inputs {
                        product(input.at(image, row, column, i), weight.at(o, ty, tx, i), output.at(image, y, x, o));
                    }
                }
            }
        }
    }
}
