//! What F and T are built from, on CUDA; `style/layers.rs` has the same for the CPU.
use super::Plan;
use crate::error::Result;
use crate::kernels::conv::{Shape, cuda::Conv};
use crate::kernels::cuda::{At, Map, Number, Weights, stored};
use crate::kernels::depthwise::cuda::Depthwise;
use crate::kernels::instance_norm::cuda::{Affine, StyleNorm};
use crate::kernels::{Border, Pad};
use crate::weights::Model;

/// Padding and what stands in it.
pub(super) type Around = (Pad, Border);

/// A convolution, or a depthwise and a pointwise one with nothing between.
#[derive(Clone, Debug)]
pub(super) enum Convolution {
    Dense(Conv),
    Separable(Depthwise, Conv),
}

impl Convolution {
    /// The layer called `name`, without bias.
    pub(super) fn new(
        model: &Model,
        number: Number,
        name: &str,
        shape: Shape,
        separable: bool,
        weights: &mut Weights,
    ) -> Result<Self> {
        let tensor = |part: &str| model.numbers(&format!("{name}.{part}weight"));
        if !separable {
            return Ok(Self::Dense(Conv::new(number, shape, tensor("")?, None, weights)));
        }
        let depthwise = Shape { outputs: shape.inputs, ..shape };
        let pointwise = Shape { kernel: 1, stride: 1, upsample: false, ..shape };
        Ok(Self::Separable(
            Depthwise::new(number, depthwise, tensor("depthwise.")?, None, weights),
            Conv::new(number, pointwise, tensor("pointwise.")?, None, weights),
        ))
    }

    /// Its output in a new map, with room for so many channels.
    pub(super) fn run(&self, x: &Map, (pad, border): Around, plan: &mut Plan) -> Map {
        let (middle, conv) = match self {
            Self::Dense(conv) => return run_conv(conv, x, (pad, border), stored(conv.shape().outputs), plan),
            Self::Separable(depthwise, pointwise) => {
                let middle = plan.room.map(plan.number, x.images, depthwise.shape().size_of(x.size(), pad), x.channels);
                plan.launches.push(depthwise.launch(x, pad, border, &middle));
                (middle, pointwise)
            }
        };
        let out = run_conv(conv, &middle, (Pad::NONE, Border::Zero), stored(conv.shape().outputs), plan);
        plan.room.give(middle.at);
        out
    }
}

/// A convolution's output in a new map of so many channels.
pub(super) fn run_conv(conv: &Conv, x: &Map, (pad, border): Around, channels: usize, plan: &mut Plan) -> Map {
    let out = plan.room.map(plan.number, x.images, conv.shape().size_of(x.size(), pad), channels);
    plan.launches.push(conv.launch(x, pad, border, &out, None));
    out
}

/// The norm of the site called `name`, with room for `filters` channels.
pub(super) fn style_norm(
    model: &Model,
    number: Number,
    name: &str,
    filters: usize,
    weights: &mut Weights,
) -> Result<StyleNorm> {
    let linear = |part: &str| -> Result<(&[f32], &[f32])> {
        let tensor = |kind: &str| model.numbers(&format!("{name}.{part}.{kind}"));
        Ok((tensor("weight")?, tensor("bias")?))
    };
    Ok(StyleNorm::new(number, linear("gamma")?, linear("beta")?, filters, weights))
}

/// The affine map that normalises `x`, in new memory.
pub(super) fn fit(norm: &StyleNorm, x: &Map, phases: usize, z: At, plan: &mut Plan) -> Affine {
    let [scale, shift] = [0; 2].map(|_: i32| plan.room.take(x.images * norm.filters()));
    let affine = Affine { scale, shift };
    plan.launches.push(norm.launch(x, phases, z, affine));
    affine
}

/// Gives an affine map's memory back.
pub(super) fn forget(affine: Affine, plan: &mut Plan) {
    plan.room.give(affine.scale);
    plan.room.give(affine.shift);
}
