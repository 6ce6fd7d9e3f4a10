//! A linear probe: softmax regression by SGD on frozen features.
//!
//! ```text
//! loss = -log softmax(W f + b)[class];  v = mu v + dloss;  W -= lr v      lr by a cosine to 0
//! ```
//!
//! MoCo's recipe (`main_lincls.py`): lr 30 for a batch of 256, momentum 0.9, no decay, 100 epochs, W from N(0, 0.01); its rate falls
//! to a tenth at 60 and 80. SimCLR's (appendix B.6): Nesterov, lr 0.1, 90 epochs. Features here are not augmented, being computed once.
use super::Features;
use crate::error::{Error, Result};
use crate::optim::{Group, Optimizer, Parameter, Schedule, Sgd};
use crate::random::Key;
use rand::Rng;
use rand::seq::SliceRandom;

/// The settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// The largest rate, for a batch of 256.
    pub lr: f64,
    /// Times through the features.
    pub epochs: usize,
    /// Rows of a step.
    pub batch_size: usize,
    /// Of SGD.
    pub momentum: f64,
    /// Nesterov's.
    pub nesterov: bool,
    /// Of the first weights and the order.
    pub seed: u64,
}

/// What was learnt: `W [classes][dim]` and `b`.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    weight: Vec<f32>,
    bias: Vec<f32>,
    dim: usize,
}

impl Probe {
    /// Learns from features.
    ///
    /// # Errors
    /// One class only, settings that cannot be.
    pub fn new(settings: Settings, features: &Features) -> Result<Self> {
        let Settings { lr, epochs, batch_size, momentum, nesterov, seed } = settings;
        let (classes, dim, n) = (features.classes()?, features.dim, features.len());
        for (name, value) in [("epochs", epochs), ("batch_size", batch_size)] {
            if value == 0 {
                return Err(Error::value(name, value, "at least 1"));
            }
        }
        let batch = batch_size.min(n);
        let steps = n.div_ceil(batch);
        let schedule = Schedule::new(lr * batch as f64 / 256.0, 0, (epochs * steps) as u64)?;
        let tensor = |name: &str, ndim, len| Parameter { name: name.into(), ndim, len };
        let tensors = vec![tensor("weight", 2, classes * dim), tensor("bias", 1, classes)];
        let rule = Sgd { momentum, nesterov, weight_decay: 0.0, decayed: Group::All };
        let mut optimizer = Optimizer::new(rule, tensors)?;
        let generator = &mut Key { seed, epoch: 0, index: u64::MAX, view: 0 }.generator();
        let mut weight: Vec<f32> = Vec::with_capacity(classes * dim);
        // Sums of twelve are near a normal distribution, and W soon forgets them.
        weight.resize_with(classes * dim, || 0.01 * ((0..12).map(|_| generator.random::<f32>()).sum::<f32>() - 6.0));
        let mut probe = Self { weight, bias: vec![0.0; classes], dim };
        let mut order: Vec<usize> = (0..n).collect();
        for epoch in 0..epochs {
            order.shuffle(&mut Key { seed, epoch: epoch as u64, index: u64::MAX, view: 1 }.generator());
            for (step, rows) in order.chunks(batch).enumerate() {
                let (dweight, dbias) = probe.gradient(features, rows);
                let lr = schedule.at((epoch * steps + step) as u64);
                optimizer.step(0, lr, &mut probe.weight, &dweight);
                optimizer.step(1, lr, &mut probe.bias, &dbias);
            }
        }
        Ok(probe)
    }

    /// Of the mean loss over these rows.
    fn gradient(&self, features: &Features, rows: &[usize]) -> (Vec<f32>, Vec<f32>) {
        let (mut dweight, mut dbias) = (vec![0.0; self.weight.len()], vec![0.0; self.bias.len()]);
        let by = 1.0 / rows.len() as f32;
        for &row in rows {
            let x = &features.numbers[row * self.dim..][..self.dim];
            let mut scores = self.scores(x);
            let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            scores.iter_mut().for_each(|score| *score = (*score - largest).exp());
            let sum: f32 = scores.iter().sum();
            for (class, (score, dbias)) in scores.iter().zip(&mut dbias).enumerate() {
                let is = if class as i64 == features.targets[row] { 1.0 } else { 0.0 };
                let d = by * (score / sum - is);
                *dbias += d;
                dweight[class * self.dim..][..self.dim].iter_mut().zip(x).for_each(|(dw, x)| *dw += d * x);
            }
        }
        (dweight, dbias)
    }

    fn scores(&self, x: &[f32]) -> Vec<f32> {
        let rows = self.weight.chunks_exact(self.dim).zip(&self.bias);
        rows.map(|(w, b)| b + w.iter().zip(x).map(|(w, x)| w * x).sum::<f32>()).collect()
    }

    /// The classes of features in the order of their scores, the best first; at most `top` of them.
    ///
    /// # Errors
    /// Features of another length.
    pub fn rank(&self, features: &Features, top: usize) -> Result<Vec<Vec<i64>>> {
        if features.dim != self.dim {
            return Err(Error::shape("features", format!("rows of {}, as those learnt from", self.dim), features.dim));
        }
        let ranked = features.rows().map(|x| {
            let scores = self.scores(x);
            let mut ranked: Vec<i64> = (0..scores.len() as i64).collect();
            ranked.sort_by(|&a, &b| scores[b as usize].total_cmp(&scores[a as usize]));
            ranked.truncate(top);
            ranked
        });
        Ok(ranked.collect())
    }
}
