//! InceptionV3 up to Mixed_6e on CUDA. `style/inception_v3.rs` describes the network.
use super::Plan;
use super::layers::{biased, launch, run_conv};
use crate::error::Result;
use crate::kernels::cuda::{Map, Number, Weights};
use crate::kernels::inference::convolution::cuda::{Conv, Source, Target};
use crate::kernels::inference::feature_map::{Border, Pad};
use crate::kernels::inference::layer_shape::Activation;
use crate::kernels::inference::pooling::{self, MaxPool, cuda::AveragePool};
use crate::style::inception_v3::{activation_of, zeros_around};
use crate::style::layers::shape_of;
use crate::weights::Model;
use crate::weights::inception_v3::{self, InceptionLayers, InceptionStage};
use crate::weights::layers::Layer;

/// The network with its weights on the device.
#[derive(Clone, Debug)]
pub(super) struct InceptionV3(Vec<Stage>);

#[derive(Clone, Debug)]
enum Stage {
    Conv(Box<Padded>),
    MaxPool,
    Mixed(Vec<Branch>),
}

#[derive(Clone, Debug)]
enum Branch {
    Convs(Vec<Padded>),
    MaxPool,
    AveragePool(Box<(Conv, AveragePool)>),
}

/// A convolution, with the zero padding of its input.
#[derive(Clone, Debug)]
struct Padded(Conv, Pad);

impl InceptionV3 {
    pub(super) fn new(model: &Model, number: Number, layers: &InceptionLayers, weights: &mut Weights) -> Result<Self> {
        let stage = |stage: &InceptionStage| -> Result<Stage> {
            Ok(match stage {
                InceptionStage::Conv(layer) => {
                    Stage::Conv(Box::new(Padded::new(model, number, (layer, layers), weights)?))
                }
                InceptionStage::MaxPool => Stage::MaxPool,
                InceptionStage::Mixed(branches) => {
                    let branch = |of| Branch::new(model, number, (of, layers), weights);
                    Stage::Mixed(branches.iter().map(branch).collect::<Result<_>>()?)
                }
            })
        };
        Ok(Self(layers.stages.iter().map(stage).collect::<Result<_>>()?))
    }

    /// Plans the feature map of Mixed_6e, and frees the memory of the images.
    pub(super) fn run(&self, image: Map, plan: &mut Plan) -> Map {
        let mut x = image;
        for stage in &self.0 {
            let y = match stage {
                Stage::Conv(padded) => {
                    let Padded(conv, pad) = &**padded;
                    run_conv(conv, Source::Map(&x, None), (*pad, Border::Zero), plan)
                }
                Stage::MaxPool => {
                    let y = pooled(&x, x.channels, plan);
                    plan.launches.push(MaxPool::INCEPTION.launch(plan.number, &x, &y, 0));
                    y
                }
                Stage::Mixed(branches) => run_mixed(branches, &x, plan),
            };
            plan.room.give(x.at);
            x = y;
        }
        x
    }
}

/// Allocates a map of `channels` channels, with the height and width of the output of a max pool of `x`.
fn pooled(x: &Map, channels: usize, plan: &mut Plan) -> Map {
    let size = (MaxPool::INCEPTION.windows(x.height), MaxPool::INCEPTION.windows(x.width));
    plan.room.stored(plan.number, x.images, size, channels)
}

/// Plans a block. The branches write into slices of one concatenated output.
fn run_mixed(branches: &[Branch], x: &Map, plan: &mut Plan) -> Map {
    let channels = branches.iter().map(|branch| branch.outputs(x)).sum();
    let y = match branches.iter().any(|branch| matches!(branch, Branch::MaxPool)) {
        true => pooled(x, channels, plan),
        false => plan.room.stored(plan.number, x.images, x.size(), channels),
    };
    let mut channel = 0;
    for branch in branches {
        match branch {
            Branch::Convs(convs) => run_convs(convs, x, (&y, channel), plan),
            Branch::MaxPool => plan.launches.push(MaxPool::INCEPTION.launch(plan.number, x, &y, channel)),
            Branch::AveragePool(pair) => {
                let (conv, pool) = &**pair;
                let raw = run_conv(conv, Source::Map(x, None), (Pad::NONE, Border::Zero), plan);
                plan.launches.push(pool.launch(plan.number, &raw, &y, channel));
                plan.room.give(raw.at);
            }
        }
        channel += branch.outputs(x);
    }
    y
}

/// Plans a sequence of convolutions. The last one writes into the channels of `y` that start at `channel`.
fn run_convs(convs: &[Padded], x: &Map, (y, channel): (&Map, usize), plan: &mut Plan) {
    let mut between: Option<Map> = None;
    for (i, Padded(conv, pad)) in convs.iter().enumerate() {
        let from = between.unwrap_or(*x);
        let (source, around) = (Source::Map(&from, None), (*pad, Border::Zero));
        let last = i + 1 == convs.len();
        let made = match last {
            true => {
                launch(conv, source, around, Target { map: y, slice: Some(channel), skip: None, moments: None }, plan);
                None
            }
            false => Some(run_conv(conv, source, around, plan)),
        };
        if let Some(done) = std::mem::replace(&mut between, made) {
            plan.room.give(done.at);
        }
    }
}

impl Branch {
    fn new(
        model: &Model,
        number: Number,
        (branch, network): (&inception_v3::Branch, &InceptionLayers),
        weights: &mut Weights,
    ) -> Result<Self> {
        Ok(match branch {
            inception_v3::Branch::Convs(layers) => {
                let padded = |layer| Padded::new(model, number, (layer, network), weights);
                Self::Convs(layers.iter().map(padded).collect::<Result<_>>()?)
            }
            inception_v3::Branch::MaxPool => Self::MaxPool,
            inception_v3::Branch::AveragePool(layer) => {
                let (weight, bias) = model.weight_and_bias(&layer.name)?;
                let conv = Conv::new(number, shape_of(layer, Activation::None), weight, None, weights);
                let pool = pooling::AveragePool {
                    counts_zeros: network.pools_count_zeros,
                    bias: bias.to_vec(),
                    activation: activation_of(network.activation),
                };
                Self::AveragePool(Box::new((conv, AveragePool::new(&pool, weights))))
            }
        })
    }

    /// Returns the number of output channels for this input.
    fn outputs(&self, x: &Map) -> usize {
        match self {
            Self::Convs(convs) => convs.last().map_or(0, |Padded(conv, _)| conv.outputs()),
            Self::MaxPool => x.channels,
            Self::AveragePool(pair) => pair.0.outputs(),
        }
    }
}

impl Padded {
    fn new(
        model: &Model,
        number: Number,
        (layer, network): (&Layer, &InceptionLayers),
        weights: &mut Weights,
    ) -> Result<Self> {
        let conv = biased(model, number, layer, activation_of(network.activation), weights)?;
        Ok(Self(conv, zeros_around(layer)))
    }
}
