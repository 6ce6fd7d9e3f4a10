//! Building blocks of F and T on CUDA. The building blocks for the CPU are in `style/layers.rs`.
use super::Plan;
use crate::error::Result;
use crate::kernels::cuda::{Map, Moments, Number, Weights, stored};
use crate::kernels::inference::convolution::cuda::{Conv, Source, Target};
use crate::kernels::inference::depthwise::cuda::Depthwise;
use crate::kernels::inference::feature_map::{Border, Pad};
use crate::kernels::inference::instance_norm::cuda::{Affine, StyleNorm, Table};
use crate::kernels::inference::layer_shape::Activation;
use crate::kernels::inference::linear::cuda::Linear;
use crate::style::layers::{separated, shape_of};
use crate::weights::Model;
use crate::weights::layers::Layer;

/// The width of a padding, and the kind of values in it.
pub(super) type Around = (Pad, Border);

/// Creates a dense layer with bias.
pub(super) fn biased(
    model: &Model,
    number: Number,
    layer: &Layer,
    activation: Activation,
    weights: &mut Weights,
) -> Result<Conv> {
    let (weight, bias) = model.weight_and_bias(&layer.name)?;
    let shape = shape_of(layer, activation);
    Ok(match layer.upsample {
        true => Conv::upsampling(number, shape, weight, Some(bias), stored(layer.outputs), weights),
        false => Conv::new(number, shape, weight, Some(bias), weights),
    })
}

/// Creates a dense or separable convolution without bias. A separable convolution consists of a depthwise and a pointwise
/// convolution with no activation in between. A layer with upsampling computes the four pixels of a 2x2 cell together; each
/// pixel then has room for `room` outputs.
pub(super) fn convolution(
    model: &Model,
    number: Number,
    layer: &Layer,
    room: usize,
    weights: &mut Weights,
) -> Result<Conv> {
    let tensor = |part: &str| model.numbers(&format!("{}.{part}weight", layer.name));
    let shape = shape_of(layer, Activation::None);
    if layer.separable {
        let (depthwise, pointwise) = separated(shape);
        let depthwise = Depthwise::new(number, depthwise, tensor("depthwise.")?, None, weights);
        return Ok(Conv::behind(number, depthwise, pointwise, tensor("pointwise.")?, None, weights));
    }
    Ok(match layer.upsample {
        true => Conv::upsampling(number, shape, tensor("")?, None, room, weights),
        false => Conv::new(number, shape, tensor("")?, None, weights),
    })
}

/// Plans a convolution into a new map, with the default padding of channels ([`stored`]).
pub(super) fn run_conv(conv: &Conv, x: Source, around: Around, plan: &mut Plan) -> Map {
    let y = conv.output(x, around.0, stored(conv.outputs()), &mut plan.room);
    launch(conv, x, around, Target { map: &y, slice: None, skip: None, moments: None }, plan);
    y
}

/// Plans a convolution like [`run_conv`], and the computation of the moments of its output.
pub(super) fn run_measured(conv: &Conv, x: Source, around: Around, plan: &mut Plan) -> (Map, Moments) {
    let y = conv.output(x, around.0, stored(conv.outputs()), &mut plan.room);
    let moments = Moments::new(&y, &mut plan.room);
    launch(conv, x, around, Target { map: &y, slice: None, skip: None, moments: Some(&moments) }, plan);
    (y, moments)
}

pub(super) fn launch(conv: &Conv, x: Source, (pad, border): Around, y: Target, plan: &mut Plan) {
    plan.launches.push(conv.launch(x, pad, border, y));
}

/// All quantities that are linear in z (gammas, betas and gains), concatenated into the output of one linear map.
#[derive(Debug, Default)]
pub(super) struct LinearInZ {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl LinearInZ {
    /// Appends the linear map `name`, padded to `room` outputs. Returns the offset of the map's outputs in the concatenated
    /// output.
    pub(super) fn push(&mut self, model: &Model, name: &str, room: usize) -> Result<usize> {
        let (weight, bias) = (model.numbers(&format!("{name}.weight"))?, model.numbers(&format!("{name}.bias"))?);
        let (at, dim) = (self.bias.len(), weight.len() / bias.len());
        self.weight.extend(weight);
        self.bias.extend(bias);
        self.bias.resize(at + room, 0.0);
        self.weight.resize((at + room) * dim, 0.0);
        Ok(at)
    }

    /// Creates the norm of the layer `name`, with room for `filters` channels.
    pub(super) fn norm(&mut self, model: &Model, name: &str, filters: usize) -> Result<StyleNorm> {
        let at = self.push(model, &format!("{name}.gamma"), filters)?;
        self.push(model, &format!("{name}.beta"), filters)?;
        Ok(StyleNorm { at, filters })
    }

    /// Creates a norm without parameters: gammas of 1 and betas of 0 for every z.
    pub(super) fn plain_norm(&mut self, dim: usize, filters: usize) -> StyleNorm {
        let at = self.bias.len();
        self.bias.extend(std::iter::repeat_n(1.0, filters));
        self.bias.resize(at + 2 * filters, 0.0);
        self.weight.resize((at + 2 * filters) * dim, 0.0);
        StyleNorm { at, filters }
    }

    /// Copies the concatenated linear map to the weights for the device.
    pub(super) fn linear(&self, weights: &mut Weights) -> Linear {
        Linear::new((&self.weight, &self.bias), None, weights)
    }
}

/// Plans the affine map of a norm in new memory. The map is computed from `moments`; the memory of `moments` is then freed.
pub(super) fn fit(norm: &StyleNorm, moments: &Moments, table: Table, plan: &mut Plan) -> Affine {
    let [scale, shift] = [0; 2].map(|_: i32| plan.room.take(moments.of.images * norm.filters));
    let affine = Affine { scale, shift };
    plan.launches.push(norm.launch(moments, table, affine));
    plan.room.give(moments.at);
    affine
}

/// Frees the memory of an affine map.
pub(super) fn forget(affine: Affine, plan: &mut Plan) {
    plan.room.give(affine.scale);
    plan.room.give(affine.shift);
}
