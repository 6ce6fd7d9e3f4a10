//! Conversion of TensorFlow variables to our tensors: variables are renamed, axes are permuted, and batch norms are folded.
//!
//! A batch norm is folded into the preceding convolution. With s = gamma / sqrt(variance + 1e-3), the weight w becomes w s, and
//! the bias is beta - mean s. Both are computed in float64 and rounded. The axes of TensorFlow's weights are height, width,
//! inputs, outputs; the axes of our weights are outputs, inputs, height, width.
use super::super::{Tensor, Tensors};
use crate::error::{Error, Result};
use crate::memory;
use std::path::Path;

/// Epsilon of all batch norms.
const EPS: f64 = 1e-3;

/// The tensors renamed so far. Errors are collected, so that one message can list what is missing.
pub(super) struct Renaming<'a> {
    variables: &'a Tensors,
    origin: &'a Path,
    tensors: Tensors,
    missing: Vec<String>,
    /// The first error other than a missing variable, if any.
    wrong: Option<Error>,
}

impl<'a> Renaming<'a> {
    pub(super) fn new(variables: &'a Tensors, origin: &'a Path) -> Self {
        let mut renaming = Self { variables, origin, tensors: Tensors::new(), missing: vec![], wrong: None };
        for (name, Tensor { shape, data }) in variables {
            if shape.iter().try_fold(1, |n: usize, &side| n.checked_mul(side)) != Some(data.len()) {
                renaming.note(format!("has {} values in {name} of shape {shape:?}; it is damaged", data.len()));
            }
            // TensorFlow.js has these constants for norms without gamma; norms of equal width share a constant.
            if name.ends_with("/BatchNorm/Const") && data.iter().any(|&x| x != 1.0) {
                renaming.note(format!("has the gamma {name}, which is not all ones; is it Magenta's network?"));
            }
        }
        renaming
    }

    /// Returns the tensors under our names. `what` is the name of the network in the error for missing variables.
    pub(super) fn finish(self, what: &str) -> Result<Tensors> {
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        let Some(first) = self.missing.first() else { return Ok(self.tensors) };
        let second = self.missing.get(1).map_or(String::new(), |second| format!(", {second}"));
        let more = self.missing.len().saturating_sub(2);
        let more = if more == 0 { String::new() } else { format!(" and {more} more variables") };
        let found: Vec<&str> = self.variables.keys().take(3).map(String::as_str).collect();
        let holds =
            if found.is_empty() { "none of Magenta's".to_owned() } else { format!("{}, …", found.join(", ")) };
        let reason = format!("lacks {first}{second}{more} of a {what} (it holds {holds}); give the file that has them");
        Err(Error::weights(self.origin, reason))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.variables.contains_key(name)
    }

    /// Returns `true` if there is a variable with this prefix.
    pub(super) fn has_any(&self, start: &str) -> bool {
        self.variables.range(start.to_owned()..).next().is_some_and(|(name, _)| name.starts_with(start))
    }

    /// Returns the shape of the convolution weight with this name among our tensors; zeros if it is missing.
    pub(super) fn shape(&self, name: &str) -> [usize; 4] {
        self.tensors.get(name).and_then(|tensor| tensor.shape.as_slice().try_into().ok()).unwrap_or_default()
    }

    /// Converts a convolution with a batch norm. The norm may already be folded; its gamma may be missing unless `needs_gamma`.
    pub(super) fn normed(&mut self, theirs: &str, ours: &str, needs_gamma: bool) {
        let depthwise = theirs.ends_with("/depthwise");
        let (operation, variable) = if depthwise { ("depthwise", "depthwise_weights") } else { ("Conv2D", "weights") };
        let offset = format!("{theirs}/{operation}_bn_offset");
        let (weight, bias) = if self.has(&offset) {
            let weight = self.oihw(&format!("{theirs}/{operation}_weights"), depthwise);
            let bias = self.vector(&offset, weight.shape[0]).to_vec();
            (weight, bias)
        } else {
            let mut weight = self.oihw(&format!("{theirs}/{variable}"), depthwise);
            let bias = self.fold(&mut weight, &format!("{theirs}/BatchNorm"), needs_gamma);
            (weight, bias)
        };
        self.tensors.insert(format!("{ours}.bias"), Tensor { shape: vec![bias.len()], data: bias });
        self.tensors.insert(format!("{ours}.weight"), weight);
    }

