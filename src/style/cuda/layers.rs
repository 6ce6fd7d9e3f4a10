//! What F and T are built from, on CUDA; `style/layers.rs` has the same for the CPU.
use super::Plan;
use crate::error::Result;
use crate::kernels::conv::Shape;
use crate::kernels::conv::cuda::{Conv, Source, Target};
use crate::kernels::cuda::{At, Map, Moments, Number, Weights, stored};
use crate::kernels::depthwise::cuda::Depthwise;
use crate::kernels::instance_norm::cuda::{Affine, StyleNorm};
use crate::kernels::{Border, Pad};
use crate::weights::Model;

/// Padding and what stands in it.
pub(super) type Around = (Pad, Border);

/// The convolution called `name`, without bias; separable: a depthwise and a pointwise one with nothing between. One that
/// upsamples has `room` for the outputs of each phase.
pub(super) fn convolution(
    model: &Model,
    number: Number,
    name: &str,
    shape: Shape,
    separable: bool,
    room: usize,
    weights: &mut Weights,
) -> Result<Conv> {
    let tensor = |part: &str| model.numbers(&format!("{name}.{part}weight"));
    if !separable {
        return Ok(Conv::new(number, shape, tensor("")?, None, None, room, weights));
    }
    let first = Depthwise::new(number, Shape { outputs: shape.inputs, ..shape }, tensor("depthwise.")?, None, weights);
    let pointwise = Shape { kernel: 1, stride: 1, upsample: false, ..shape };
    Ok(Conv::new(number, pointwise, tensor("pointwise.")?, None, Some(first), room, weights))
}

/// A convolution's output in a new map, with the usual room for its channels.
pub(super) fn run_conv(conv: &Conv, x: Source, around: Around, plan: &mut Plan) -> Map {
    let y = conv.output(x, around.0, stored(conv.outputs()), &mut plan.room);
    launch(conv, x, around, Target { map: &y, skip: None, moments: None }, plan);
    y
}

/// The same, and its moments.
pub(super) fn run_measured(conv: &Conv, x: Source, around: Around, plan: &mut Plan) -> (Map, Moments) {
    let y = conv.output(x, around.0, stored(conv.outputs()), &mut plan.room);
    let moments = Moments::new(&y, &mut plan.room);
    launch(conv, x, around, Target { map: &y, skip: None, moments: Some(&moments) }, plan);
    (y, moments)
}

pub(super) fn launch(conv: &Conv, x: Source, (pad, border): Around, y: Target, plan: &mut Plan) {
    plan.launches.push(conv.launch(x, pad, border, y));
}

/// The norm of the site called `name`, with room for `filters` channels.
pub(super) fn style_norm(model: &Model, name: &str, filters: usize, weights: &mut Weights) -> Result<StyleNorm> {
    let linear = |part: &str| -> Result<(&[f32], &[f32])> {
        let tensor = |kind: &str| model.numbers(&format!("{name}.{part}.{kind}"));
        Ok((tensor("weight")?, tensor("bias")?))
    };
    Ok(StyleNorm::new(linear("gamma")?, linear("beta")?, filters, weights))
}

/// The affine map that normalises what has these moments, in new memory; theirs is given back.
pub(super) fn fit(norm: &StyleNorm, moments: &Moments, z: At, plan: &mut Plan) -> Affine {
    let [scale, shift] = [0; 2].map(|_: i32| plan.room.take(moments.of.images * norm.filters()));
    let affine = Affine { scale, shift };
    plan.launches.push(norm.launch(moments, z, affine));
    plan.room.give(moments.at);
    affine
}

/// Gives an affine map's memory back.
pub(super) fn forget(affine: Affine, plan: &mut Plan) {
    plan.room.give(affine.scale);
    plan.room.give(affine.shift);
}
