//! A convolution without bias, as ResNets have them: `kernels/training/convolution` with its weights in the flat vector.
use super::{Array, ArrayRef, Engine, Initial, Layout};
use crate::kernels::training::convolution;
use crate::kernels::training::convolution::Shape;
use std::ops::Range;

/// The layer.
#[derive(Clone, Debug)]
pub struct Conv2d {
    inputs: usize,
    outputs: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
    weight: Range<usize>,
}

impl Conv2d {
    /// A square kernel that keeps the size but for its stride. It begins as torchvision's ResNets do: He et al. 2015, by the outputs.
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
        Self { inputs, outputs, kernel, stride, padding: kernel / 2, weight }
    }

    fn shape(&self, [batch, height, width, channels]: [usize; 4]) -> Shape {
        assert_eq!(channels, self.inputs, "channels of a convolution's input");
        let kernel = (self.kernel, self.kernel);
        let &Self { inputs, outputs, stride, padding, .. } = self;
        Shape { batch, height, width, inputs, outputs, kernel, stride, padding }
    }

    /// The output.
    ///
    /// # Panics
    /// If the input has other channels.
    pub fn forward(&self, engine: Engine, params: &[f32], x: ArrayRef) -> Array {
        let shape = self.shape(x.shape);
        let (rows, columns) = shape.output_size();
        let mut y = Array::zeros([shape.batch, rows, columns, self.outputs]);
        let weight = &params[self.weight.clone()];
        convolution::forward(engine.isa, engine.threads, &shape, x.numbers, weight, &mut y.numbers);
        y
    }

    /// Puts the weights' gradient in its place.
    pub fn weight_gradient(&self, engine: Engine, x: ArrayRef, dy: &Array, gradient: &mut [f32]) {
        let out = &mut gradient[self.weight.clone()];
        convolution::weight_gradient(engine.isa, engine.threads, &self.shape(x.shape), x.numbers, &dy.numbers, out);
    }

    /// The gradient of an input of this shape.
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
