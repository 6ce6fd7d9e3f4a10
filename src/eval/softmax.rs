//! Softmax regression: what both probes learn, and the gradient that they follow.
//!
//! ```text
//! p = softmax(W f + b);  loss = -log p[class], on average over the rows;  dloss/dscores = (p - onehot) / rows
//! ```
use super::Features;
use crate::error::{Error, Result};
use crate::kernels::threads::pool;
use crate::kernels::training::convolution::{Shape, Weights, forward, weight_gradient};
use crate::nn::Engine;

/// Rows whose scores are held at once.
const BLOCK: usize = 8192;

/// Rows of features that a gradient is asked of.
pub(super) enum Rows<'a> {
    /// These.
    All(&'a [f32]),
    /// Those of the numbers `which`, one after the other in `room`.
    Some { of: &'a [f32], which: &'a [usize], room: &'a mut Vec<f32> },
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
    pub(super) fn parts(&mut self) -> (&mut [f32], &mut [f32]) {
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

    /// The mean loss of rows whose labels stand at these places, and its gradient, in the order of `numbers`.
    pub(super) fn gradient(&self, engine: Engine, mut rows: Rows, places: &[usize]) -> (f64, Vec<f32>) {
        let (classes, dim) = (self.classes(), self.dim);
        let by = 1.0 / places.len() as f32;
        let (mut loss, mut gradient) = (0.0, vec![0.0; self.numbers.len()]);
        for (n, places) in places.chunks(BLOCK).enumerate() {
            let (rows, scores, losses) = self.pass(engine, &mut rows, n * BLOCK, places, by);
            loss += losses.iter().sum::<f64>();
            let (dweight, dbias) = gradient.split_at_mut(classes * dim);
            let shape = self.shape(places.len());
            if n == 0 {
                weight_gradient(engine.isa, engine.threads, &shape, rows, &scores, dweight);
            } else {
                let mut part = vec![0.0; dweight.len()];
                weight_gradient(engine.isa, engine.threads, &shape, rows, &scores, &mut part);
                dweight.iter_mut().zip(part).for_each(|(sum, x)| *sum += x);
            }
            for scores in scores.chunks_exact(classes) {
                dbias.iter_mut().zip(scores).for_each(|(sum, x)| *sum += x);
            }
        }
        (loss / places.len() as f64, gradient)
    }

    /// Of a block of rows from `first` on: themselves, the gradient of their scores times `by`, and their losses. Each thread takes
    /// some rows from where they are to there.
    fn pass<'r>(
        &self,
        engine: Engine,
        rows: &'r mut Rows,
        first: usize,
        places: &[usize],
        by: f32,
    ) -> (&'r [f32], Vec<f32>, Vec<f64>) {
        let (classes, dim, n) = (self.classes(), self.dim, places.len());
        let (weight, bias) = self.numbers.split_at(classes * dim);
        let threads = self.shape(n).useful_threads(engine.threads);
        let weights = Weights::new(engine.isa, threads, &self.shape(1), weight);
        let (mut scores, mut losses) = (vec![0.0; n * classes], vec![0.0; n]);
        let each = n.div_ceil(threads);
        let jobs = scores.chunks_mut(each * classes).zip(losses.chunks_mut(each)).zip(places.chunks(each));
        let score = |((scores, losses), places): ((&mut [f32], &mut [f64]), &[usize]), rows: &[f32]| {
            weights.forward(1, &self.shape(places.len()), rows, scores);
            for ((scores, &place), loss) in scores.chunks_exact_mut(classes).zip(places).zip(losses) {
                scores.iter_mut().zip(bias).for_each(|(score, b)| *score += b);
                *loss = into_gradient(scores, place, by);
            }
        };
        let rows = match rows {
            Rows::All(rows) => {
                let rows = &rows[first * dim..][..n * dim];
                pool::each(threads, jobs.zip(rows.chunks(each * dim)), |(job, rows)| score(job, rows));
                rows
            }
            Rows::Some { of, which, room } => {
                room.resize(n * dim, 0.0);
                let gathered = room.chunks_mut(each * dim).zip(which[first..][..n].chunks(each));
                pool::each(threads, jobs.zip(gathered), |(job, (rows, which))| {
                    for (row, &at) in rows.chunks_exact_mut(dim).zip(which) {
                        row.copy_from_slice(&of[at * dim..][..dim]);
                    }
                    score(job, rows);
                });
                &room[..]
            }
        };
        (rows, scores, losses)
    }

    fn scores(&self, engine: Engine, rows: &[f32]) -> Vec<f32> {
        let (weight, bias) = self.numbers.split_at(self.classes() * self.dim);
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
