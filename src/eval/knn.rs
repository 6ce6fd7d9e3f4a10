//! Weighted nearest neighbours (Wu et al. 2018, section 3.4), as MoCo's CIFAR notebook and lightly have them.
//!
//! ```text
//! s_i = cos(f, f_i);  score of a class = sum of exp(s_i / T) over those of the k nearest that are of it
//! ```
use super::{Classes, Features};
use crate::error::{Error, Result};
use crate::kernels::threads::pool;
use crate::kernels::training::convolution::{Shape, Weights};
use crate::nn::Engine;

/// The settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Knn {
    /// Neighbours; 200.
    pub k: usize,
    /// T; 0.1.
    pub temperature: f64,
}

/// Stands in the place of a class where fewer have votes.
const NONE: i64 = -1;

/// Queries whose neighbours are looked for on one way through the bank, at most.
const QUERIES: usize = 16384;
/// Bytes of neighbours of so many queries, at most.
const FOUND: usize = 1 << 27;
/// Rows of the bank that are made ready at a time: they stay in the cache while all of these queries are compared with them.
const TILE: usize = 512;
/// Queries that a thread compares with them at a time.
const BLOCK: usize = 192;
/// Numbers that a thread normalizes at a time, at least.
const PART: usize = 1 << 15;
/// Cosines that are passed over together where none of them is near enough.
const PASSED: usize = 16;

/// `top` classes for each of `queries`, in the order of their scores, the best first, by their neighbours in `bank`: those that a
/// neighbour is of, and -1 beyond them. Equal ones come in the order of their labels.
///
/// Beside bank, queries and answers it takes the memory of a tile of the bank and of the neighbours of some thousand queries.
///
/// # Errors
/// More neighbours than the bank has, a temperature that is not above 0, one class only, queries of another length.
pub fn knn(engine: Engine, settings: Knn, bank: &Features, queries: &Features, top: usize) -> Result<Vec<Vec<i64>>> {
    let Knn { k, temperature } = settings;
    let classes = bank.classes()?;
    bank.check(queries)?;
    if k == 0 || k > bank.len() {
        return Err(Error::value("k", k, format!("from 1 to the {} features of the bank", bank.len())));
    }
    if !(temperature > 0.0 && temperature.is_finite()) {
        return Err(Error::value("temperature", temperature, "a number above 0; 0.1 is usual"));
    }
    let top = top.min(classes.labels.len());
    let most = (FOUND / (Nearest::room(k) * size_of::<Neighbour>())).clamp(BLOCK, QUERIES);
    let mut ranked = vec![vec![]; queries.len()];
    let (mut asked, mut known) = (vec![], vec![]);
    for (rows, ranked) in queries.numbers.chunks(most * bank.dim).zip(ranked.chunks_mut(most)) {
        normalize(engine.threads, rows, bank.dim, &mut asked);
        let mut nearest = vec![Nearest::default(); ranked.len()];
        for (tile, rows) in bank.numbers.chunks(TILE * bank.dim).enumerate() {
            normalize(engine.threads, rows, bank.dim, &mut known);
            compare(engine, &asked, (&known, tile * TILE), k, &mut nearest);
        }
        pool::each(engine.threads, nearest.into_iter().zip(ranked), |(nearest, ranked)| {
            *ranked = rank(nearest.of(k), &classes, temperature, top);
        });
    }
    Ok(ranked)
}

/// A feature of the bank as one query sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Neighbour {
    cosine: f32,
    at: u32,
}

/// The nearest features of those that a query was compared with, and some that are no longer among them.
#[derive(Clone, Debug)]
struct Nearest {
    found: Vec<Neighbour>,
    /// The cosine of the k-th: what comes later has to exceed it.
    least: f32,
}

impl Default for Nearest {
    fn default() -> Self {
        Self { found: vec![], least: f32::NEG_INFINITY }
    }
}

impl Nearest {
    /// How many are held at most: a search for the k-th of them pays for k new ones.
    fn room(k: usize) -> usize {
        2 * k.max(PASSED)
    }

