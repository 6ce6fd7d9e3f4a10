//! T on CUDA; `style/transformer.rs` says what it is.
use super::Plan;
use super::layers::{Convolution, fit, forget, run_conv, style_norm};
use crate::error::Result;
use crate::kernels::conv::cuda::{Conv, Gain};
use crate::kernels::conv::{Activation, Shape, pixel_shuffle_weight, shifted_weight};
use crate::kernels::cuda::{At, Map, Number, Weights, stored};
use crate::kernels::instance_norm::cuda::{StyleNorm, affine_add, affine_relu};
use crate::kernels::interpolate::cuda::Last;
use crate::kernels::linear::cuda::Linear;
use crate::kernels::{Border, Pad};
use crate::weights::{Model, network};

/// T with its weights on the device.
#[derive(Clone, Debug)]
pub(super) struct Transformer {
    contract: Vec<Conv>,
    residual: Vec<[Site; 2]>,
    expand: Vec<Site>,
    head: Site,
    /// Channels of the head's map: the colours, or those of four phases.
    last: usize,
    skip: Option<(Conv, Linear)>,
}

#[derive(Clone, Debug)]
struct Site {
    convolution: Convolution,
    norm: StyleNorm,
}

/// Padding of a convolution that keeps the size.
fn reflected(shape: &Shape) -> (Pad, Border) {
    (Pad::all(shape.kernel / 2), Border::Reflect)
}

/// What an upsampling convolution finds outside.
const EDGE: (Pad, Border) = (Pad::NONE, Border::Edge);

impl Transformer {
    pub(super) fn new(model: &Model, number: Number, weights: &mut Weights) -> Result<Self> {
        let network::Transformer { contract, residual, expand, head, .. } = &model.network.transformer;
        let mut channels = 3;
        let shape = |inputs, outputs, kernel, upsample| Shape { upsample, ..Shape::plain(inputs, outputs, kernel) };
        let mut contracts = vec![];
        for (i, layer) in contract.iter().enumerate() {
            let name = format!("transformer.contract.{i}");
            let shape = Shape {
                stride: layer.stride,
                activation: Activation::Relu,
                ..shape(channels, layer.channels, layer.kernel, false)
            };
            let (weight, bias) = (model.numbers(&format!("{name}.weight"))?, model.numbers(&format!("{name}.bias"))?);
            contracts.push(Conv::new(number, shape, weight, Some(bias), weights));
            channels = layer.channels;
        }
        let mut site = |name: &str, shape: Shape, separable| -> Result<Site> {
            Ok(Site {
                convolution: Convolution::new(model, number, name, shape, separable, weights)?,
                norm: style_norm(model, number, name, stored(shape.outputs), weights)?,
            })
        };
        let mut blocks = vec![];
        for i in 0..residual.blocks {
            let mut conv = |n: usize| {
                let name = format!("transformer.residual.{i}.conv{n}");
                site(&name, shape(channels, channels, 3, false), residual.separable)
            };
            blocks.push([conv(1)?, conv(2)?]);
        }
        let mut expands = vec![];
        for (i, layer) in expand.iter().enumerate() {
            let shape = shape(channels, layer.channels, layer.kernel, true);
            expands.push(site(&format!("transformer.expand.{i}"), shape, layer.separable)?);
            channels = layer.channels;
        }
        let name = "transformer.head";
        let shuffled = head.upsample && !head.separable;
        let convolution = if shuffled {
            let weight = model.numbers(&format!("{name}.weight"))?;
            let (kernel, weight) = pixel_shuffle_weight(3, channels, head.kernel, weight);
            Convolution::Dense(Conv::new(number, shape(channels, 12, kernel, false), &weight, None, weights))
        } else {
            let shape = shape(channels, 3, head.kernel, head.upsample);
            Convolution::new(model, number, name, shape, head.separable, weights)?
        };
        let head_site = Site { convolution, norm: style_norm(model, number, name, 3, weights)? };
        let skip = match head.skip {
            true => {
                let tensor = |part: &str| model.numbers(&format!("{name}.skip.{part}"));
                let (weight, shape) = (tensor("weight")?, shape(3, 3, head.kernel, false));
                let conv = match head.upsample {
                    true => {
                        let (kernel, weight) = shifted_weight(3, 3, head.kernel, weight);
                        Conv::new(number, Shape { outputs: 12, kernel, stride: 2, ..shape }, &weight, None, weights)
                    }
                    false => Conv::new(number, shape, weight, None, weights),
                };
                let gain = (tensor("gain.weight")?, tensor("gain.bias")?);
                Some((conv, Linear::new(gain, None, weights)))
            }
            false => None,
        };
        let last = if shuffled { 12 } else { stored(3) };
        Ok(Self { contract: contracts, residual: blocks, expand: expands, head: head_site, last, skip })
    }

