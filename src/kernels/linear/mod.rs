//! `out[o] = bias[o] + sum over i of weight[o, i] * in[i]`: the style vector's scales and shifts, and F's last layer.
//!
//! Tens of thousands of multiply-adds an image: the plain loop over eight partial sums is all it needs.

/// A linear map with bias.
#[derive(Clone, Debug)]
pub struct Linear {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Linear {
    /// `weight` in `[outputs, inputs]` order.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn new(weight: &[f32], bias: &[f32]) -> Self {
        assert!(!bias.is_empty() && weight.len().is_multiple_of(bias.len()), "{} by {}", weight.len(), bias.len());
        Self { weight: weight.to_vec(), bias: bias.to_vec() }
    }

    /// Inputs.
    pub fn inputs(&self) -> usize {
        self.weight.len() / self.bias.len()
    }

    /// Outputs.
    pub fn outputs(&self) -> usize {
        self.bias.len()
    }

    /// Writes the outputs.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn run(&self, input: &[f32], out: &mut [f32]) {
        out.fill(0.0);
        self.add(1.0, input, out);
    }

    /// Adds `by` times the outputs.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn add(&self, by: f32, input: &[f32], out: &mut [f32]) {
        assert_eq!((input.len(), out.len()), (self.inputs(), self.outputs()));
        for ((out, bias), weight) in out.iter_mut().zip(&self.bias).zip(self.weight.chunks_exact(input.len())) {
            *out += by * (bias + dot(weight, input));
        }
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; 8];
    let (a8, b8) = (a.chunks_exact(8), b.chunks_exact(8));
    let tail: f32 = a8.remainder().iter().zip(b8.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a8.zip(b8) {
        for i in 0..8 {
            sums[i] += a[i] * b[i];
        }
    }
    sums.iter().sum::<f32>() + tail
}

#[cfg(test)]
mod tests {
    use super::Linear;

    #[test]
    fn is_the_matrix_product() {
        let weight: Vec<f32> = (0..22).map(|i| i as f32).collect();
        let input: Vec<f32> = (0..11).map(|i| 1.0 - i as f32).collect();
        let mut out = [0.0; 2];
        Linear::new(&weight, &[0.5, -1.0]).run(&input, &mut out);
        for (o, bias) in [0.5, -1.0].into_iter().enumerate() {
            let expected: f32 = (0..11).map(|i| weight[o * 11 + i] * input[i]).sum();
            assert_eq!(out[o], bias + expected);
        }
        let before = out;
        Linear::new(&weight, &[0.5, -1.0]).add(-1.0, &input, &mut out);
        assert_eq!((out, before.map(|x| x - x)), ([0.0; 2], [0.0; 2]));
    }
}
