//! F: image to style vector z, whatever the image's size (it is resized first).
use super::layers::{padded, run_conv, run_depthwise};
use crate::error::Result;
use crate::kernels::conv::{Activation, Conv, Shape};
use crate::kernels::depthwise::Depthwise;
use crate::kernels::instance_norm::{Then, affine, moments};
use crate::kernels::linear::Linear;
use crate::kernels::resize::resize;
use crate::kernels::{Border, Isa, Map, Pad, Scratch};
use crate::weights::{Model, network};

/// F with its weights.
#[derive(Clone, Debug)]
pub struct Predictor {
    isa: Isa,
    size: usize,
    body: Body,
    head: Linear,
}

#[derive(Clone, Debug)]
enum Body {
    /// Strided convolutions; means and deviations of the pixels and of every stage.
    Cnn(Vec<Conv>),
    /// MobileNetV2 up to its last convolution; means of its channels.
    MobilenetV2(Box<MobilenetV2>),
}

#[derive(Clone, Debug)]
struct MobilenetV2 {
    stem: Conv,
    blocks: Vec<Block>,
    last: Conv,
}

/// MobileNetV2's inverted residual: expand, depthwise, project; added to its input where the shapes agree.
#[derive(Clone, Debug)]
struct Block {
    expand: Option<Conv>,
    depthwise: Depthwise,
    project: Conv,
    residual: bool,
}

impl Predictor {
    /// F of this model for one path through the kernels.
    ///
    /// # Errors
    /// A tensor is missing.
    pub fn new(model: &Model, isa: Isa) -> Result<Self> {
        let predictor = &model.network.predictor;
        let layer = |name: &str| -> Result<(&[f32], &[f32])> {
            let tensor = |kind: &str| model.tensor(&format!("predictor.{name}.{kind}"));
            Ok((&tensor("weight")?.data, &tensor("bias")?.data))
        };
        let conv = |name: &str, inputs, outputs, kernel, stride, activation| -> Result<Conv> {
            let (weight, bias) = layer(name)?;
            let shape = Shape { inputs, outputs, kernel, stride, upsample: false, activation, accumulate: false };
            Ok(Conv::new(isa, shape, weight, Some(bias)))
        };
        let body = match predictor {
            network::Predictor::Cnn { channels, .. } => {
                let mut inputs = 3;
                let mut stages = vec![];
                for (i, &outputs) in channels.iter().enumerate() {
                    stages.push(conv(&format!("conv.{i}"), inputs, outputs, 3, 2, Activation::Relu)?);
                    inputs = outputs;
                }
                Body::Cnn(stages)
            }
            network::Predictor::MobilenetV2 { .. } => {
                let stem = conv("stem", 3, network::MOBILENET_V2_STEM, 3, 2, Activation::Relu6)?;
                let mut inputs = network::MOBILENET_V2_STEM;
                let mut blocks = vec![];
                for (i, block) in network::mobilenet_v2_blocks().enumerate() {
                    let (hidden, outputs, stride) = (inputs * block.expansion, block.channels, block.stride);
                    let name = |part: &str| format!("block.{i}.{part}");
                    let expand = match block.expansion {
                        1 => None,
                        _ => Some(conv(&name("expand"), inputs, hidden, 1, 1, Activation::Relu6)?),
                    };
                    let (weight, bias) = layer(&name("depthwise"))?;
                    let activation = Activation::Relu6;
                    let shape = Shape {
                        inputs: hidden,
                        outputs: hidden,
                        kernel: 3,
                        stride,
                        upsample: false,
                        activation,
                        accumulate: false,
                    };
                    blocks.push(Block {
                        expand,
                        depthwise: Depthwise::new(isa, shape, weight, Some(bias)),
                        project: conv(&name("project"), hidden, outputs, 1, 1, Activation::None)?,
                        residual: stride == 1 && inputs == outputs,
                    });
                    inputs = outputs;
                }
                let last = conv("last", inputs, network::MOBILENET_V2_LAST, 1, 1, Activation::Relu6)?;
                Body::MobilenetV2(Box::new(MobilenetV2 { stem, blocks, last }))
            }
        };
        let (weight, bias) = layer("head")?;
        Ok(Self { isa, size: predictor.size(), body, head: Linear::new(weight, bias) })
    }

    /// Length of z.
    pub fn dim(&self) -> usize {
        self.head.outputs()
    }

    /// Writes the z of an image of three channels in [0, 1].
    pub fn run(&self, image: &Map, z: &mut [f32], scratch: &mut Scratch) {
        let (pad, border) = match self.body {
            Body::Cnn(_) => (Pad::all(1), Border::Reflect),
            Body::MobilenetV2(_) => (Pad::same(self.size, self.size, 3, 2), Border::Zero),
        };
        let mut x = scratch.take(self.size, self.size, 3, pad);
        resize(self.isa, image, &mut x, scratch);
        x.fill_border(border);
        let features = match &self.body {
            Body::Cnn(stages) => self.run_cnn(stages, x, scratch),
            Body::MobilenetV2(network) => self.run_mobilenet_v2(network, x, scratch),
        };
        self.head.run(&features, z);
    }

    fn run_cnn(&self, stages: &[Conv], mut x: Map, scratch: &mut Scratch) -> Vec<f32> {
        /// Keeps the deviation of a flat map differentiable in training; so it is part of the network.
        const EPSILON: f32 = 1e-5;
        let (mut features, mut mean, mut variance) = (vec![], vec![], vec![]);
        let mut collect = |x: &Map| {
            moments(self.isa, x, &mut mean, &mut variance);
            features.extend_from_slice(&mean);
            features.extend(variance.iter().map(|v| (v + EPSILON).sqrt()));
        };
        collect(&x);
        for conv in stages {
            let mut out = run_conv(conv, &x, Pad::all(1), scratch);
            out.fill_border(Border::Reflect);
            collect(&out);
            scratch.put(std::mem::replace(&mut x, out));
        }
        scratch.put(x);
        features
    }

    fn run_mobilenet_v2(&self, network: &MobilenetV2, image: Map, scratch: &mut Scratch) -> Vec<f32> {
        let MobilenetV2 { stem, blocks, last } = network;
        let mut x = run_conv(stem, &image, Pad::NONE, scratch);
        scratch.put(image);
        for block in blocks {
            let shape = block.depthwise.shape();
            let pad = Pad::same(x.height(), x.width(), shape.kernel, shape.stride);
            let hidden = match &block.expand {
                Some(expand) => run_conv(expand, &x, pad, scratch),
                None => std::mem::take(&mut x),
            };
            let hidden = padded(hidden, (pad, Border::Zero), scratch);
            let middle = run_depthwise(&block.depthwise, &hidden, scratch);
            let mut out = run_conv(&block.project, &middle, Pad::NONE, scratch);
            if block.residual {
                let ones = vec![1.0; out.channels()];
                affine(self.isa, &x, &ones, &vec![0.0; ones.len()], Then::Add, &mut out);
            }
            for map in [hidden, middle, std::mem::replace(&mut x, out)] {
                scratch.put(map);
            }
        }
        let out = run_conv(last, &x, Pad::NONE, scratch);
        let (mut mean, mut variance) = (vec![], vec![]);
        moments(self.isa, &out, &mut mean, &mut variance);
        scratch.put(x);
        scratch.put(out);
        mean
    }
}
