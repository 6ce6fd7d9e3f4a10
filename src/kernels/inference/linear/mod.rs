//! Linear layers: `out[o] = bias[o] + sum over i of weight[o, i] * in[i]`. They compute gammas and betas from the style vector.
//! The last layer of the style predictor F is linear, too.
pub mod cuda;
mod scalar;
mod simd;

use crate::kernels::isa::Isa;

/// A linear layer with a bias.
#[derive(Clone, Debug)]
pub struct Linear {
    isa: Isa,
    /// `[inputs][outputs]`, so that every sum stays within a lane. Outputs are padded with zeros to whole vectors.
    weight: Vec<f32>,
    bias: Vec<f32>,
    inputs: usize,
    outputs: usize,
}

impl Linear {
    /// Creates the layer with `weight` in `[outputs, inputs]` order.
    ///
    /// # Panics
    /// If the lengths do not match.
    pub fn new(isa: Isa, weight: &[f32], bias: &[f32]) -> Self {
        let outputs = bias.len();
        assert!(outputs > 0 && weight.len().is_multiple_of(outputs), "{} by {outputs}", weight.len());
        let (inputs, columns) = (weight.len() / outputs, outputs.next_multiple_of(isa.lanes()));
        let mut turned = vec![0.0; inputs * columns];
        for (n, &x) in weight.iter().enumerate() {
            turned[n % inputs * columns + n / inputs] = x;
        }
        let mut filled = bias.to_vec();
        filled.resize(columns, 0.0);
        Self { isa, weight: turned, bias: filled, inputs, outputs }
    }

    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Computes the outputs.
    ///
    /// # Panics
    /// If the lengths do not match.
    pub fn run(&self, input: &[f32], out: &mut [f32]) {
        out.fill(0.0);
        self.add(1.0, input, out);
    }

    /// Adds `by` times the outputs to `out`.
    ///
    /// # Panics
    /// If the lengths do not match.
    pub fn add(&self, by: f32, input: &[f32], out: &mut [f32]) {
        assert_eq!((input.len(), out.len()), (self.inputs, self.outputs));
        let Self { weight, bias, .. } = self;
        if self.isa == Isa::Scalar {
            return scalar::add(weight, bias, by, input, out);
        }
        self.isa.dispatch(simd::Add { weight, bias, by, input, out });
    }
}

#[cfg(test)]
mod tests {
    use super::{Isa, Linear};

    #[test]
    fn is_the_matrix_product_on_every_path() {
        for (isa, outputs) in Isa::supported().flat_map(|isa| [1, 2, 8, 17, 35].map(|outputs| (isa, outputs))) {
            let weight: Vec<f32> = (0..11 * outputs).map(|i| i as f32).collect();
            let bias: Vec<f32> = (0..outputs).map(|o| 0.5 - o as f32).collect();
            let input: Vec<f32> = (0..11).map(|i| 1.0 - i as f32).collect();
            let linear = Linear::new(isa, &weight, &bias);
            let mut out = vec![7.0; outputs];
            linear.run(&input, &mut out);
            for o in 0..outputs {
                let expected: f32 = (0..11).map(|i| weight[o * 11 + i] * input[i]).sum();
                assert_eq!(out[o], bias[o] + expected, "{} output {o} of {outputs}", isa.name());
            }
            linear.add(-1.0, &input, &mut out);
            assert_eq!(out, vec![0.0; outputs], "{}", isa.name());
        }
    }
}
