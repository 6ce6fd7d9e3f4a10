//! Heads, such as projectors and predictors. A head is a sequence of linear layers. Between two of them, there is a ReLU, or
//! batch norm and a ReLU.
use super::{Array, ArrayRef, BatchNorm, Body, Engine, Initial, Kept, Layout, Normed, Pass};
use crate::kernels::training::convolution;
use crate::kernels::training::convolution::Shape;
use std::ops::Range;

/// The layers between two linear layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hidden {
    /// A ReLU, after a linear layer with a bias, as in MoCo v2.
    Relu,
    /// Batch norm and a ReLU.
    BatchNorm {
        /// Whether linear layers before a batch norm have biases: true in BYOL's code, false in SimCLR's. The norm cancels such
        /// biases.
        bias: bool,
    },
}

/// The last layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// A linear layer alone.
    Linear {
        /// Whether the linear layer has a bias.
        bias: bool,
    },
    /// A linear layer without a bias, followed by a batch norm without a ReLU.
    Norm {
        /// Whether the norm has gamma and beta: true in SimCLR, false in SimSiam.
        affine: bool,
    },
}

/// A head: a multilayer perceptron.
#[derive(Clone, Debug)]
pub struct Mlp {
    layers: Vec<Layer>,
    engine: Engine,
}

#[derive(Clone, Debug)]
struct Layer {
    linear: Linear,
    follow: Follow,
}

#[derive(Clone, Debug)]
enum Follow {
    Nothing,
    Relu,
    Norm(BatchNorm),
}

/// `y = x W^T + b`.
#[derive(Clone, Debug)]
struct Linear {
    inputs: usize,
    outputs: usize,
    weight: Range<usize>,
    bias: Option<Range<usize>>,
}

/// The values that a layer keeps for the backward pass. The layer's input is kept as the output of the previous layer.
struct KeptLayer {
    /// The output of the linear layer, if a norm follows.
    linear: Option<Array>,
    /// The output of the whole layer.
    normed: Normed,
}

impl Mlp {
    /// Creates a head with the linear layers `0`, `1`, and so on. Layer n has `sizes[n]` inputs and `sizes[n + 1]` outputs.
    pub fn new(layout: &mut Layout, engine: Engine, sizes: &[usize], hidden: Hidden, last: Last) -> Self {
        let count = sizes.len().saturating_sub(1);
        let layers = sizes.windows(2).enumerate().map(|(n, size)| {
            layout.within(&n.to_string(), |layout| {
                let is_last = n + 1 == count;
                let bias = match is_last {
                    true => last == Last::Linear { bias: true },
                    false => hidden != Hidden::BatchNorm { bias: false },
                };
                let linear = Linear::new(layout, (size[0], size[1]), bias);
                let follow = match (is_last, last, hidden) {
                    (true, Last::Norm { affine: true }, _) => {
                        Follow::Norm(BatchNorm::new(layout, "bn", size[1], false, 1.0))
                    }
                    (true, Last::Norm { affine: false }, _) => Follow::Norm(BatchNorm::fixed(layout, "bn", size[1])),
                    (true, Last::Linear { .. }, _) => Follow::Nothing,
                    (false, _, Hidden::Relu) => Follow::Relu,
                    (false, _, Hidden::BatchNorm { .. }) => {
                        Follow::Norm(BatchNorm::new(layout, "bn", size[1], true, 1.0))
                    }
                };
                Layer { linear, follow }
            })
        });
        Self { layers: layers.collect(), engine }
    }
}

impl Body for Mlp {
    fn forward(&self, pass: &mut Pass, x: ArrayRef) -> (Array, Option<Kept>) {
        let mut kept: Vec<KeptLayer> = vec![];
        for layer in &self.layers {
            let input = kept.last().map_or(x, |kept| kept.normed.y.borrowed());
            let linear = layer.linear.forward(self.engine, pass.params, input);
            let (linear, normed) = match &layer.follow {
                Follow::Nothing => (None, Normed { y: linear, moments: vec![] }),
                Follow::Relu => {
                    let mut y = linear;
                    y.numbers.iter_mut().for_each(|x| *x = if *x < 0.0 { 0.0 } else { *x });
                    (None, Normed { y, moments: vec![] })
                }
                Follow::Norm(norm) => {
                    let normed = norm.forward(self.engine, (pass.params, pass.buffers), &linear, None, pass.mode);
                    (Some(linear), normed)
                }
            };
            if !pass.keep {
                kept.clear();
            }
            kept.push(KeptLayer { linear, normed });
        }
        // No ReLU follows the last layer, so its gradient does not need its output.
        let last = kept.last_mut().expect("a head has a layer");
        let y = std::mem::replace(&mut last.normed.y, Array::zeros([0; 4]));
        (y, pass.keep.then(|| Box::new(kept) as Kept))
    }

