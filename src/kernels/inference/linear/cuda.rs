//! Linear layers on CUDA.
use crate::kernels::cuda::{Arg, At, Kernel, Launch, Number, Weights, count};
use std::sync::Arc;

/// Number of threads in a block.
const BLOCK: u32 = 512;

/// Number of images that a block handles.
const TOGETHER: usize = 4;

/// Maximum number of outputs of a block. It is small, so that many threads share each long sum.
const GROUP: usize = 16;

/// A linear layer with weights on the device, or two such layers of the same shape.
#[derive(Clone, Debug)]
pub struct Linear {
    weight: At,
    bias: At,
    inputs: usize,
    outputs: usize,
    zoom: bool,
}

impl Linear {
    /// Creates the layer from weights `[outputs, inputs]` and a bias. `zoom` is an optional second layer: [`Linear::launch`]
    /// multiplies its output by a factor and adds it to the output of the first.
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

    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Number of inputs.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Creates the launch that computes `y`, `[images][outputs]`, from `x`, `[images][inputs]`. `zoom` is the factor of the
    /// second layer's output.
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
