//! Softmax regression: what the linear probe learns, and the gradient that it follows.
//!
//! ```text
//! p = softmax(W f + b);  loss = -log p[class], on average over the rows;  dloss/dscores = (p - onehot) / rows
//! ```
use super::Features;
use crate::error::{Error, Result};
use crate::kernels::threads::pool;
use crate::kernels::training::convolution::{Shape, Weights, forward, weight_gradient};
use crate::nn::Engine;
use std::ops::Range;

/// Rows whose scores are held at once.
const BLOCK: usize = 8192;

/// Parts of a block whose gradients are summed, at most: work for as many threads. How many there are does not depend on the
/// threads, and so neither does a sum.
const PARTS: usize = 8;
/// Rows of a part, at least; a block of fewer has two parts.
const PART: usize = 128;
/// Products of weights and features that take longer than handing them to another thread: one that still looks for work, since
/// steps follow each other at once.
const SHARE: usize = 1 << 17;
/// Numbers whose sums over all parts are one thread's at a time.
const NUMBERS: usize = 8192;

/// Rows of features that a gradient is asked of: those of the numbers `which`.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) of: &'a [f32],
    pub(super) which: &'a [usize],
}

impl Rows<'_> {
    /// Some of them, one after the other, in `room`.
    fn get(self, rows: Range<usize>, dim: usize, room: &mut Vec<f32>) -> &[f32] {
        room.clear();
        self.which[rows].iter().for_each(|&row| room.extend_from_slice(&self.of[row * dim..][..dim]));
        room
    }
}

/// Memory of one part of a block of rows.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// Rows that were taken together.
    rows: Vec<f32>,
    sums: Sums,
}

/// The loss and the gradient that one part adds to its block's.
#[derive(Debug, Default)]
struct Sums {
    loss: f64,
    /// Of W and b.
    gradient: Vec<f32>,
    scores: Vec<f32>,
}

impl Sums {
    /// Those of these rows, the gradient times `by`.
    fn learn(&mut self, probe: &Softmax, engine: Engine, weights: &Weights, rows: &[f32], places: &[usize], by: f32) {
        let (shape, classes) = (probe.shape(places.len()), probe.classes());
        let Self { loss, gradient, scores } = self;
        scores.resize(places.len() * classes, 0.0);
        gradient.resize(probe.numbers.len(), 0.0);
        weights.forward(engine.threads, &shape, rows, scores);
        *loss = 0.0;
        let (dweight, dbias) = gradient.split_at_mut(classes * probe.dim);
        dbias.fill(0.0);
        for (scores, &place) in scores.chunks_exact_mut(classes).zip(places) {
            scores.iter_mut().zip(probe.split().1).for_each(|(score, b)| *score += b);
            *loss += into_gradient(scores, place, by);
            dbias.iter_mut().zip(&*scores).for_each(|(sum, x)| *sum += x);
        }
        weight_gradient(engine.isa, engine.threads, &shape, rows, scores, dweight);
    }
}

/// What was learnt: `W [classes][dim]` and `b`, one after the other, and the classes' labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Softmax {
    pub(super) numbers: Vec<f32>,
    labels: Vec<i64>,
    dim: usize,
}

impl Softmax {
    /// That gives each class the same score.
    ///
    /// # Errors
    /// More classes than memory holds weights for.
    pub(super) fn zeros(labels: Vec<i64>, dim: usize) -> Result<Self> {
        let (count, mut numbers) = (labels.len() * (dim + 1), vec![]);
        if numbers.try_reserve_exact(count).is_err() {
            let remedy = format!("no memory for {count} weights; are these classes?");
            return Err(Error::value("targets", format!("{} different numbers", labels.len()), remedy));
        }
        numbers.resize(count, 0.0);
        Ok(Self { numbers, labels, dim })
    }

    fn classes(&self) -> usize {
        self.labels.len()
    }

    /// W and b.
    fn split(&self) -> (&[f32], &[f32]) {
        self.numbers.split_at(self.classes() * self.dim)
    }

    /// W and b.
    pub(super) fn split_mut(&mut self) -> (&mut [f32], &mut [f32]) {
        self.numbers.split_at_mut(self.labels.len() * self.dim)
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
            ranked.extend(scores.chunks_exact(self.classes()).map(|scores| {
                let mut order: Vec<usize> = (0..self.classes()).collect();
                order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
                order.iter().take(top).map(|&place| self.labels[place]).collect()
            }));
        }
        Ok(ranked)
    }

    /// The mean loss of rows whose labels stand at these places; its gradient, in the order of `numbers`, goes into `gradient`, which
    /// is made as long. It and `parts` are memory that one call leaves for the next.
    pub(super) fn gradient(
        &self,
        engine: Engine,
        rows: Rows,
        places: &[usize],
        parts: &mut Vec<Part>,
        gradient: &mut Vec<f32>,
    ) -> f64 {
        let mut loss = 0.0;
        gradient.clear();
        gradient.resize(self.numbers.len(), 0.0);
        for (block, of_block) in places.chunks(BLOCK).enumerate() {
            let n = of_block.len();
            let count = (n / PART).max(2).min(n / self.classes()).clamp(1, PARTS);
            parts.resize_with(count.max(parts.len()), Part::default);
            let threads = engine.threads.min((n * self.numbers.len() / SHARE).max(1));
            let inside = Engine { threads: threads.div_ceil(count), ..engine };
            let weights = Weights::new(engine.isa, threads, &self.shape(1), self.split().0);
            let each = n.div_ceil(count);
            let jobs = of_block.chunks(each).enumerate().zip(&mut *parts);
            pool::each(threads, jobs, |((at, of_part), part)| {
                let first = block * BLOCK + at * each;
                let rows = rows.get(first..first + of_part.len(), self.dim, &mut part.rows);
                part.sums.learn(self, inside, &weights, rows, of_part, 1.0 / places.len() as f32);
            });
            let parts = &parts[..n.div_ceil(each)];
            loss = parts.iter().fold(loss, |sum, part| sum + part.sums.loss);
            pool::each(threads, gradient.chunks_mut(NUMBERS).enumerate(), |(chunk, gradient)| {
                for Part { sums, .. } in parts {
                    gradient.iter_mut().zip(&sums.gradient[chunk * NUMBERS..]).for_each(|(sum, x)| *sum += x);
                }
            });
        }
        loss / places.len() as f64
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

/// The loss of a row of this class, whose scores become the loss's gradient times `by`.
fn into_gradient(scores: &mut [f32], place: usize, by: f32) -> f64 {
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let right = scores[place] - largest;
    scores.iter_mut().for_each(|score| *score = (*score - largest).exp());
    let sum: f32 = scores.iter().sum();
    scores.iter_mut().for_each(|score| *score *= by / sum);
    scores[place] -= by;
    f64::from(sum.ln() - right)
}
