//! F: image to style vector z, whatever the image's size (it is resized first).
use super::layers::run_conv;
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

impl Block {
    /// Floats of the hidden map that are worked on at a time: with what is made of them, half a megabyte of cache.
    const STRIP: usize = 1 << 16;

    /// Expands, convolves and projects strip by strip, so that the hidden map, the largest of all, stays in the cache.
    fn run(&self, x: &Map, scratch: &mut Scratch) -> Map {
        let Shape { kernel, stride, outputs: channels, .. } = *self.depthwise.shape();
        let pad = Pad::same(x.height(), x.width(), kernel, stride);
        let sides = Pad { top: 0, bottom: 0, ..pad };
        let (height, width) = (x.height().div_ceil(stride), x.width().div_ceil(stride));
        let mut out = scratch.take(height, width, self.project.shape().outputs, Pad::NONE);
        let step = (Self::STRIP / (x.width() * channels)).clamp(1, height);
        let mut hidden = scratch.take(0, x.width(), channels, sides);
        let mut middle = scratch.take(step, width, channels, Pad::NONE);
        // Rows of the hidden map that have been made, counted with the padding above.
        let mut done = 0;
        for y in (0..height).step_by(step) {
            let rows = step.min(height - y);
            let (start, end) = (y * stride, (y + rows - 1) * stride + kernel);
            // Rows that the last strip has made already.
            let kept = usize::saturating_sub(done, start);
            hidden.keep_last_rows(kept);
            hidden.reshape(end - start, x.width(), channels, sides);
            let inside = |row: usize| (pad.top..pad.top + x.height()).contains(&row);
            let fresh = (start + kept).max(pad.top)..end.min(pad.top + x.height());
            if !fresh.is_empty() {
                let from = x.view().rows(fresh.start - pad.top..fresh.end - pad.top);
                match &self.expand {
                    Some(expand) => expand.run_at(fresh.start - start, from, &mut hidden, scratch),
                    None => (0..fresh.len()).for_each(|i| {
                        let row = &from.data[i * from.stride..(i + 1) * from.stride];
                        hidden.row_mut(fresh.start - start + i).copy_from_slice(row);
                    }),
                }
            }
            let outside = (start + kept..end).filter(|&row| !inside(row)).map(|row| row - start);
            hidden.fill_zeros(kept..end - start, outside);
            middle.reshape(rows, width, channels, Pad::NONE);
            self.depthwise.run(&hidden, &mut middle);
            self.project.run_at(y, &middle, &mut out, scratch);
            done = end;
        }
        scratch.put(hidden);
        scratch.put(middle);
        out
    }
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
            let mut out = block.run(&x, scratch);
            if block.residual {
                let ones = vec![1.0; out.channels()];
                affine(self.isa, &x, &ones, &vec![0.0; ones.len()], Then::Add, &mut out);
            }
            scratch.put(std::mem::replace(&mut x, out));
        }
        let out = run_conv(last, &x, Pad::NONE, scratch);
        let (mut mean, mut variance) = (vec![], vec![]);
        moments(self.isa, &out, &mut mean, &mut variance);
        scratch.put(x);
        scratch.put(out);
        mean
    }
}
