//! Steps of softmax regression, divided among threads by features (columns). Each part of the features has its own weights,
//! gradient and optimizer state. Only one thread at a time works on a given part. Parts exchange only scores and the gradient
//! with respect to the scores.
//!
//! ```text
//! scores  = W f + b, summed over the parts             one part at a time
//! dscores = (softmax(scores) - onehot) / batch         some of the rows at a time
//! dW      = dscores^T f;  db = the sum of dscores      one part at a time; then the optimizer's update
//! ```
//!
//! The number of parts depends on the sizes alone, and so does the order of all sums. Results are therefore bit-identical for
//! any number of threads.
use super::Softmax;
use crate::error::Result;
use crate::kernels::isa::{Isa, prefetch};
use crate::kernels::threads::lock::{locked, reading, writing};
use crate::kernels::threads::rounds::rounds;
use crate::kernels::training::convolution::{Shape, Weights, weight_gradient};
use crate::memory;
use crate::nn::Engine;
use crate::optim::{Optimizer, Rule, TensorInfo};
use std::ops::Range;
use std::sync::{Mutex, PoisonError, RwLock};

/// The maximum number of rows whose scores are in memory at once.
pub(super) const BLOCK: usize = 512;
/// The maximum number of parts of the features.
const PARTS: usize = 8;
/// Minimum number of multiplications for one part of the features and one block of rows. This work takes much longer than the
/// synchronization of a round.
const SHARE: usize = 1 << 19;
/// Number of features in a strip: the width that the kernels read without packing.
const STRIP: usize = 64;
/// The distance, in features, at which rows are prefetched before they are copied.
const AHEAD: usize = 1024;
/// Number of floats in a cache line.
const LINE: usize = 16;

/// Some rows of one step, at most [`BLOCK`].
pub(super) struct RowBlock<'a> {
    /// The indices of the rows in the features.
    pub(super) rows: &'a [usize],
    /// The weight of a row: one over the number of rows of the step.
    pub(super) by: f32,
    /// The learning rate of the step, if this is the last block of the step; otherwise `None`.
    pub(super) lr: Option<f64>,
}

/// Features `[n][dim]`, and the class index of each row.
#[derive(Clone, Copy)]
pub(super) struct LabelledRows<'a> {
    pub(super) numbers: &'a [f32],
    pub(super) dim: usize,
    pub(super) places: &'a [usize],
}

/// A probe in training, divided into parts.
pub(super) struct Learner {
    isa: Isa,
    threads: usize,
    classes: usize,
    parts: Vec<Mutex<FeaturePart>>,
    /// For each part of the features, the contribution to the scores of a block, `[rows][classes]`.
    scores: Vec<RwLock<Vec<f32>>>,
    /// The gradient of the loss with respect to the scores of a block. The rows of the gradient are split into as many pieces
    /// as there are parts.
    gradients: Vec<RwLock<Vec<f32>>>,
}

