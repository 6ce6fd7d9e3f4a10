//! Weighted k-nearest-neighbour classification (Wu et al. 2018, section 3.4), as in MoCo's CIFAR notebook and the package
//! `lightly`.
//!
//! ```text
//! s_i = cos(f, f_i);  score of a class = sum of exp(s_i / T) over its members among the k nearest
//! ```
use super::{Classes, Features};
use crate::error::{Error, Result};
use crate::kernels::threads::pool;
use crate::kernels::training::convolution::{Shape, Weights};
use crate::nn::Engine;

/// The settings of the classifier.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Knn {
    /// Number of neighbours; usually 200.
    pub k: usize,
    /// The temperature T; usually 0.1.
    pub temperature: f64,
}

/// The label that fills a ranking if fewer than `top` classes have votes.
const NONE: i64 = -1;

/// The maximum number of queries that are compared in one pass over the bank.
const QUERIES: usize = 16384;
/// The maximum size, in bytes, of the candidate neighbours of all queries in a pass. It is exceeded only if the candidates of
/// [`BLOCK`] queries are larger.
const FOUND: usize = 1 << 27;
/// Number of rows in a tile. The bank is normalized one tile at a time. A tile stays in the cache while all queries of the pass
/// are compared with it.
const TILE: usize = 512;
/// Number of queries that a thread compares with a tile at a time.
const BLOCK: usize = 192;
/// The approximate number of values that a thread normalizes at a time.
const PART: usize = 1 << 15;
/// Number of cosine similarities that are skipped together if none of them is large enough.
const PASSED: usize = 16;

/// Ranks classes for each query by the query's nearest neighbours in `bank`. Returns `top` labels per query, best first; `top`
/// is limited to the number of classes in the bank. If the neighbours of a query have fewer than `top` classes, its list is
/// padded with -1. Equal scores are ordered by label.
///
/// In addition to bank, queries and results, this needs memory for a tile of the bank, and for the normalized features and the
/// neighbours of up to 16384 queries.
///
/// # Errors
/// `k` is 0 or exceeds the size of the bank, the temperature is not positive and finite, the bank has only one class, or the
/// dimension of the queries differs from that of the bank.
pub fn knn(engine: Engine, settings: Knn, bank: &Features, queries: &Features, top: usize) -> Result<Vec<Vec<i64>>> {
    let Knn { k, temperature } = settings;
    let classes = bank.classes()?;
    bank.check(queries)?;
    if k == 0 || k > bank.len() {
        return Err(Error::value("k", k, format!("must be an integer in [1, {}], the size of the bank", bank.len())));
    }
    if !(temperature > 0.0 && temperature.is_finite()) {
        return Err(Error::value("temperature", temperature, "must be a finite number > 0; 0.1 is usual"));
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

/// A row of the bank and its cosine similarity to a query, packed into an integer. The upper half encodes the cosine, such that
/// a larger cosine has a smaller code; the lower half is the index of the row. A smaller integer is therefore a nearer row.
/// Equally near rows are ordered by index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Neighbour(u64);

impl Neighbour {
    fn new(cosine: f32, row: usize) -> Self {
        // -0.0 and 0.0 are the same cosine.
        let bits = (cosine + 0.0).to_bits();
        // Floats are ordered like integers once negative ones are reversed.
        let falling = if bits >> 31 == 0 { !bits ^ (1 << 31) } else { bits };
        Self(u64::from(falling) << 32 | row as u64)
    }

    fn cosine(self) -> f32 {
        let falling = (self.0 >> 32) as u32;
        f32::from_bits(if falling >> 31 == 0 { !(falling ^ (1 << 31)) } else { falling })
    }

    fn row(self) -> usize {
        (self.0 & u64::from(u32::MAX)) as usize
    }
}

/// Candidates for the k nearest rows of a query. Some of them may no longer belong to the k nearest rows found so far.
#[derive(Clone, Debug)]
struct Nearest {
    found: Vec<Neighbour>,
    /// The cosine of the k-th nearest row when `forget` last dropped rows. Later rows are only added if their cosine is larger.
    least: f32,
}

impl Default for Nearest {
    fn default() -> Self {
        Self { found: vec![], least: f32::NEG_INFINITY }
    }
}

impl Nearest {
    /// The capacity of `found`. It leaves room for at least k new candidates between two calls of `forget`.
    fn room(k: usize) -> usize {
        2 * k.max(PASSED)
    }

    fn add(&mut self, cosines: &[f32], first: usize, k: usize) {
        for (part, cosines) in cosines.chunks(PASSED).enumerate() {
            // Without a branch for each cosine, so that the loop vectorizes.
            if !cosines.iter().fold(false, |any, &cosine| any | (cosine > self.least)) {
                continue;
            }
            for (at, &cosine) in cosines.iter().enumerate() {
                if cosine > self.least {
                    self.found.reserve_exact(Self::room(k) - self.found.len());
                    self.found.push(Neighbour::new(cosine, first + part * PASSED + at));
                    if self.found.len() == Self::room(k) {
                        self.forget(k);
                    }
                }
            }
        }
    }

    /// Drops all but the k nearest rows. Among equally near rows, the first are kept.
    fn forget(&mut self, k: usize) {
        if k < self.found.len() {
            let (_, last, _) = self.found.select_nth_unstable(k - 1);
            self.least = last.cosine();
            self.found.truncate(k);
        }
    }

    fn of(mut self, k: usize) -> Vec<Neighbour> {
        self.forget(k);
        self.found
    }
}

/// Compares queries with a tile of the bank. `asked` is the queries, `known` the tile, and `first` the index of the tile's
/// first row in the bank.
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
    let place = |of: &Neighbour| classes.places[of.row()];
    // In a fixed order, so that sums are reproducible.
    nearest.sort_unstable_by_key(|of| (place(of), of.row()));
    let votes = nearest.chunk_by(|a, b| place(a) == place(b));
    let scored = votes.map(|of| (score(of, temperature), classes.labels[place(&of[0])]));
    let mut scored: Vec<(f64, i64)> = scored.collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored.resize(top.max(scored.len()), (0.0, NONE));
    scored[..top].iter().map(|&(_, label)| label).collect()
}

/// Returns `T log(sum of exp(s_i / T))`. It ranks classes like the sum, and is finite for any T.
fn score(votes: &[Neighbour], temperature: f64) -> f64 {
    let cosines = || votes.iter().map(|of| f64::from(of.cosine()));
    let largest = cosines().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = cosines().map(|cosine| ((cosine - largest) / temperature).exp()).sum();
    largest + temperature * sum.ln()
}

/// Writes the rows, normalized to unit length, to `out`.
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
