//! A linear probe: softmax regression on frozen features, trained by SGD.
//!
//! ```text
//! v = mu v + dloss;  (W, b) -= lr v      lr decays along a cosine to 0
//! ```
//!
//! MoCo's recipe (`main_lincls.py`):
//! - a learning rate of 30 for a batch of 256, which drops by a factor of 10 after epochs 60 and 80,
//! - momentum 0.9, no weight decay, and 100 epochs,
//! - initial W from a normal distribution with standard deviation 0.01.
//!
//! SimCLR's recipe (appendix B.6) is Nesterov momentum, a learning rate of 0.1, and 90 epochs. Here, features are computed
//! once, without augmentation.
use super::steps::{BLOCK, LabelledRows, Learner, RowBlock};
use super::{Classes, Features, Softmax};
use crate::error::{Error, Result};
use crate::nn::{Engine, normal};
use crate::optim::{Group, Schedule, Sgd};
use crate::random::Key;
use rand::seq::SliceRandom;

/// Several epochs are trained together if they have at most this number of rows in total, so that threads are started only once
/// for all of these epochs.
const ORDERED: usize = 1 << 18;

/// The settings of the probe.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinearSettings {
    /// The initial learning rate for a batch of 256. For other batch sizes, it is scaled in proportion.
    pub lr: f64,
    /// Number of passes over the features.
    pub epochs: usize,
    /// Number of rows in a step. If there are fewer rows, a step uses all of them.
    pub batch_size: usize,
    /// The momentum of SGD.
    pub momentum: f64,
    /// Whether to use Nesterov momentum.
    pub nesterov: bool,
    /// The seed of the initial weights and of the order of the rows.
    pub seed: u64,
}

