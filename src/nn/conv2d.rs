//! A convolution layer: `kernels/training/convolution` with weights in the network's flat vector of parameters.
use super::{Array, ArrayRef, Engine, Initial, Layout};
use crate::kernels::training::convolution;
use crate::kernels::training::convolution::Shape;
use std::ops::Range;

/// A convolution layer.
#[derive(Clone, Debug)]
pub struct Conv2d {
    inputs: usize,
    outputs: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
    weight: Range<usize>,
    bias: Option<Range<usize>>,
}

impl Conv2d {
    /// Creates a convolution without a bias. Its kernel is square and has an odd side. The padding is such that only the stride
    /// changes the size of a map. The initialization is that of torchvision's ResNets and VGGs: He et al. 2015, fan-out mode.
    pub fn new(
        layout: &mut Layout,
        name: &str,
        (inputs, outputs): (usize, usize),
        kernel: usize,
        stride: usize,
    ) -> Self {
        let deviation = (2.0 / (outputs * kernel * kernel) as f64).sqrt();
        let shape = [outputs, inputs, kernel, kernel];
        let weight = layout.within(name, |layout| layout.parameter("weight", &shape, Initial::Normal(deviation)));
        Self { inputs, outputs, kernel, stride, padding: kernel / 2, weight, bias: None }
    }

    /// Creates a convolution of stride 1 with a bias, which is initially 0.
    pub fn biased(layout: &mut Layout, name: &str, (inputs, outputs): (usize, usize), kernel: usize) -> Self {
        let mut conv = Self::new(layout, name, (inputs, outputs), kernel, 1);
        conv.bias = Some(layout.within(name, |layout| layout.parameter("bias", &[outputs], Initial::Constant(0.0))));
        conv
    }

    fn shape(&self, [batch, height, width, channels]: [usize; 4]) -> Shape {
        assert_eq!(channels, self.inputs, "channels of a convolution's input");
        let kernel = (self.kernel, self.kernel);
        let &Self { inputs, outputs, stride, padding, .. } = self;
        Shape { batch, height, width, inputs, outputs, kernel, stride, padding }
    }

    /// Computes the output.
    ///
    /// # Panics
    /// If the number of channels of the input does not match.
    pub fn forward(&self, engine: Engine, params: &[f32], x: ArrayRef) -> Array {
        let shape = self.shape(x.shape);
        let (rows, columns) = shape.output_size();
        let mut y = Array::zeros([shape.batch, rows, columns, self.outputs]);
        let weight = &params[self.weight.clone()];
        convolution::forward(engine.isa, engine.threads, &shape, x.numbers, weight, &mut y.numbers);
        if let Some(bias) = &self.bias {
            let bias = &params[bias.clone()];
            y.numbers.chunks_exact_mut(self.outputs).for_each(|y| y.iter_mut().zip(bias).for_each(|(y, b)| *y += b));
        }
        y
    }

    /// Writes the gradients of weights and biases to `gradient`.
    pub fn weight_gradient(&self, engine: Engine, x: ArrayRef, dy: &Array, gradient: &mut [f32]) {
        let out = &mut gradient[self.weight.clone()];
        convolution::weight_gradient(engine.isa, engine.threads, &self.shape(x.shape), x.numbers, &dy.numbers, out);
        if let Some(bias) = &self.bias {
            let sums = &mut gradient[bias.clone()];
            sums.fill(0.0);
            for dy in dy.numbers.chunks_exact(self.outputs) {
                sums.iter_mut().zip(dy).for_each(|(sum, dy)| *sum += dy);
            }
        }
    }

    /// Computes the gradient of the input. `shape` is the shape of the input.
    pub fn input_gradient(&self, engine: Engine, params: &[f32], shape: [usize; 4], dy: &Array) -> Array {
        let mut dx = Array::zeros(shape);
        let weight = &params[self.weight.clone()];
        convolution::input_gradient(
            engine.isa,
            engine.threads,
            &self.shape(shape),
            &dy.numbers,
            weight,
            &mut dx.numbers,
        );
        dx
    }
}