impl Learner {
    /// Creates a learner that starts from a probe. A step has at most `rows` rows.
    ///
    /// # Errors
    /// The settings of `rule` are invalid, or there is not enough memory.
    pub(super) fn new<R: Rule + Copy + 'static>(engine: Engine, probe: &Softmax, rule: R, rows: usize) -> Result<Self> {
        let (classes, dim) = (probe.classes(), probe.dim());
        let count = (rows.min(BLOCK) * classes * dim / SHARE).clamp(1, PARTS);
        let each = dim.div_ceil(count).next_multiple_of(STRIP);
        let parts = (0..dim).step_by(each).map(|first| FeaturePart::new(probe, first..dim.min(first + each), rule));
        let parts = parts.map(|part| part.map(Mutex::new)).collect::<Result<Vec<_>>>()?;
        let for_each = || parts.iter().map(|_| RwLock::default()).collect();
        let (scores, gradients) = (for_each(), for_each());
        Ok(Self { isa: engine.isa, threads: engine.threads, classes, parts, scores, gradients })
    }

    /// Trains on these blocks, one after the other. Even rounds accumulate the gradient of a block and compute the scores of
    /// the next block, part by part. Odd rounds turn scores into the gradient with respect to the scores.
    pub(super) fn learn(&self, known: LabelledRows, blocks: &[RowBlock]) {
        rounds(self.threads, 2 * blocks.len() + 1, self.parts.len(), |round, at| {
            let block = round / 2;
            if round % 2 == 1 {
                return self.compare(at, known, &blocks[block]);
            }
            let part = &mut *locked(&self.parts[at]);
            if block > 0 {
                part.learn(self.isa, &self.gradients, &blocks[block - 1]);
            }
            if let Some(block) = blocks.get(block) {
                part.score(self.isa, known, block, &mut writing(&self.scores[at]));
            }
        });
    }

    /// Computes the gradient with respect to the scores for one piece of a block's rows.
    fn compare(&self, piece: usize, known: LabelledRows, block: &RowBlock) {
        let (n, classes) = (block.rows.len(), self.classes);
        let each = n.div_ceil(self.parts.len());
        let rows = (piece * each).min(n)..((piece + 1) * each).min(n);
        let gradient = &mut *writing(&self.gradients[piece]);
        gradient.clear();
        for scores in &self.scores {
            let scores = &reading(scores)[rows.start * classes..rows.end * classes];
            match gradient.is_empty() {
                true => gradient.extend_from_slice(scores),
                false => add(gradient, scores),
            }
        }
        for (scores, &row) in gradient.chunks_exact_mut(classes).zip(&block.rows[rows]) {
            into_gradient(scores, known.places[row], block.by);
        }
    }

    /// Copies the trained weights to the probe.
    pub(super) fn finish(self, probe: &mut Softmax) {
        for part in self.parts {
            part.into_inner().unwrap_or_else(PoisonError::into_inner).finish(probe);
        }
    }
}

/// A part of the features (columns), with its weights, gradient and optimizer state.
struct FeaturePart {
    columns: Range<usize>,
    classes: usize,
    /// The weights W, strip by strip, `[classes][features]` each. In the first part, they are followed by the biases b.
    numbers: Vec<f32>,
    optimizer: Optimizer,
    /// The features of a block, strip by strip, `[rows][features]` each.
    rows: Vec<f32>,
    /// In the forward pass, the contribution of a strip to the scores of a block. In the backward pass, the gradient with
    /// respect to the scores of the block.
    scores: Vec<f32>,
    /// The gradient with respect to the weights for a block.
    of_block: Vec<f32>,
    /// The gradient with respect to the weights, accumulated over the step.
    gradient: Vec<f32>,
}

impl FeaturePart {
    fn new(probe: &Softmax, columns: Range<usize>, rule: impl Rule + 'static) -> Result<Self> {
        let (classes, (weights, bias)) = (probe.classes(), probe.split());
        let bias = if columns.start == 0 { bias } else { &[] };
        let len = classes * columns.len() + bias.len();
        let mut numbers = memory::room("a probe's weights", len)?;
        for strip in strips(&columns) {
            weights.chunks_exact(probe.dim()).for_each(|row| numbers.extend_from_slice(&row[strip.clone()]));
        }
        numbers.extend_from_slice(bias);
        let optimizer = Optimizer::new(rule, vec![TensorInfo { name: "probe".into(), ndim: 2, len }])?;
        let (of_block, gradient) = (vec![0.0; len], vec![0.0; len]);
        Ok(Self { columns, classes, numbers, optimizer, rows: vec![], scores: vec![], of_block, gradient })
    }

