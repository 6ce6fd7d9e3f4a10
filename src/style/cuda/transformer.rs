//! The transformer T on CUDA. `style/transformer.rs` describes T.
use super::Plan;
use super::layers::{Around, LinearInZ, biased, convolution, fit, forget, launch, run_conv, run_measured};
use crate::error::Result;
use crate::kernels::cuda::{At, DeviceImages, Map, Moments, Number, Weights, stored};
use crate::kernels::inference::convolution::cuda::{Conv, Skip, Source, Target};
use crate::kernels::inference::feature_map::{Border, Pad};
use crate::kernels::inference::instance_norm::cuda::{Affine, StyleNorm, Table, affine, affine_add};
use crate::kernels::inference::layer_shape::Activation;
use crate::kernels::inference::linear::cuda::Linear;
use crate::kernels::inference::pixel_interpolation::Squash;
use crate::kernels::inference::pixel_interpolation::cuda::{Last, flat};
use crate::style::layers::{around, shape_of};
use crate::style::transformer::conditional;
use crate::weights::Model;
use crate::weights::layers::{Layer, TransformerLayers};

/// T with its weights on the device.
#[derive(Clone, Debug)]
pub(super) struct Transformer {
    /// The contracting layers. A layer without a norm has a bias and ReLU.
    contract: Vec<(Conv, Option<StyleNorm>)>,
    residual: Vec<[Site; 2]>,
    expand: Vec<Site>,
    head: Site,
    /// The direct path from the image to the head, with the offset of the path's gains in the output of `in_z`.
    skip: Option<(Conv, usize)>,
    /// The linear map from z to all gammas, betas and gains.
    in_z: Linear,
}

/// A convolution and the norm after it.
#[derive(Clone, Debug)]
struct Site {
    conv: Conv,
    norm: StyleNorm,
    around: Around,
}

/// A map, and the norm, if any, that is applied when the map is read.
type Normed = (Map, Option<Affine>);

impl Transformer {
    pub(super) fn new(model: &Model, number: Number, weights: &mut Weights) -> Result<Self> {
        let network = conditional(model)?;
        let TransformerLayers { contract, contract_norm, residual, expand, head, skip } = network.layers();
        let mut in_z = LinearInZ::default();
        // Three output channels are too few for tensor cores, so four pixels are computed at a time if the map's sides are
        // even.
        let halved = contract.iter().any(|layer| layer.stride == 2);
        let contract = contract.iter().map(|layer| match contract_norm {
            true => {
                let conv = convolution(model, number, layer, stored(layer.outputs), weights)?;
                Ok((conv, Some(in_z.plain_norm(network.dim, stored(layer.outputs)))))
            }
            false => Ok((biased(model, number, layer, Activation::Relu, weights)?, None)),
        });
        let contract = contract.collect::<Result<_>>()?;
        let mut site = |layer: &Layer, room| -> Result<Site> {
            let conv = convolution(model, number, layer, room, weights)?;
            Ok(Site { conv, norm: in_z.norm(model, &layer.name, room)?, around: around(layer) })
        };
        let usual = |layer: &Layer| stored(layer.outputs);
        let residual = residual.iter().map(|[a, b]| Ok([site(a, usual(a))?, site(b, usual(b))?]));
        let residual = residual.collect::<Result<_>>()?;
        let expand = expand.iter().map(|layer| site(layer, usual(layer))).collect::<Result<_>>()?;
        let head = if halved && !head.upsample && !head.separable {
            let conv = of_fours(model, number, &head, weights)?;
            Site { conv, norm: in_z.norm(model, &head.name, 3)?, around: around(&head) }
        } else {
            site(&head, 3)?
        };
        let skip = match skip {
            Some(skip) => {
                let conv = match halved {
                    true => of_fours(model, number, &skip, weights)?,
                    false => convolution(model, number, &skip, 3, weights)?,
                };
                Some((conv, in_z.push(model, &format!("{}.gain", skip.name), 3)?))
            }
            None => None,
        };
        let in_z = in_z.linear(weights);
        Ok(Self { contract, residual, expand, head, skip, in_z })
    }

    /// Plans T for `count` images, up to the norm of the last layer. `rows` holds the indices of the images, and `z` the style
    /// vectors, `[count][dim]`.
    pub(super) fn run(&self, images: &DeviceImages, rows: At, count: usize, z: At, plan: &mut Plan) -> Last {
        let pitch = self.in_z.outputs();
        let table = Table { at: plan.room.take(count * pitch), pitch };
        plan.launches.push(self.in_z.launch(z, table.at, count, 0.0));
        let image = Source::Images(images, rows, count);
        let reflected = |conv: &Conv| (Pad::all(conv.side() / 2), Border::Reflect);
        let mut last: Option<Normed> = None;
        for (conv, norm) in &self.contract {
            let source = last.as_ref().map_or(image, |(map, norm)| Source::Map(map, *norm));
            let made = match norm {
                Some(norm) => {
                    let (y, moments) = run_measured(conv, source, reflected(conv), plan);
                    (y, Some(fit(norm, &moments, table, plan)))
                }
                None => (run_conv(conv, source, reflected(conv), plan), None),
            };
            if let Some(done) = last.replace(made) {
                release(&done, plan);
            }
        }
        let (x, norm) = last.expect("a network has at least one contracting layer");
        if let Some(norm) = norm {
            plan.launches.push(affine(plan.number, &x, norm, Activation::Relu));
            forget(norm, plan);
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
        launch(conv, source, *around, Target { map: &map, slice: None, skip, moments: Some(&moments) }, plan);
        let fitted = fit(norm, &moments, table, plan);
        let betas = Table { at: table.at.plus(norm.at + norm.filters), ..table };
        plan.launches.push(flat(fitted, betas, (rows, images), map.images));
        Last { map, norm: Some(fitted), end: Squash::Sigmoid }
    }
}

/// Creates a layer at full resolution that computes four pixels at a time.
fn of_fours(model: &Model, number: Number, layer: &Layer, weights: &mut Weights) -> Result<Conv> {
    let weight = model.numbers(&format!("{}.weight", layer.name))?;
    Ok(Conv::of_fours(number, shape_of(layer, Activation::None), weight, weights))
}

impl Site {
    /// Plans `conv(x)` and its norm.
    fn run(&self, x: &Normed, table: Table, plan: &mut Plan) -> Normed {
        let (y, moments) = run_measured(&self.conv, Source::Map(&x.0, x.1), self.around, plan);
        (y, Some(fit(&self.norm, &moments, table, plan)))
    }
}

/// Frees the memory of a map and its norm.
fn release((map, norm): &Normed, plan: &mut Plan) {
    plan.room.give(map.at);
    if let Some(norm) = norm {
        forget(*norm, plan);
    }
}
