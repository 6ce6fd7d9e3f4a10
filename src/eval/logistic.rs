//! A linear probe by L-BFGS: multinomial logistic regression, its penalty as scikit-learn counts it.
//!
//! ```text
//! minimize   loss(W, b) + |W|^2 / (2 C n)        loss on average over the n rows
//! ```
//!
//! The protocol of Kornblith et al. 2019 for transfer, which SimCLR (appendix B.8.1) and BYOL (appendix D.2) follow: 45 values of C in
//! equal steps of their logarithm, the best one chosen on held-out images. The grid is cut into chains, which are learnt side by side:
//! the first C of a chain begins at zeros, and each other one where the one before it ended.
use super::softmax::{Part, Rows};
use super::{Classes, Features, Softmax};
use crate::error::{Error, Result};
use crate::kernels::threads::pool;
use crate::nn::Engine;
use std::collections::VecDeque;

/// Chains of a grid: some work for a few threads, and not many beginnings at zeros. How many there are does not depend on the threads,
/// and so neither does a result.
const CHAINS: usize = 6;
/// Bytes that all chains remember at once, at most; where one alone remembers more, they are learnt one after the other.
const MOST_REMEMBERED: usize = 1 << 29;

/// Steps that the curvature is known from.
const MEMORY: usize = 10;
/// Where a step has to fall by this part of what the slope promises (Armijo).
const DECREASE: f64 = 1e-4;
/// Differences of objectives below this, or below this part of large ones, are rounding: scores are float32.
const ROUNDING: f64 = 1e-7;
/// A step that rounding hides has to leave a slope of this part, at most.
const FLATTER: f64 = 0.9;

/// The settings.
#[derive(Clone, Debug, PartialEq)]
pub struct LogisticSettings {
    /// One or more, the weakest penalty being the largest.
    pub c: Vec<f64>,
    /// Steps for each, at most.
    pub max_iter: usize,
    /// Where the largest number of the gradient is below this, it is done; scikit-learn's 1e-4.
    pub tolerance: f64,
}

/// Learns from features: one probe for each C, in their order.
///
/// # Errors
/// One class only, settings that cannot be.
pub fn logistic_probe(engine: Engine, settings: &LogisticSettings, features: &Features) -> Result<Vec<Softmax>> {
    let LogisticSettings { c, max_iter, tolerance } = settings;
    if let Some(c) = c.iter().find(|&&c| !(c > 0.0 && c.is_finite())) {
        return Err(Error::value("c", c, "a number above 0"));
    }
    if *max_iter == 0 || c.is_empty() {
        let (name, value) = if c.is_empty() { ("c", "none".to_owned()) } else { ("max_iter", max_iter.to_string()) };
        return Err(Error::value(name, value, "at least 1"));
    }
    let Classes { labels, places } = features.classes()?;
    let zeros = Softmax::zeros(labels, features.dim)?;
    let mut order: Vec<usize> = (0..c.len()).collect();
    order.sort_by(|&a, &b| c[a].total_cmp(&c[b]));
    let chains = order.chunks(order.len().div_ceil(CHAINS));
    let remembered = 2 * (MEMORY + 1) * zeros.numbers.len() * size_of::<f64>();
    let at_once = chains.len().min(engine.threads).min(MOST_REMEMBERED / remembered).max(1);
    let engine = Engine { threads: engine.threads / at_once, ..engine };
    let mut learnt = vec![vec![]; chains.len()];
    pool::each(at_once, chains.zip(&mut learnt), |(chain, learnt)| {
        let (mut probe, mut parts) = (zeros.clone(), vec![]);
        for &at in chain {
            let penalty = 1.0 / (c[at] * features.len() as f64);
            minimize(&mut probe, *max_iter, *tolerance, |probe| {
                objective(engine, probe, (features.numbers, &places), penalty, &mut parts)
            });
            learnt.push(probe.clone());
        }
    });
    let mut probes: Vec<(usize, Softmax)> = order.into_iter().zip(learnt.into_iter().flatten()).collect();
    probes.sort_by_key(|&(at, _)| at);
    Ok(probes.into_iter().map(|(_, probe)| probe).collect())
}

fn objective(
    engine: Engine,
    probe: &mut Softmax,
    (rows, places): (&[f32], &[usize]),
    penalty: f64,
    parts: &mut Vec<Part>,
) -> (f64, Vec<f64>) {
    let mut gradient = vec![];
    let loss = probe.gradient(engine, Rows::All(rows), places, parts, &mut gradient);
    let mut gradient: Vec<f64> = gradient.into_iter().map(f64::from).collect();
    let mut square = 0.0;
    for (d, &w) in gradient.iter_mut().zip(probe.split_mut().0.iter()) {
        let w = f64::from(w);
        *d += penalty * w;
        square += w * w;
    }
    (loss + 0.5 * penalty * square, gradient)
}