    /// Gathers the features of a block. Writes the contribution of this part of the features to `scores`.
    fn score(&mut self, isa: Isa, known: LabelledRows, block: &RowBlock, scores: &mut Vec<f32>) {
        self.gather(known, block.rows);
        let (n, classes) = (block.rows.len(), self.classes);
        let (weights, bias) = self.numbers.split_at(classes * self.columns.len());
        scores.clear();
        scores.resize(n * classes, 0.0);
        self.scores.resize(n * classes, 0.0);
        let strips = strips(&self.columns).zip(weights.chunks(classes * STRIP)).zip(self.rows.chunks(n * STRIP));
        for ((strip, weights), rows) in strips {
            let shape = Shape::linear(n, strip.len(), classes);
            Weights::new(isa, 1, &shape, weights).forward(1, &shape, rows, &mut self.scores);
            add(scores, &self.scores);
        }
        scores.chunks_exact_mut(classes).for_each(|scores| add(scores, bias));
    }

    /// Copies the features of these rows into `self.rows`.
    fn gather(&mut self, known: LabelledRows, rows: &[usize]) {
        let (n, width) = (rows.len(), self.columns.len());
        let of = |row: usize| &known.numbers[row * known.dim..][self.columns.clone()];
        self.rows.resize(n * width, 0.0);
        for (at, &row) in rows.iter().enumerate() {
            if let Some(&soon) = rows.get(at + AHEAD.div_ceil(width)) {
                of(soon).chunks(LINE).for_each(|line| prefetch(line.as_ptr()));
            }
            for (to, from) in self.rows.chunks_mut(n * STRIP).zip(of(row).chunks(STRIP)) {
                to[at * from.len()..][..from.len()].copy_from_slice(from);
            }
        }
    }

    /// Accumulates the gradient for the block that was scored last. Updates the weights if the block is the last block of its
    /// step.
    fn learn(&mut self, isa: Isa, dscores: &[RwLock<Vec<f32>>], block: &RowBlock) {
        let (n, classes) = (block.rows.len(), self.classes);
        self.scores.clear();
        dscores.iter().for_each(|piece| self.scores.extend_from_slice(&reading(piece)));
        let (dweight, dbias) = self.of_block.split_at_mut(classes * self.columns.len());
        let strips = strips(&self.columns).zip(dweight.chunks_mut(classes * STRIP)).zip(self.rows.chunks(n * STRIP));
        for ((strip, dweight), rows) in strips {
            weight_gradient(isa, 1, &Shape::linear(n, strip.len(), classes), rows, &self.scores, dweight);
        }
        dbias.fill(0.0);
        self.scores.chunks_exact(classes).for_each(|dscores| add(dbias, dscores));
        add(&mut self.gradient, &self.of_block);
        if let Some(lr) = block.lr {
            self.optimizer.update(0, lr, &mut self.numbers, &self.gradient);
            self.gradient.fill(0.0);
        }
    }

    /// Copies the trained weights of these features to the probe.
    fn finish(self, probe: &mut Softmax) {
        let (classes, dim) = (self.classes, probe.dim());
        let (learnt, learnt_bias) = self.numbers.split_at(classes * self.columns.len());
        let (weights, bias) = probe.split_mut();
        for (strip, learnt) in strips(&self.columns).zip(learnt.chunks(classes * STRIP)) {
            for (row, learnt) in weights.chunks_exact_mut(dim).zip(learnt.chunks_exact(strip.len())) {
                row[strip.clone()].copy_from_slice(learnt);
            }
        }
        bias[..learnt_bias.len()].copy_from_slice(learnt_bias);
    }
}

/// Iterates over the ranges of features that are stored together: [`STRIP`] features each, except the last.
fn strips(columns: &Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let end = columns.end;
    columns.clone().step_by(STRIP).map(move |first| first..end.min(first + STRIP))
}

/// Adds element by element, up to the shorter length.
fn add(to: &mut [f32], from: &[f32]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
}

/// Turns the scores of a row into the gradient of the loss with respect to the scores, times `by`. The row's class has the
/// index `place`.
fn into_gradient(scores: &mut [f32], place: usize, by: f32) {
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    scores.iter_mut().for_each(|score| *score = (*score - largest).exp());
    let sum: f32 = scores.iter().sum();
    scores.iter_mut().for_each(|score| *score *= by / sum);
    scores[place] -= by;
}
