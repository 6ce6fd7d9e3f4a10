//! A linear probe: softmax regression by SGD on frozen features.
//!
//! ```text
//! v = mu v + dloss;  (W, b) -= lr v      lr by a cosine to 0
//! ```
//!
//! MoCo's recipe (`main_lincls.py`): lr 30 for a batch of 256, momentum 0.9, no decay, 100 epochs, W from N(0, 0.01); its rate falls
//! to a tenth at 60 and 80. SimCLR's (appendix B.6): Nesterov, lr 0.1, 90 epochs. Features here are not augmented, being computed once.
use super::softmax::Rows;
use super::{Classes, Features, Softmax};
use crate::error::{Error, Result};
use crate::nn::{Engine, normal};
use crate::optim::{Group, Optimizer, Schedule, Sgd, TensorInfo};
use crate::random::Key;
use rand::seq::SliceRandom;

/// The settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinearSettings {
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

/// Learns from features.
///
/// # Errors
/// One class only, settings that cannot be, or with which the weights grow beyond all bounds.
pub fn linear_probe(engine: Engine, settings: LinearSettings, features: &Features) -> Result<Softmax> {
    let LinearSettings { lr, epochs, batch_size, momentum, nesterov, seed } = settings;
    let (Classes { labels, places }, dim, n) = (features.classes()?, features.dim, features.len());
    for (name, value) in [("epochs", epochs), ("batch_size", batch_size)] {
        if value == 0 {
            return Err(Error::value(name, value, "at least 1"));
        }
    }
    let batch = batch_size.min(n);
    let steps = n.div_ceil(batch);
    let schedule = Schedule::new(lr * batch as f64 / 256.0, 0, (epochs * steps) as u64)?;
    let mut probe = Softmax::zeros(labels, dim)?;
    let generator = &mut Key { seed, epoch: 0, index: u64::MAX, view: 0 }.generator();
    probe.split_mut().0.iter_mut().for_each(|w| *w = (0.01 * normal(generator)) as f32);
    let rule = Sgd { momentum, nesterov, weight_decay: 0.0, decayed: Group::All };
    let all = TensorInfo { name: "probe".into(), ndim: 2, len: probe.numbers.len() };
    let mut optimizer = Optimizer::new(rule, vec![all])?;
    let mut order: Vec<usize> = (0..n).collect();
    let (mut parts, mut targets, mut gradient) = (vec![], vec![], vec![]);
    for epoch in 0..epochs {
        order.shuffle(&mut Key { seed, epoch: epoch as u64, index: u64::MAX, view: 1 }.generator());
        for (step, batch) in order.chunks(batch).enumerate() {
            targets.clear();
            targets.extend(batch.iter().map(|&row| places[row]));
            let rows = Rows { of: features.numbers, which: batch };
            probe.gradient(engine, rows, &targets, &mut parts, &mut gradient);
            optimizer.update(0, schedule.at((epoch * steps + step) as u64), &mut probe.numbers, &gradient);
        }
    }
    match probe.numbers.iter().all(|x| x.is_finite()) {
        true => Ok(probe),
        false => Err(Error::value("lr", lr, "the probe has diverged: lower it, or scale the features down")),
    }
}