    /// Converts a convolution without bias, followed by a style norm.
    pub(super) fn plain(&mut self, theirs: &str, ours: &str) {
        let weight = self.oihw(theirs, theirs.ends_with("/depthwise_weights"));
        self.tensors.insert(format!("{ours}.weight"), weight);
    }

    /// Converts a 1x1 convolution with bias to a linear layer.
    pub(super) fn linear(&mut self, theirs: &str, ours: &str) {
        let mut weight = self.oihw(&format!("{theirs}/weights"), false);
        if weight.shape[2..] != [1, 1] && !weight.data.is_empty() {
            self.note(format!("has a kernel of {:?} in {theirs}, which should be linear", &weight.shape[2..]));
        }
        let bias = self.vector(&format!("{theirs}/biases"), weight.shape[0]).to_vec();
        weight.shape.truncate(2);
        self.tensors.insert(format!("{ours}.bias"), Tensor { shape: vec![bias.len()], data: bias });
        self.tensors.insert(format!("{ours}.weight"), weight);
    }

    /// Folds a batch norm into the preceding weight, and returns the bias.
    fn fold(&mut self, weight: &mut Tensor, norm: &str, needs_gamma: bool) -> Vec<f32> {
        let outputs = weight.shape[0];
        let mut part = |name: &str| self.vector(&format!("{norm}/{name}"), outputs);
        let [beta, mean, variance] = ["beta", "moving_mean", "moving_variance"].map(&mut part);
        let gamma = if needs_gamma || self.has(&format!("{norm}/gamma")) {
            self.vector(&format!("{norm}/gamma"), outputs)
        } else {
            &[]
        };
        let of_each = weight.data.len().checked_div(outputs).unwrap_or(0).max(1);
        let mut bias = vec![];
        for (o, weights) in weight.data.chunks_mut(of_each).enumerate() {
            let at = |numbers: &[f32], default| numbers.get(o).map_or(default, |&x| f64::from(x));
            let scale = at(gamma, 1.0) / (at(variance, 1.0) + EPS).sqrt();
            weights.iter_mut().for_each(|w| *w = (f64::from(*w) * scale) as f32);
            bias.push((at(beta, 0.0) - at(mean, 0.0) * scale) as f32);
        }
        bias
    }

    /// Returns the weight of a convolution, `[out, in, height, width]` (depthwise: `[channels, 1, height, width]`); an empty
    /// tensor if the weight is missing or invalid.
    fn oihw(&mut self, name: &str, depthwise: bool) -> Tensor {
        let nothing = Tensor { shape: vec![0; 4], data: vec![] };
        let Some(tensor) = self.get(name) else { return nothing };
        let &[h, w, i, o] = tensor.shape.as_slice() else {
            self.note(format!("has {name} of shape {:?}, where a convolution has four axes", tensor.shape));
            return nothing;
        };
        if depthwise && o != 1 {
            self.note(format!("has {name} of shape {:?}, where a depthwise convolution ends in 1", tensor.shape));
            return nothing;
        }
        let n = tensor.data.len();
        let mut data = match memory::room(name, n) {
            Ok(room) => room,
            Err(error) => {
                self.wrong.get_or_insert(error);
                return nothing;
            }
        };
        let from = |n: usize| (n % (h * w) * i + n / (h * w) % i) * o + n / (h * w * i);
        data.extend((0..n).filter_map(|n| tensor.data.get(from(n))));
        Tensor { shape: if depthwise { vec![i, 1, h, w] } else { vec![o, i, h, w] }, data }
    }

    /// Returns the values of a variable, one per output; an empty slice if it is missing.
    fn vector(&mut self, name: &str, outputs: usize) -> &'a [f32] {
        let Some(tensor) = self.get(name) else { return &[] };
        if tensor.shape != [outputs] && outputs > 0 {
            self.note(format!("has {name} of shape {:?} for a layer of {outputs} channels", tensor.shape));
        }
        &tensor.data
    }

    fn get(&mut self, name: &str) -> Option<&'a Tensor> {
        let found = self.variables.get(name);
        if found.is_none() {
            self.missing.push(name.to_owned());
        }
        found
    }

    fn note(&mut self, reason: String) {
        self.wrong.get_or_insert(Error::weights(self.origin, reason));
    }
}