/// L-BFGS (Nocedal and Wright, algorithm 7.5) with halved steps.
fn minimize(
    probe: &mut Softmax,
    max_iter: usize,
    tolerance: f64,
    mut objective: impl FnMut(&mut Softmax) -> (f64, Vec<f64>),
) {
    // What moved, how the gradient changed, and their product.
    let mut past: VecDeque<(Vec<f64>, Vec<f64>, f64)> = VecDeque::new();
    let (mut value, mut gradient) = objective(probe);
    for _ in 0..max_iter {
        if gradient.iter().all(|d| d.abs() < tolerance) {
            return;
        }
        let mut direction = direction(&past, &gradient);
        let mut slope = dot(&direction, &gradient);
        if slope >= 0.0 {
            past.clear();
            direction = gradient.iter().map(|d| -d).collect();
            slope = -dot(&gradient, &gradient);
        }
        // Without a past, the first step is as long as 1.
        let mut rate = if past.is_empty() { 1.0 / slope.abs().sqrt() } else { 1.0 };
        let before = probe.numbers.clone();
        loop {
            let moved = probe.numbers.iter_mut().zip(&before).zip(&direction);
            moved.for_each(|((to, from), d)| *to = (f64::from(*from) + rate * d) as f32);
            let (next, slopes) = objective(probe);
            let falls = next <= value + DECREASE * rate * slope;
            // Where rounding hides whether the objective falls, its slope tells (Hager and Zhang 2005, the approximate Wolfe condition).
            let (hidden, after) = ((next - value).abs() <= ROUNDING * value.abs().max(1.0), dot(&direction, &slopes));
            if falls && !hidden || hidden && after.abs() <= FLATTER * slope.abs() {
                let s: Vec<f64> =
                    probe.numbers.iter().zip(&before).map(|(to, from)| f64::from(*to) - f64::from(*from)).collect();
                let y: Vec<f64> = slopes.iter().zip(&gradient).map(|(to, from)| to - from).collect();
                let product = dot(&s, &y);
                if product > 1e-10 * dot(&y, &y) {
                    past.push_back((s, y, product));
                    if past.len() > MEMORY {
                        past.pop_front();
                    }
                }
                (value, gradient) = (next, slopes);
                break;
            }
            rate /= 2.0;
            // The search ends here: shorter steps would leave the slope as it is, and float32 cannot tell what they gain.
            if hidden && after < 0.0 || rate < 1e-10 {
                probe.numbers = before;
                return;
            }
        }
    }
}

/// The last steps' curvature applied to the gradient: the two loops of algorithm 7.4.
fn direction(past: &VecDeque<(Vec<f64>, Vec<f64>, f64)>, gradient: &[f64]) -> Vec<f64> {
    let mut q: Vec<f64> = gradient.iter().map(|d| -d).collect();
    let mut weights = vec![];
    for (s, y, product) in past.iter().rev() {
        let weight = dot(s, &q) / product;
        q.iter_mut().zip(y).for_each(|(q, y)| *q -= weight * y);
        weights.push(weight);
    }
    if let Some((_, y, product)) = past.back() {
        let scale = product / dot(y, y);
        q.iter_mut().for_each(|q| *q *= scale);
    }
    for ((s, y, product), weight) in past.iter().zip(weights.into_iter().rev()) {
        let other = dot(y, &q) / product;
        q.iter_mut().zip(s).for_each(|(q, s)| *q += (weight - other) * s);
    }
    q
}

/// Eight sums: one would wait for itself at every number.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let ((a, last_a), (b, last_b)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [0.0; 8];
    for (a, b) in a.iter().zip(b) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
    }
    let last: f64 = last_a.iter().zip(last_b).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f64>() + last
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where rounding hides whether steps fall, they are not halved again and again until one seems to; but they are while they go too
    /// far, as the first one does under a strong penalty.
    #[test]
    fn a_search_ends_where_rounding_hides_the_objective() -> Result<()> {
        for (curvature, least, tolerance) in [(1600.0, 1.1, 1e-6), (2.5e5, 1e-6, 1e-8)] {
            let (mut probe, mut calls) = (Softmax::zeros(vec![0, 1], 3)?, 0);
            minimize(&mut probe, 1000, 1e-9, |probe| {
                calls += 1;
                let rounding = f64::from(calls * 7919 % 1000) * 1e-11;
                let beyond: Vec<f64> = probe.numbers.iter().map(|&x| f64::from(x) - least).collect();
                let value = 2.3 + rounding + curvature / 2.0 * dot(&beyond, &beyond);
                (value, beyond.iter().map(|x| curvature * x).collect())
            });
            assert!(calls < 100, "{calls} times");
            let off = |x: &f32| (f64::from(*x) - least).abs();
            assert!(probe.numbers.iter().all(|x| off(x) <= tolerance), "{least}: {:?}", probe.numbers);
        }
        Ok(())
    }
}
