//! How good features are: nearest neighbours and linear probes, on features that were computed once.
mod knn;
mod linear;
mod logistic;
mod softmax;

pub use knn::{Knn, knn};
pub use linear::{Settings as LinearSettings, linear_probe};
pub use logistic::{Settings as LogisticSettings, logistic_probe};
pub use softmax::Softmax;

use crate::error::{Error, Result};

/// Frozen features with the class of each.
#[derive(Clone, Copy, Debug)]
pub struct Features<'a> {
    numbers: &'a [f32],
    dim: usize,
    targets: &'a [i64],
}

impl<'a> Features<'a> {
    /// `[n][dim]` numbers and n classes, which count from 0.
    ///
    /// # Errors
    /// Lengths that do not fit, numbers that are not finite, classes below 0.
    pub fn new(numbers: &'a [f32], dim: usize, targets: &'a [i64]) -> Result<Self> {
        if dim == 0 || targets.is_empty() || numbers.len() != dim * targets.len() {
            let expected = format!("({}, {dim}), one row for each of at least one target", targets.len());
            return Err(Error::shape("features", expected, format!("{} numbers", numbers.len())));
        }
        if let Some(at) = numbers.iter().position(|x| !x.is_finite()) {
            let name = format!("features[{}, {}]", at / dim, at % dim);
            return Err(Error::value(name, numbers[at], "features are finite; did the run diverge?"));
        }
        match targets.iter().position(|&target| target < 0) {
            Some(at) => Err(Error::value(format!("targets[{at}]"), targets[at], "classes count from 0")),
            None => Ok(Self { numbers, dim, targets }),
        }
    }

    fn len(&self) -> usize {
        self.targets.len()
    }

    fn rows(&self) -> impl Iterator<Item = &'a [f32]> + use<'a> {
        self.numbers.chunks_exact(self.dim)
    }

    /// Classes, the largest one's number and those below it.
    fn classes(&self) -> Result<usize> {
        let largest = self.targets.iter().copied().max().unwrap_or(0);
        let first = self.targets[0];
        match self.targets.iter().all(|&target| target == first) {
            true => {
                Err(Error::value("targets", first, "is the only class; features are judged by telling classes apart"))
            }
            false => Ok(largest as usize + 1),
        }
    }

    fn check(&self, other: &Self) -> Result<()> {
        match self.dim == other.dim {
            true => Ok(()),
            false => Err(Error::shape("features", format!("rows of {}, as those learnt from", self.dim), other.dim)),
        }
    }
}
