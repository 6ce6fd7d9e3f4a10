//! The evaluation of features that were computed once: nearest neighbours and linear probes.
mod knn;
mod linear;
mod softmax;
mod steps;

pub use knn::{Knn, knn};
pub use linear::{LinearSettings, linear_probe};
pub use softmax::Softmax;

use crate::error::{Error, Result};

/// Frozen features with the class of each: a label, any integer of at least 0.
#[derive(Clone, Copy, Debug)]
pub struct Features<'a> {
    numbers: &'a [f32],
    dim: usize,
    targets: &'a [i64],
}

/// The classes of features. Computations use indices from 0; results are labels.
struct Classes {
    /// The distinct labels, in ascending order.
    labels: Vec<i64>,
    /// The index of each row's label in `labels`.
    places: Vec<usize>,
}

impl<'a> Features<'a> {
    /// Wraps features `[n][dim]` and n classes; errors call the features `name`.
    ///
    /// # Errors
    /// The lengths do not fit, a value is not finite, or a class is negative.
    pub fn new(name: &str, numbers: &'a [f32], dim: usize, targets: &'a [i64]) -> Result<Self> {
        if dim == 0 || targets.is_empty() || numbers.len() != dim * targets.len() {
            let expected = format!("({}, {dim}), one row for each of at least one target", targets.len());
            return Err(Error::shape(name, expected, format!("{} numbers", numbers.len())));
        }
        if let Some(at) = numbers.iter().position(|x| !x.is_finite()) {
            let name = format!("{name}[{}, {}]", at / dim, at % dim);
            return Err(Error::value(name, numbers[at], "features are finite; did the run diverge?"));
        }
        match targets.iter().position(|&target| target < 0) {
            Some(at) => {
                let remedy = "is no class; leave out the images that have none";
                Err(Error::value(format!("targets[{at}]"), targets[at], remedy))
            }
            None => Ok(Self { numbers, dim, targets }),
        }
    }

    fn len(&self) -> usize {
        self.targets.len()
    }

    fn classes(&self) -> Result<Classes> {
        let mut labels = self.targets.to_vec();
        labels.sort_unstable();
        labels.dedup();
        if let [only] = labels[..] {
            let remedy = "is the only class; features are judged by telling classes apart";
            return Err(Error::value("targets", only, remedy));
        }
        let places = self.targets.iter().map(|target| labels.partition_point(|label| label < target)).collect();
        Ok(Classes { labels, places })
    }

    fn check(&self, other: &Self) -> Result<()> {
        match self.dim == other.dim {
            true => Ok(()),
            false => Err(Error::shape("features", format!("rows of {}, as those learnt from", self.dim), other.dim)),
        }
    }
}
