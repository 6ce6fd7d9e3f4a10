//! Softmax regression, the model of the linear probe.
//!
//! ```text
//! p = softmax(W f + b);  loss = -log p[class], averaged over the rows
//! ```
use super::Features;
use crate::error::{Error, Result};
use crate::kernels::training::convolution::{Shape, forward};
use crate::nn::Engine;

/// Maximum number of rows whose scores are in memory at once.
const BLOCK: usize = 8192;

/// A probe: weights, biases, and the label of each class. The weights `W` are `[classes][dim]`, followed by the biases `b`.
#[derive(Clone, Debug, PartialEq)]
pub struct Softmax {
    pub(super) numbers: Vec<f32>,
    labels: Vec<i64>,
    dim: usize,
}

impl Softmax {
    /// Creates a probe with weights of 0, which gives each class the same score.
    ///
    /// # Errors
    /// There is not enough memory for the weights of all classes.
    pub(super) fn zeros(labels: Vec<i64>, dim: usize) -> Result<Self> {
        let (count, mut numbers) = (labels.len() * (dim + 1), vec![]);
        if numbers.try_reserve_exact(count).is_err() {
            let n = labels.len();
            return Err(Error::invalid(format!(
                "targets have {n} different values, for which there is no memory ({count} weights); are these classes?"
            )));
        }
        numbers.resize(count, 0.0);
        Ok(Self { numbers, labels, dim })
    }

    pub(super) fn classes(&self) -> usize {
        self.labels.len()
    }

    pub(super) fn dim(&self) -> usize {
        self.dim
    }

    /// The weights W and the biases b.
    pub(super) fn split(&self) -> (&[f32], &[f32]) {
        self.numbers.split_at(self.classes() * self.dim)
    }

    /// The weights W and the biases b, mutable.
    pub(super) fn split_mut(&mut self) -> (&mut [f32], &mut [f32]) {
        self.numbers.split_at_mut(self.labels.len() * self.dim)
    }

    /// Ranks the classes for each row of `features` by their scores. Returns at most `top` labels per row, best first.
    ///
    /// # Errors
    /// The dimension of the features differs from that of the training features.
    pub fn rank(&self, engine: Engine, features: &Features, top: usize) -> Result<Vec<Vec<i64>>> {
        if features.dim != self.dim {
            return Err(Error::shape(
                "features",
                format!("must have {} columns, like the training features", self.dim),
                features.dim,
            ));
        }
        let mut ranked = vec![];
        for rows in features.numbers.chunks(BLOCK * self.dim) {
            let scores = self.scores(engine, rows);
            ranked.extend(scores.chunks_exact(self.classes()).map(|scores| {
                let mut order: Vec<usize> = (0..self.classes()).collect();
                order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
                order.iter().take(top).map(|&place| self.labels[place]).collect()
            }));
        }
        Ok(ranked)
    }

    fn scores(&self, engine: Engine, rows: &[f32]) -> Vec<f32> {
        let (weight, bias) = self.split();
        let n = rows.len() / self.dim;
        let mut scores = vec![0.0; n * self.classes()];
        forward(engine.isa, engine.threads, &self.shape(n), rows, weight, &mut scores);
        for scores in scores.chunks_exact_mut(self.classes()) {
            scores.iter_mut().zip(bias).for_each(|(score, b)| *score += b);
        }
        scores
    }

    fn shape(&self, n: usize) -> Shape {
        Shape::linear(n, self.dim, self.classes())
    }
}