    /// T up to the norm of its last layer, `z` being `[images][dim]`.
    pub(super) fn run(&self, image: &Map, z: At, plan: &mut Plan) -> Last {
        let number = plan.number;
        let mut x = *image;
        for conv in &self.contract {
            let out = run_conv(conv, &x, reflected(conv.shape()), stored(conv.shape().outputs), plan);
            if x.at != image.at {
                plan.room.give(x.at);
            }
            x = out;
        }
        let around = (Pad::all(1), Border::Reflect);
        for [first, second] in &self.residual {
            let h = first.styled(&x, around, z, plan);
            let raw = second.convolution.run(&h, around, plan);
            let norm = fit(&second.norm, &raw, 1, z, plan);
            plan.launches.push(affine_add(number, &raw, Some(norm), &x));
            forget(norm, plan);
            plan.room.give(h.at);
            plan.room.give(raw.at);
        }
        for site in &self.expand {
            let out = site.styled(&x, EDGE, z, plan);
            plan.room.give(x.at);
            x = out;
        }
        let map = self.run_head(&x, plan);
        if let Some((skip, gain)) = &self.skip {
            let gains = plan.room.take(image.images * 3);
            plan.launches.push(gain.launch(z, gains, image.images, 0.0));
            // What lies before a phase's kernel is what lay before the whole one's.
            let pad = Pad::all((skip.shape().kernel - skip.shape().stride) / 2);
            let gain = Gain { at: gains, colours: 3 };
            plan.launches.push(skip.launch(image, pad, Border::Reflect, &map, Some(gain)));
            plan.room.give(gains);
        }
        plan.room.give(x.at);
        let phases = if self.last == 12 { 4 } else { 1 };
        Last { map, norm: fit(&self.head.norm, &map, phases, z, plan) }
    }

    fn run_head(&self, x: &Map, plan: &mut Plan) -> Map {
        match &self.head.convolution {
            // The cells of a pixel shuffle are those of the small map, whose edge is repeated.
            Convolution::Dense(conv) if self.last == 12 => {
                run_conv(conv, x, (Pad::all(conv.shape().kernel / 2), Border::Edge), self.last, plan)
            }
            Convolution::Dense(conv) => run_conv(conv, x, reflected(conv.shape()), self.last, plan),
            separable @ Convolution::Separable(depthwise, _) => {
                let shape = depthwise.shape();
                separable.run(x, if shape.upsample { EDGE } else { reflected(shape) }, plan)
            }
        }
    }
}

impl Site {
    /// `relu(norm(conv(x)))`.
    fn styled(&self, x: &Map, around: (Pad, Border), z: At, plan: &mut Plan) -> Map {
        let raw = self.convolution.run(x, around, plan);
        let norm = fit(&self.norm, &raw, 1, z, plan);
        // In place: every number is read before it is written.
        plan.launches.push(affine_relu(plan.number, &raw, norm, &raw));
        forget(norm, plan);
        raw
    }
}
