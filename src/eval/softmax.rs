//! Softmax regression: what both probes learn, and the gradient that they follow.
//!
//! ```text
//! p = softmax(W f + b);  loss = -log p[class], on average over the rows;  dloss/dscores = (p - onehot) / rows
//! ```
use super::Features;
use crate::error::{Error, Result};
use crate::kernels::conv2d::{Shape, forward, weight_gradient};
use crate::kernels::pool;
use crate::nn::Engine;

/// Rows whose scores are held at once.
const BLOCK: usize = 8192;

/// What was learnt: `W [classes][dim]` and `b`, one after the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Softmax {
    pub(super) numbers: Vec<f32>,
    classes: usize,
    dim: usize,
}

impl Softmax {
    /// That gives each class the same score.
    pub(super) fn zeros(classes: usize, dim: usize) -> Self {
        Self { numbers: vec![0.0; classes * (dim + 1)], classes, dim }
    }

    /// W and b.
    pub(super) fn parts(&mut self) -> (&mut [f32], &mut [f32]) {
        self.numbers.split_at_mut(self.classes * self.dim)
    }

    /// The classes of features in the order of their scores, the best first; at most `top` of them.
    ///
    /// # Errors
    /// Features of another length.
    pub fn rank(&self, engine: Engine, features: &Features, top: usize) -> Result<Vec<Vec<i64>>> {
        if features.dim != self.dim {
            return Err(Error::shape("features", format!("rows of {}, as those learnt from", self.dim), features.dim));
        }
        let mut ranked = vec![];
        for rows in features.numbers.chunks(BLOCK * self.dim) {
            let scores = self.scores(engine, rows);
            ranked.extend(scores.chunks_exact(self.classes).map(|scores| {
                let mut order: Vec<i64> = (0..self.classes as i64).collect();
                order.sort_by(|&a, &b| scores[b as usize].total_cmp(&scores[a as usize]));
                order.truncate(top);
                order
            }));
        }
        Ok(ranked)
    }

    /// The mean loss of rows, and its gradient, in the order of `numbers`.
    pub(super) fn gradient(&self, engine: Engine, rows: &[f32], targets: &[i64]) -> (f64, Vec<f32>) {
        let Self { classes, dim, .. } = *self;
        let by = 1.0 / targets.len() as f32;
        let (mut loss, mut gradient) = (0.0, vec![0.0; self.numbers.len()]);
        for (rows, targets) in rows.chunks(BLOCK * dim).zip(targets.chunks(BLOCK)) {
            let mut scores = self.scores(engine, rows);
            let mut losses = vec![0.0; targets.len()];
            let each = scores.chunks_exact_mut(classes).zip(targets).zip(&mut losses);
            pool::each(engine.threads, each, |((scores, &target), loss)| {
                let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let right = scores[target as usize] - largest;
                scores.iter_mut().for_each(|score| *score = (*score - largest).exp());
                let sum: f32 = scores.iter().sum();
                *loss = f64::from(sum.ln() - right);
                scores.iter_mut().for_each(|score| *score *= by / sum);
                scores[target as usize] -= by;
            });
            loss += losses.iter().sum::<f64>();
            let (dweight, dbias) = gradient.split_at_mut(classes * dim);
            let mut part = vec![0.0; dweight.len()];
            weight_gradient(engine.isa, engine.threads, &self.shape(targets.len()), rows, &scores, &mut part);
            dweight.iter_mut().zip(part).for_each(|(sum, x)| *sum += x);
            for scores in scores.chunks_exact(classes) {
                dbias.iter_mut().zip(scores).for_each(|(sum, x)| *sum += x);
            }
        }
        (loss / targets.len() as f64, gradient)
    }

    fn scores(&self, engine: Engine, rows: &[f32]) -> Vec<f32> {
        let (weight, bias) = self.numbers.split_at(self.classes * self.dim);
        let n = rows.len() / self.dim;
        let mut scores = vec![0.0; n * self.classes];
        forward(engine.isa, engine.threads, &self.shape(n), rows, weight, &mut scores);
        for scores in scores.chunks_exact_mut(self.classes) {
            scores.iter_mut().zip(bias).for_each(|(score, b)| *score += b);
        }
        scores
    }

    fn shape(&self, n: usize) -> Shape {
        Shape::linear(n, self.dim, self.classes)
    }
}