/// Trains a linear probe on features.
///
/// # Errors
/// There is only one class, a setting is invalid, there is not enough memory, or the probe diverges.
pub fn linear_probe(engine: Engine, settings: LinearSettings, features: &Features) -> Result<Softmax> {
    let LinearSettings { lr, epochs, batch_size, momentum, nesterov, seed } = settings;
    let (Classes { labels, places }, dim, n) = (features.classes()?, features.dim, features.len());
    for (name, value) in [("epochs", epochs), ("batch_size", batch_size)] {
        if value == 0 {
            return Err(Error::value(name, value, "must be an integer >= 1"));
        }
    }
    let batch = batch_size.min(n);
    let steps = n.div_ceil(batch);
    let schedule = Schedule::new(lr * batch as f64 / 256.0, 0, (epochs * steps) as u64)?;
    let mut probe = Softmax::zeros(labels, dim)?;
    let generator = &mut Key { seed, epoch: 0, index: u64::MAX, view: 0 }.generator();
    probe.split_mut().0.iter_mut().for_each(|w| *w = (0.01 * normal(generator)) as f32);
    let rule = Sgd { momentum, nesterov, weight_decay: 0.0, decayed: Group::All };
    let learner = Learner::new(engine, &probe, rule, batch)?;
    let known = LabelledRows { numbers: features.numbers, dim, places: &places };
    let mut order: Vec<usize> = (0..n).collect();
    let together = (ORDERED / n).max(1);
    for first in (0..epochs).step_by(together) {
        let mut orders = vec![];
        for epoch in first..epochs.min(first + together) {
            order.shuffle(&mut Key { seed, epoch: epoch as u64, index: u64::MAX, view: 1 }.generator());
            orders.push(order.clone());
        }
        let mut blocks = vec![];
        for (step, rows) in orders.iter().flat_map(|order| order.chunks(batch)).enumerate() {
            let by = 1.0 / rows.len() as f32;
            blocks.extend(rows.chunks(BLOCK).map(|rows| RowBlock { rows, by, lr: None }));
            if let Some(last) = blocks.last_mut() {
                last.lr = Some(schedule.at((first * steps + step) as u64));
            }
        }
        learner.learn(known, &blocks);
    }
    learner.finish(&mut probe);
    match probe.numbers.iter().all(|x| x.is_finite()) {
        true => Ok(probe),
        false => {
            Err(Error::invalid(format!("the probe has diverged with lr={lr}; lower it, or scale the features down")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Features, LinearSettings, linear_probe, normal};
    use crate::kernels::isa::Isa;
    use crate::nn::Engine;
    use crate::random::{Key, uniform};
    use rand::seq::SliceRandom;

    const SETTINGS: LinearSettings =
        LinearSettings { lr: 0.1, epochs: 2, batch_size: 256, momentum: 0.9, nesterov: true, seed: 3 };

    /// `n` features and their classes.
    fn drawn(n: usize, dim: usize, classes: usize) -> (Vec<f32>, Vec<i64>) {
        let generator = &mut Key { seed: 5, epoch: 0, index: 0, view: 0 }.generator();
        let numbers = (0..n * dim).map(|_| uniform(generator, (0.0, 1.0))).collect();
        (numbers, (0..n).map(|row| (row % classes) as i64).collect())
    }

    /// A reference implementation of the training, row by row in float64.
    fn reference(settings: LinearSettings, numbers: &[f32], dim: usize, targets: &[i64], classes: usize) -> Vec<f64> {
        let LinearSettings { lr, epochs, batch_size, momentum, nesterov, seed } = settings;
        let (n, bias) = (targets.len(), classes * dim);
        let generator = &mut Key { seed, epoch: 0, index: u64::MAX, view: 0 }.generator();
        let mut w: Vec<f64> = (0..bias).map(|_| 0.01 * normal(generator)).collect();
        w.resize(bias + classes, 0.0);
        let (mut v, mut order, mut step) = (vec![0.0; w.len()], (0..n).collect::<Vec<_>>(), 0);
        let batch = batch_size.min(n);
        let steps = epochs * n.div_ceil(batch);
        for epoch in 0..epochs {
            order.shuffle(&mut Key { seed, epoch: epoch as u64, index: u64::MAX, view: 1 }.generator());
            for rows in order.chunks(batch) {
                let mut gradient = vec![0.0; w.len()];
                for &row in rows {
                    let f: Vec<f64> = numbers[row * dim..][..dim].iter().map(|&x| f64::from(x)).collect();
                    let score = |c: usize| f.iter().zip(&w[c * dim..]).map(|(f, w)| f * w).sum::<f64>() + w[bias + c];
                    let powers: Vec<f64> = (0..classes).map(|c| score(c).exp()).collect();
                    let sum: f64 = powers.iter().sum();
                    for (c, power) in powers.iter().enumerate() {
                        let by = (power / sum - f64::from(targets[row] == c as i64)) / rows.len() as f64;
                        gradient[c * dim..][..dim].iter_mut().zip(&f).for_each(|(sum, f)| *sum += by * f);
                        gradient[bias + c] += by;
                    }
                }
                let angle = std::f64::consts::PI * step as f64 / steps as f64;
                let rate = lr * batch as f64 / 256.0 * 0.5 * (1.0 + angle.cos());
                for ((w, v), u) in w.iter_mut().zip(&mut v).zip(gradient) {
                    *v = momentum * *v + u;
                    *w -= rate * if nesterov { u + momentum * *v } else { *v };
                }
                step += 1;
            }
        }
        w
    }

    /// Covers several parts with a narrower last one, batches of several blocks, a smaller last batch, and a single part of few
    /// features.
    #[test]
    fn it_is_sgd_by_its_definition_on_any_number_of_threads() {
        for (n, dim, classes, batch_size) in
            [(600, 500, 10, 256), (1300, 300, 7, 1200), (300, 130, 40, 299), (40, 3, 2, 7)]
        {
            let (numbers, targets) = drawn(n, dim, classes);
            let features = Features::new("features", &numbers, dim, &targets).unwrap();
            for nesterov in [true, false] {
                let settings = LinearSettings { batch_size, nesterov, ..SETTINGS };
                let learnt = |isa, threads| linear_probe(Engine { isa, threads }, settings, &features).unwrap();
                let expected = reference(settings, &numbers, dim, &targets, classes);
                for isa in Isa::supported() {
                    let one = learnt(isa, 1);
                    let worst = one.numbers.iter().zip(&expected).map(|(x, y)| (f64::from(*x) - y).abs());
                    let worst = worst.fold(0.0, f64::max);
                    assert!(worst < 1e-5, "{n} x {dim}, {}: {worst:e}", isa.name());
                    for threads in [2, 3, 4] {
                        assert_eq!(learnt(isa, threads), one, "{n} x {dim}, {} on {threads} threads", isa.name());
                    }
                }
            }
        }
    }
}
