//! F on CUDA; `style/predictor.rs` says what it is.
use super::Plan;
use super::layers::run_conv;
use crate::error::Result;
use crate::kernels::conv::cuda::Conv;
use crate::kernels::conv::{Activation, Shape};
use crate::kernels::cuda::{At, Map, Number, Weights, stored};
use crate::kernels::depthwise::cuda::Depthwise;
use crate::kernels::instance_norm::cuda::{affine_add, features};
use crate::kernels::interpolate::cuda::Images;
use crate::kernels::linear::cuda::Linear;
use crate::kernels::resize::cuda::resize;
use crate::kernels::{Border, Pad};
use crate::weights::{Model, network};

/// F with its weights on the device.
#[derive(Clone, Debug)]
pub(super) struct Predictor {
    sides: (usize, usize),
    body: Body,
    head: Linear,
}

#[derive(Clone, Debug)]
enum Body {
    Cnn(Vec<Conv>),
    MobilenetV2 { stem: Conv, blocks: Vec<Block>, last: Conv },
}

#[derive(Clone, Debug)]
struct Block {
    expand: Option<Conv>,
    depthwise: Depthwise,
    project: Conv,
    residual: bool,
}

impl Predictor {
    pub(super) fn new(model: &Model, number: Number, weights: &mut Weights) -> Result<Self> {
        let predictor = &model.network.predictor;
        let layer = |name: &str| -> Result<(&[f32], &[f32])> {
            let tensor = |kind: &str| model.numbers(&format!("predictor.{name}.{kind}"));
            Ok((tensor("weight")?, tensor("bias")?))
        };
        let shape = |inputs, outputs, kernel, stride, activation| Shape {
            stride,
            activation,
            ..Shape::plain(inputs, outputs, kernel)
        };
        let conv = |name: &str, shape, weights: &mut Weights| -> Result<Conv> {
            let (weight, bias) = layer(name)?;
            Ok(Conv::new(number, shape, weight, Some(bias), weights))
        };
        let body = match predictor {
            network::Predictor::Cnn { channels, .. } => {
                let mut inputs = 3;
                let mut stages = vec![];
                for (i, &outputs) in channels.iter().enumerate() {
                    stages.push(conv(&format!("conv.{i}"), shape(inputs, outputs, 3, 2, Activation::Relu), weights)?);
                    inputs = outputs;
                }
                Body::Cnn(stages)
            }
            network::Predictor::MobilenetV2 { .. } => {
                let relu6 = Activation::Relu6;
                let mut inputs = network::MOBILENET_V2_STEM;
                let stem = conv("stem", shape(3, inputs, 3, 2, relu6), weights)?;
                let mut blocks = vec![];
                for (i, block) in network::mobilenet_v2_blocks().enumerate() {
                    let (hidden, outputs, stride) = (inputs * block.expansion, block.channels, block.stride);
                    let name = |part: &str| format!("block.{i}.{part}");
                    let expand = match block.expansion {
                        1 => None,
                        _ => Some(conv(&name("expand"), shape(inputs, hidden, 1, 1, relu6), weights)?),
                    };
                    let (weight, bias) = layer(&name("depthwise"))?;
                    let middle = shape(hidden, hidden, 3, stride, relu6);
                    blocks.push(Block {
                        expand,
                        depthwise: Depthwise::new(number, middle, weight, Some(bias), weights),
                        project: conv(&name("project"), shape(hidden, outputs, 1, 1, Activation::None), weights)?,
                        residual: stride == 1 && inputs == outputs,
                    });
                    inputs = outputs;
                }
                let last = conv("last", shape(inputs, network::MOBILENET_V2_LAST, 1, 1, relu6), weights)?;
                Body::MobilenetV2 { stem, blocks, last }
            }
        };
        let sides = (predictor.smallest(), predictor.size());
        let zoom = (sides.0 < sides.1).then(|| layer("zoom")).transpose()?;
        Ok(Self { sides, body, head: Linear::new(layer("head")?, zoom, weights) })
    }

    /// Length of z.
    pub(super) fn dim(&self) -> usize {
        self.head.outputs()
    }

    /// z of `count` images, those that `rows` names, into `[count][dim]`.
    pub(super) fn run(&self, images: &Images, rows: At, count: usize, z: At, plan: &mut Plan) {
        let (smallest, largest) = self.sides;
        let [height, width] = [images.height, images.width].map(|n| n.clamp(smallest, largest));
        let x = plan.room.stored(plan.number, count, (height, width), 3);
        plan.launches.push(resize(plan.number, images, rows, &x));
        let row = self.head.inputs();
        let found = plan.room.take(count * row);
        match &self.body {
            Body::Cnn(stages) => run_cnn(stages, x, (found, row), plan),
            Body::MobilenetV2 { stem, blocks, last } => run_mobilenet_v2((stem, blocks, last), x, (found, row), plan),
        }
        let halvings = ((largest * largest) as f32 / (height * width) as f32).log2() / 2.0;
        plan.launches.push(self.head.launch(found, z, count, halvings));
        plan.room.give(found);
    }
}

fn run_cnn(stages: &[Conv], image: Map, found: (At, usize), plan: &mut Plan) {
    let number = plan.number;
    plan.launches.push(features(number, &image, 3, found, 0, true));
    let (mut x, mut at) = (image, 2 * 3);
    for conv in stages {
        let outputs = conv.shape().outputs;
        let out = run_conv(conv, &x, (Pad::all(1), Border::Reflect), stored(outputs), plan);
        plan.room.give(x.at);
        x = out;
        plan.launches.push(features(number, &x, outputs, found, at, true));
        at += 2 * outputs;
    }
    plan.room.give(x.at);
}

fn run_mobilenet_v2((stem, blocks, last): (&Conv, &[Block], &Conv), image: Map, found: (At, usize), plan: &mut Plan) {
    let same = |x: &Map, stride| (Pad::same(x.height, x.width, 3, stride), Border::Zero);
    let pointwise = (Pad::NONE, Border::Zero);
    let mut x = run_conv(stem, &image, same(&image, 2), stored(stem.shape().outputs), plan);
    plan.room.give(image.at);
    for Block { expand, depthwise, project, residual } in blocks {
        let hidden = match expand {
            Some(expand) => run_conv(expand, &x, pointwise, stored(expand.shape().outputs), plan),
            None => x,
        };
        let (pad, border) = same(&hidden, depthwise.shape().stride);
        let middle =
            plan.room.map(plan.number, x.images, depthwise.shape().size_of(hidden.size(), pad), hidden.channels);
        plan.launches.push(depthwise.launch(&hidden, pad, border, &middle));
        if hidden.at != x.at {
            plan.room.give(hidden.at);
        }
        let out = run_conv(project, &middle, pointwise, stored(project.shape().outputs), plan);
        plan.room.give(middle.at);
        if *residual {
            plan.launches.push(affine_add(plan.number, &x, None, &out));
        }
        plan.room.give(x.at);
        x = out;
    }
    let out = run_conv(last, &x, pointwise, stored(last.shape().outputs), plan);
    plan.room.give(x.at);
    plan.launches.push(features(plan.number, &out, last.shape().outputs, found, 0, false));
    plan.room.give(out.at);
}
