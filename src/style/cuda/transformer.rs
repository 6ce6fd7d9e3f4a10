//! T on CUDA; `style/transformer.rs` says what it is.
use super::Plan;
use super::layers::{Around, LinearInZ, convolution, fit, forget, launch, run_conv, run_measured};
use crate::error::Result;
use crate::kernels::cuda::{At, DeviceImages, Map, Moments, Number, Weights, stored};
use crate::kernels::inference::convolution::cuda::{Conv, Skip, Source, Target};
use crate::kernels::inference::convolution::{Activation, Shape};
use crate::kernels::inference::feature_map::{Border, Pad};
use crate::kernels::inference::instance_norm::cuda::{Affine, StyleNorm, Table, affine_add};
use crate::kernels::inference::linear::cuda::Linear;
use crate::kernels::inference::pixel_interpolation::cuda::{Last, flat};
use crate::weights::{Model, network};

/// T with its weights on the device.
#[derive(Clone, Debug)]
pub(super) struct Transformer {
    contract: Vec<Conv>,
    residual: Vec<[Site; 2]>,
    expand: Vec<Site>,
    head: Site,
    /// And where its gains stand.
    skip: Option<(Conv, usize)>,
    /// Gammas, betas and gains.
    in_z: Linear,
}

/// A convolution and the norm after it.
#[derive(Clone, Debug)]
struct Site {
    conv: Conv,
    norm: StyleNorm,
    around: Around,
}

/// A map, and the norm that is taken of it where it is read, if there is one.
type Normed = (Map, Option<Affine>);

/// Padding of a convolution that keeps the size; one that upsamples finds the edge outside.
fn around(shape: &Shape) -> Around {
    match shape.upsample {
        true => (Shape::upsample_pad(shape.kernel), Border::Edge),
        false => (Pad::all(shape.kernel / 2), Border::Reflect),
    }
}

impl Transformer {
    pub(super) fn new(model: &Model, number: Number, weights: &mut Weights) -> Result<Self> {
        let network::Transformer { contract, residual, expand, head, .. } = &model.network.transformer;
        let (mut channels, mut in_z) = (3, LinearInZ::default());
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
        let mut site = |name: &str, shape: Shape, separable, room| -> Result<Site> {
            Ok(Site {
                conv: convolution(model, number, name, shape, separable, room, weights)?,
                norm: in_z.norm(model, name, room)?,
                around: around(&shape),
            })
        };
        let mut blocks = vec![];
        for i in 0..residual.blocks {
            let mut conv = |n: usize| {
                let name = format!("transformer.residual.{i}.conv{n}");
                site(&name, shape(channels, channels, 3, false), residual.separable, stored(channels))
            };
            blocks.push([conv(1)?, conv(2)?]);
        }
        let mut expands = vec![];
        for (i, layer) in expand.iter().enumerate() {
            let shape = shape(channels, layer.channels, layer.kernel, true);
            expands.push(site(&format!("transformer.expand.{i}"), shape, layer.separable, stored(layer.channels))?);
            channels = layer.channels;
        }
        let name = "transformer.head";
        let head_shape = shape(channels, 3, head.kernel, head.upsample);
        // Three outputs are few for the tensor cores; those of four pixels are more, where the map's sides are even.
        let halved = contract.iter().any(|layer| layer.stride == 2);
        let conv = if halved && !head.upsample && !head.separable {
            Conv::of_fours(number, head_shape, model.numbers(&format!("{name}.weight"))?, weights)
        } else {
            convolution(model, number, name, head_shape, head.separable, 3, weights)?
        };
        let head_site = Site { conv, norm: in_z.norm(model, name, 3)?, around: around(&head_shape) };
        let skip = match head.skip {
            true => {
                let tensor = |part: &str| model.numbers(&format!("{name}.skip.{part}"));
                let (weight, shape) = (tensor("weight")?, shape(3, 3, head.kernel, false));
                let conv = match halved {
                    true => Conv::of_fours(number, shape, weight, weights),
                    false => Conv::new(number, shape, weight, None, weights),
                };
                Some((conv, in_z.push(model, &format!("{name}.skip.gain"), 3)?))
            }
            false => None,
        };
        let in_z = in_z.linear(weights);
        Ok(Self { contract: contracts, residual: blocks, expand: expands, head: head_site, skip, in_z })
    }

    /// T of the images that `rows` names, so many of them, up to the norm of its last layer; `z` is `[images][dim]`.
    pub(super) fn run(&self, images: &DeviceImages, rows: At, count: usize, z: At, plan: &mut Plan) -> Last {
        let pitch = self.in_z.outputs();
        let table = Table { at: plan.room.take(count * pitch), pitch };
        plan.launches.push(self.in_z.launch(z, table.at, count, 0.0));
        let image = Source::Images(images, rows, count);
        let reflected = |conv: &Conv| (Pad::all(conv.kernel() / 2), Border::Reflect);
        let (first, others) = self.contract.split_first().expect("a network contracts once at least");
        let mut x = run_conv(first, image, reflected(first), plan);
        for conv in others {
            let y = run_conv(conv, Source::Map(&x, None), reflected(conv), plan);
            plan.room.give(x.at);
            x = y;
        }
        for [first, second] in &self.residual {
            let h = first.run(&(x, None), table, plan);
            let (raw, norm) = second.run(&h, table, plan);
            plan.launches.push(affine_add(plan.number, &raw, norm, &x));
            release(&h, plan);
            release(&(raw, norm), plan);
        }
        let mut x: Normed = (x, None);
        for site in &self.expand {
            let y = site.run(&x, table, plan);
            release(&x, plan);
            x = y;
        }
        let last = self.run_head((images, rows), &x, table, plan);
        release(&x, plan);
        plan.room.give(table.at);
        last
    }

    fn run_head(&self, (images, rows): (&DeviceImages, At), x: &Normed, table: Table, plan: &mut Plan) -> Last {
        let Site { conv, norm, around } = &self.head;
        let source = Source::Map(&x.0, x.1);
        let map = conv.output(source, around.0, stored(3), &mut plan.room);
        let moments = Moments::new(&map, &mut plan.room);
        let gains = |at| Table { at: table.at.plus(at), ..table };
        let skip = self.skip.as_ref().map(|&(ref conv, at)| Skip { conv, images, rows, gain: gains(at) });
        launch(conv, source, *around, Target { map: &map, skip, moments: Some(&moments) }, plan);
        let fitted = fit(norm, &moments, table, plan);
        let betas = Table { at: table.at.plus(norm.at + norm.filters), ..table };
        plan.launches.push(flat(fitted, betas, (rows, images), map.images));
        Last { map, norm: fitted }
    }
}

impl Site {
    /// `conv(x)` and its norm.
    fn run(&self, x: &Normed, table: Table, plan: &mut Plan) -> Normed {
        let (y, moments) = run_measured(&self.conv, Source::Map(&x.0, x.1), self.around, plan);
        (y, Some(fit(&self.norm, &moments, table, plan)))
    }
}

/// Gives a map's memory back, and that of its norm.
fn release((map, norm): &Normed, plan: &mut Plan) {
    plan.room.give(map.at);
    if let Some(norm) = norm {
        forget(*norm, plan);
    }
}
