//! Weighted nearest neighbours (Wu et al. 2018, section 3.4), as MoCo's CIFAR notebook and lightly have them.
//!
//! ```text
//! s_i = cos(f, f_i);  score of a class = sum of exp(s_i / T) over those of the k nearest that are of it
//! ```
use super::{Classes, Features};
use crate::error::{Error, Result};
use crate::kernels::threads::pool;
use crate::kernels::training::convolution::{Shape, forward};
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

/// Queries at a time.
const BLOCK: usize = 256;

/// `top` classes for each of `queries`, in the order of their scores, the best first, by their neighbours in `bank`: those that a
/// neighbour is of, and -1 beyond them. Equal ones come in the order of their labels.
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
    let known = normalized(bank);
    let asked = normalized(queries);
    let mut ranked = vec![vec![]; queries.len()];
    for (asked, ranked) in asked.chunks(BLOCK * bank.dim).zip(ranked.chunks_mut(BLOCK)) {
        let mut cosines = vec![0.0; ranked.len() * bank.len()];
        let shape = Shape::linear(ranked.len(), bank.dim, bank.len());
        forward(engine.isa, engine.threads, &shape, asked, &known, &mut cosines);
        pool::each(engine.threads, cosines.chunks_exact(bank.len()).zip(ranked), |(row, ranked)| {
            *ranked = rank(row, &classes, settings, top);
        });
    }
    Ok(ranked)
}

fn rank(cosines: &[f32], classes: &Classes, Knn { k, temperature }: Knn, top: usize) -> Vec<i64> {
    let mut nearest: Vec<u32> = (0..cosines.len() as u32).collect();
    let before = |a: &u32, b: &u32| cosines[*b as usize].total_cmp(&cosines[*a as usize]).then(a.cmp(b));
    if k < nearest.len() {
        nearest.select_nth_unstable_by(k - 1, before);
        nearest.truncate(k);
    }
    let place = |at: u32| classes.places[at as usize];
    // In one order, so that sums are the same.
    nearest.sort_unstable_by_key(|&at| (place(at), at));
    let votes = nearest.chunk_by(|&a, &b| place(a) == place(b));
    let scored = votes.map(|of| (score(of, cosines, temperature), classes.labels[place(of[0])]));
    let mut scored: Vec<(f64, i64)> = scored.collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored.resize(top.max(scored.len()), (0.0, NONE));
    scored[..top].iter().map(|&(_, label)| label).collect()
}

/// T log(sum of exp(s_i / T)), which ranks as the sum does, and is finite for any T.
fn score(votes: &[u32], cosines: &[f32], temperature: f64) -> f64 {
    let cosines = || votes.iter().map(|&at| f64::from(cosines[at as usize]));
    let largest = cosines().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = cosines().map(|cosine| ((cosine - largest) / temperature).exp()).sum();
    largest + temperature * sum.ln()
}

fn normalized(features: &Features) -> Vec<f32> {
    let mut numbers = Vec::with_capacity(features.numbers.len());
    for row in features.rows() {
        let length = row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt().max(1e-12);
        numbers.extend(row.iter().map(|&x| (f64::from(x) / length) as f32));
    }
    numbers
}
