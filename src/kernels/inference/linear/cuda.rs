//! Linear maps on CUDA.
use crate::kernels::cuda::{Arg, At, Kernel, Launch, Number, Weights, count};
use std::sync::Arc;

/// Threads of a block.
const BLOCK: u32 = 512;

/// Images of a block.
const TOGETHER: usize = 4;

/// Outputs of a block, at most: few, so that many threads share a long sum.
const GROUP: usize = 16;

/// A linear map whose weights lie on the device; or two of one shape.
#[derive(Clone, Debug)]
pub struct Linear {
    weight: At,
    bias: At,
    inputs: usize,
    outputs: usize,
    zoom: bool,
}

impl Linear {
    /// `[outputs, inputs]` and a bias each; `zoom` is what is added to the first, a number of times.
    pub fn new(first: (&[f32], &[f32]), zoom: Option<(&[f32], &[f32])>, weights: &mut Weights) -> Self {
        let outputs = first.1.len();
        let inputs = first.0.len() / outputs;
        let turned = |(weight, _): (&[f32], &[f32])| {
            (0..inputs * outputs).map(|n| weight[n % outputs * inputs + n / outputs]).collect::<Vec<_>>()
        };
        let both = || std::iter::once(first).chain(zoom);
        let weight = weights.push(Number::F32, both().flat_map(turned));
        let bias = weights.push(Number::F32, both().flat_map(|(_, bias)| bias.iter().copied()));
        Self { weight, bias, inputs, outputs, zoom: zoom.is_some() }
    }

    /// Outputs.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Inputs.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// From `[images][inputs]` to `[images][outputs]`.
    pub fn launch(&self, x: At, y: At, images: usize, zoom: f32) -> Launch {
        let &Self { weight, bias, inputs, outputs, .. } = self;
        let group = outputs.min(GROUP);
        let defines = vec![
            ("INPUTS", inputs),
            ("OUTPUTS", outputs),
            ("ZOOM", self.zoom.into()),
            ("GROUP", group),
            ("TOGETHER", TOGETHER),
        ];
        Launch {
            kernel: Arc::new(Kernel { name: "linear", source: include_str!("linear.cu"), defines }),
            grid: [1, count(outputs.div_ceil(group)), count(images.div_ceil(TOGETHER))],
            block: BLOCK,
            shared: 4 * TOGETHER * BLOCK as usize,
            args: vec![x.into(), weight.into(), bias.into(), y.into(), images.into(), Arg::Float(zoom)],
        }
    }
}
