//! The style predictor F on CUDA. `style/predictor.rs` describes F.
use super::Plan;
use super::inception_v3::InceptionV3;
use super::layers::{Around, biased, run_conv, run_measured};
use crate::error::{Error, Result};
use crate::kernels::cuda::{At, DeviceImages, Map, Moments, Number, Weights};
use crate::kernels::inference::bilinear::cuda::resize;
use crate::kernels::inference::convolution::cuda::{Conv, Source};
use crate::kernels::inference::depthwise::cuda::Depthwise;
use crate::kernels::inference::feature_map::{Border, Pad};
use crate::kernels::inference::instance_norm::cuda::{affine_add, features};
use crate::kernels::inference::layer_shape::Activation;
use crate::kernels::inference::linear::cuda::Linear;
use crate::kernels::inference::pooling::cuda::global_mean;
use crate::style::layers::{sampling_of, shape_of};
use crate::style::predictor::CNN_DEVIATION;
use crate::weights::Model;
use crate::weights::layers::{BlockLayers, PredictorLayers};
use crate::weights::network;

/// F with its weights on the device.
#[derive(Clone, Debug)]
pub(super) struct Predictor {
    network: network::Predictor,
    body: Body,
    head: Linear,
}

#[derive(Clone, Debug)]
enum Body {
    Cnn(Vec<Conv>),
    /// MobileNetV2; `ends` are the network's first and last convolutions.
    MobilenetV2 {
        ends: Box<[Conv; 2]>,
        blocks: Vec<Block>,
    },
    InceptionV3(InceptionV3),
}

#[derive(Clone, Debug)]
struct Block {
    expand: Option<Conv>,
    /// The depthwise and the following pointwise convolution, computed together.
    project: Conv,
    residual: bool,
}

impl Block {
    fn new(model: &Model, number: Number, layers: &BlockLayers, weights: &mut Weights) -> Result<Self> {
        let BlockLayers { expand, depthwise, project, residual } = layers;
        let expand =
            expand.as_ref().map(|layer| biased(model, number, layer, Activation::Relu6, weights)).transpose()?;
        let (weight, bias) = model.weight_and_bias(&depthwise.name)?;
        let depthwise = shape_of(depthwise, Activation::Relu6);
        let depthwise = Depthwise::new(number, depthwise, weight, Some(bias), weights);
        let (weight, bias) = model.weight_and_bias(&project.name)?;
        let shape = shape_of(project, Activation::None);
        let project = Conv::behind(number, depthwise, shape, weight, Some(bias), weights);
        Ok(Self { expand, project, residual: *residual })
    }
}

impl Predictor {
    pub(super) fn new(model: &Model, number: Number, weights: &mut Weights) -> Result<Self> {
        let predictor = &model.network.predictor;
        let relu6 = Activation::Relu6;
        let body = match predictor.layers() {
            PredictorLayers::Cnn(stages) => {
                let stage = |layer| biased(model, number, layer, Activation::Relu, weights);
                Body::Cnn(stages.iter().map(stage).collect::<Result<_>>()?)
            }
            PredictorLayers::MobilenetV2 { stem, blocks, last } => Body::MobilenetV2 {
                ends: Box::new([
                    biased(model, number, &stem, relu6, weights)?,
                    biased(model, number, &last, relu6, weights)?,
                ]),
                blocks: blocks
                    .iter()
                    .map(|layers| Block::new(model, number, layers, weights))
                    .collect::<Result<_>>()?,
            },
            PredictorLayers::Vgg19(_) => return Err(Error::weights(&model.name, "is AdaIN, with a shared encoder")),
            PredictorLayers::InceptionV3(layers) => {
                Body::InceptionV3(InceptionV3::new(model, number, &layers, weights)?)
            }
        };
        let linear = |name: &str| model.weight_and_bias(&format!("predictor.{name}"));
        let zoom = predictor.zooms().then(|| linear("zoom")).transpose()?;
        Ok(Self { network: predictor.clone(), body, head: Linear::new(linear("head")?, zoom, weights) })
    }

    /// Returns the length of a style vector z.
    pub(super) fn dim(&self) -> usize {
        self.head.outputs()
    }

    /// Plans the computation of the style vectors of `count` images, written to `z` as `[count][dim]`. `rows` holds the indices
    /// of the images.
    pub(super) fn run(&self, images: &DeviceImages, rows: At, count: usize, z: At, plan: &mut Plan) {
        let (height, width) = self.network.seen(images.height, images.width);
        let x = plan.room.stored(plan.number, count, (height, width), 3);
        let moments = resize(images, rows, sampling_of(&self.network), &x, plan);
        let row = self.head.inputs();
        let found = plan.room.take(count * row);
        match &self.body {
            Body::Cnn(stages) => run_cnn(stages, (x, moments), (found, row), plan),
            Body::MobilenetV2 { ends, blocks } => {
                plan.room.give(moments.at);
                run_mobilenet_v2(ends, blocks, x, (found, row), plan);
            }
            Body::InceptionV3(network) => {
                plan.room.give(moments.at);
                let out = network.run(x, plan);
                plan.launches.push(global_mean(plan.number, &out, row, found));
                plan.room.give(out.at);
            }
        }
        let halvings = self.network.halvings((height, width));
        plan.launches.push(self.head.launch(found, z, count, halvings));
        plan.room.give(found);
    }
}

/// Plans the channel means and standard deviations of a map, written to each row of `found` at offset `at`. Frees the map and
/// its moments, and returns the next offset.
fn tell(x: &Map, moments: &Moments, channels: usize, found: (At, usize), at: usize, plan: &mut Plan) -> usize {
    plan.launches.push(features(moments, channels, found, at, Some(CNN_DEVIATION)));
    plan.room.give(moments.at);
    plan.room.give(x.at);
    at + 2 * channels
}

fn run_cnn(stages: &[Conv], image: (Map, Moments), found: (At, usize), plan: &mut Plan) {
    let (mut x, mut moments) = image;
    let (mut channels, mut at) = (3, 0);
    for conv in stages {
        let (y, measured) = run_measured(conv, Source::Map(&x, None), (Pad::all(1), Border::Reflect), plan);
        at = tell(&x, &moments, channels, found, at, plan);
        (x, moments, channels) = (y, measured, conv.outputs());
    }
    tell(&x, &moments, channels, found, at, plan);
}

fn run_mobilenet_v2([stem, last]: &[Conv; 2], blocks: &[Block], image: Map, found: (At, usize), plan: &mut Plan) {
    let same = |x: &Map, stride| -> Around { (Pad::same(x.height, x.width, 3, stride), Border::Zero) };
    let pointwise = (Pad::NONE, Border::Zero);
    let mut x = run_conv(stem, Source::Map(&image, None), same(&image, 2), plan);
    plan.room.give(image.at);
    for Block { expand, project, residual } in blocks {
        let hidden = match expand {
            Some(expand) => run_conv(expand, Source::Map(&x, None), pointwise, plan),
            None => x,
        };
        let out = run_conv(project, Source::Map(&hidden, None), same(&hidden, project.stride()), plan);
        if hidden.at != x.at {
            plan.room.give(hidden.at);
        }
        if *residual {
            plan.launches.push(affine_add(plan.number, &x, None, &out));
        }
        plan.room.give(x.at);
        x = out;
    }
    let (out, moments) = run_measured(last, Source::Map(&x, None), pointwise, plan);
    plan.launches.push(features(&moments, last.outputs(), found, 0, None));
    [x.at, out.at, moments.at].into_iter().for_each(|at| plan.room.give(at));
}