    fn backward(
        &self,
        params: &[f32],
        kept: Kept,
        x: ArrayRef,
        dy: Array,
        gradient: &mut [f32],
        wants_input: bool,
    ) -> Option<Array> {
        let mut layers = *kept.downcast::<Vec<KeptLayer>>().ok()?;
        let mut dy = dy;
        for (n, layer) in self.layers.iter().enumerate().rev() {
            let kept = layers.pop()?;
            let input = layers.last().map_or(x, |kept| kept.normed.y.borrowed());
            match (&layer.follow, &kept.linear) {
                (Follow::Relu, _) => {
                    dy.numbers
                        .iter_mut()
                        .zip(&kept.normed.y.numbers)
                        .for_each(|(dy, y)| *dy = if *y > 0.0 { *dy } else { 0.0 });
                }
                (Follow::Norm(norm), Some(linear)) => {
                    dy = norm.backward(self.engine, (params, gradient), linear, &kept.normed, &dy, false).0;
                }
                _ => {}
            }
            layer.linear.weight_gradient(self.engine, input, &dy, gradient);
            if n == 0 && !wants_input {
                return None;
            }
            dy = layer.linear.input_gradient(self.engine, params, &dy);
        }
        Some(dy)
    }
}

impl Linear {
    /// Creates a layer with the initialization of `torch.nn.Linear`.
    fn new(layout: &mut Layout, (inputs, outputs): (usize, usize), bias: bool) -> Self {
        let bound = Initial::Uniform((inputs as f64).sqrt().recip());
        let weight = layout.parameter("weight", &[outputs, inputs], bound);
        let bias = bias.then(|| layout.parameter("bias", &[outputs], bound));
        Self { inputs, outputs, weight, bias }
    }

    fn shape(&self, batch: usize) -> Shape {
        Shape::linear(batch, self.inputs, self.outputs)
    }

    fn forward(&self, engine: Engine, params: &[f32], x: ArrayRef) -> Array {
        let batch = x.shape[0];
        let mut y = Array::zeros([batch, 1, 1, self.outputs]);
        let weight = &params[self.weight.clone()];
        convolution::forward(engine.isa, engine.threads, &self.shape(batch), x.numbers, weight, &mut y.numbers);
        if let Some(bias) = &self.bias {
            let bias = &params[bias.clone()];
            y.numbers.chunks_exact_mut(self.outputs).for_each(|y| y.iter_mut().zip(bias).for_each(|(y, b)| *y += b));
        }
        y
    }

    fn weight_gradient(&self, engine: Engine, x: ArrayRef, dy: &Array, gradient: &mut [f32]) {
        let out = &mut gradient[self.weight.clone()];
        let shape = self.shape(x.shape[0]);
        convolution::weight_gradient(engine.isa, engine.threads, &shape, x.numbers, &dy.numbers, out);
        if let Some(bias) = &self.bias {
            let sums = &mut gradient[bias.clone()];
            sums.fill(0.0);
            dy.numbers
                .chunks_exact(self.outputs)
                .for_each(|dy| sums.iter_mut().zip(dy).for_each(|(sum, dy)| *sum += dy));
        }
    }

    fn input_gradient(&self, engine: Engine, params: &[f32], dy: &Array) -> Array {
        let batch = dy.shape[0];
        let mut dx = Array::zeros([batch, 1, 1, self.inputs]);
        let weight = &params[self.weight.clone()];
        convolution::input_gradient(
            engine.isa,
            engine.threads,
            &self.shape(batch),
            &dy.numbers,
            weight,
            &mut dx.numbers,
        );
        dx
    }
}