    fn add(&mut self, cosines: &[f32], first: usize, k: usize) {
        for (part, cosines) in cosines.chunks(PASSED).enumerate() {
            // Without a branch for each, which vector instructions do not have.
            if !cosines.iter().fold(false, |any, &cosine| any | (cosine > self.least)) {
                continue;
            }
            for (at, &cosine) in cosines.iter().enumerate() {
                if cosine > self.least {
                    self.found.reserve_exact(Self::room(k) - self.found.len());
                    // 0.0 for -0.0, which are one cosine.
                    self.found.push(Neighbour { cosine: cosine + 0.0, at: (first + part * PASSED + at) as u32 });
                    if self.found.len() == Self::room(k) {
                        self.forget(k);
                    }
                }
            }
        }
    }

    /// All but the k nearest; of equal ones the first.
    fn forget(&mut self, k: usize) {
        if k < self.found.len() {
            let before = |a: &Neighbour, b: &Neighbour| b.cosine.total_cmp(&a.cosine).then(a.at.cmp(&b.at));
            let (_, last, _) = self.found.select_nth_unstable_by(k - 1, before);
            self.least = last.cosine;
            self.found.truncate(k);
        }
    }

    fn of(mut self, k: usize) -> Vec<Neighbour> {
        self.forget(k);
        self.found
    }
}

/// Compares queries with rows of the bank, which are its rows from `first` on.
fn compare(engine: Engine, asked: &[f32], (known, first): (&[f32], usize), k: usize, nearest: &mut [Nearest]) {
    let dim = asked.len() / nearest.len();
    let rows = known.len() / dim;
    let shape = |queries| Shape::linear(queries, dim, rows);
    let threads = shape(nearest.len()).useful_threads(engine.threads);
    let weights = Weights::new(engine.isa, threads, &shape(1), known);
    let block = BLOCK.min(nearest.len().div_ceil(threads));
    let blocks = asked.chunks(block * dim).zip(nearest.chunks_mut(block));
    pool::each_with(threads, blocks, Vec::new, |cosines, (asked, nearest)| {
        cosines.resize(nearest.len() * rows, 0.0);
        weights.forward(1, &shape(nearest.len()), asked, cosines);
        nearest
            .iter_mut()
            .zip(cosines.chunks_exact(rows))
            .for_each(|(nearest, cosines)| nearest.add(cosines, first, k));
    });
}

fn rank(mut nearest: Vec<Neighbour>, classes: &Classes, temperature: f64, top: usize) -> Vec<i64> {
    let place = |of: &Neighbour| classes.places[of.at as usize];
    // In one order, so that sums are the same.
    nearest.sort_unstable_by_key(|of| (place(of), of.at));
    let votes = nearest.chunk_by(|a, b| place(a) == place(b));
    let scored = votes.map(|of| (score(of, temperature), classes.labels[place(&of[0])]));
    let mut scored: Vec<(f64, i64)> = scored.collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored.resize(top.max(scored.len()), (0.0, NONE));
    scored[..top].iter().map(|&(_, label)| label).collect()
}

/// T log(sum of exp(s_i / T)), which ranks as the sum does, and is finite for any T.
fn score(votes: &[Neighbour], temperature: f64) -> f64 {
    let cosines = || votes.iter().map(|of| f64::from(of.cosine));
    let largest = cosines().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = cosines().map(|cosine| ((cosine - largest) / temperature).exp()).sum();
    largest + temperature * sum.ln()
}

/// Rows of length 1, into `out`.
fn normalize(threads: usize, rows: &[f32], dim: usize, out: &mut Vec<f32>) {
    out.resize(rows.len(), 0.0);
    let each = PART.div_ceil(dim) * dim;
    pool::each(threads, rows.chunks(each).zip(out.chunks_mut(each)), |(rows, out)| {
        for (row, out) in rows.chunks_exact(dim).zip(out.chunks_exact_mut(dim)) {
            let length = row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt().max(1e-12);
            out.iter_mut().zip(row).for_each(|(out, &x)| *out = (f64::from(x) / length) as f32);
        }
    });
}
