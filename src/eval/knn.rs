//! Weighted nearest neighbours (Wu et al. 2018, section 3.4), as MoCo's CIFAR notebook and lightly have them.
//!
//! ```text
//! s_i = cos(f, f_i);  score of a class = sum of exp(s_i / T) over those of the k nearest that are of it
//! ```
use super::Features;
use crate::error::{Error, Result};
use crate::kernels::conv2d::{Shape, forward};
use crate::kernels::pool;
use crate::nn::Engine;

/// The settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Knn {
    /// Neighbours; 200.
    pub k: usize,
    /// T; 0.1.
    pub temperature: f32,
}

/// Queries at a time.
const BLOCK: usize = 256;

/// The classes of `queries` in the order of their scores, the best first, by their neighbours in `bank`; at most `top` of them. Equal
/// ones come in the order of their numbers.
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
    let known = normalized(bank);
    let asked = normalized(queries);
    let mut ranked = vec![vec![]; queries.len()];
    for (asked, ranked) in asked.chunks(BLOCK * bank.dim).zip(ranked.chunks_mut(BLOCK)) {
        let mut cosines = vec![0.0; ranked.len() * bank.len()];
        let shape = Shape::linear(ranked.len(), bank.dim, bank.len());
        forward(engine.isa, engine.threads, &shape, asked, &known, &mut cosines);
        pool::each(engine.threads, cosines.chunks_exact(bank.len()).zip(ranked), |(row, ranked)| {
            *ranked = rank(row, bank.targets, (k, temperature, classes), top);
        });
    }
    Ok(ranked)
}

fn rank(cosines: &[f32], targets: &[i64], (k, temperature, classes): (usize, f32, usize), top: usize) -> Vec<i64> {
    let mut nearest: Vec<u32> = (0..cosines.len() as u32).collect();
    let before = |a: &u32, b: &u32| cosines[*b as usize].total_cmp(&cosines[*a as usize]).then(a.cmp(b));
    if k < nearest.len() {
        nearest.select_nth_unstable_by(k - 1, before);
        nearest.truncate(k);
    }
    // In one order, so that sums are the same.
    nearest.sort_unstable();
    let mut scores = vec![0.0_f64; classes];
    for at in nearest {
        scores[targets[at as usize] as usize] += f64::from(cosines[at as usize] / temperature).exp();
    }
    let mut ranked: Vec<i64> = (0..classes as i64).collect();
    ranked.sort_by(|&a, &b| scores[b as usize].total_cmp(&scores[a as usize]));
    ranked.truncate(top);
    ranked
}

fn normalized(features: &Features) -> Vec<f32> {
    let mut numbers = Vec::with_capacity(features.numbers.len());
    for row in features.rows() {
        let length = row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt().max(1e-12);
        numbers.extend(row.iter().map(|&x| (f64::from(x) / length) as f32));
    }
    numbers
}
