//! Evaluation of frozen features, which are computed once: nearest neighbours and linear probes.
mod knn;
mod linear;
mod softmax;
mod steps;

pub use knn::{Knn, knn};
pub use linear::{LinearSettings, linear_probe};
pub use softmax::Softmax;

use crate::error::{Error, Result};

/// Frozen features, and the class label of each row. A label is an integer >= 0.
#[derive(Clone, Copy, Debug)]
pub struct Features<'a> {
    numbers: &'a [f32],
    dim: usize,
    targets: &'a [i64],
}

/// The classes of features. Computations use indices into `labels`; results are labels.
struct Classes {
    /// The distinct labels, in ascending order.
    labels: Vec<i64>,
    /// The index of each row's label in `labels`.
    places: Vec<usize>,
}

impl<'a> Features<'a> {
    /// Wraps features `[n][dim]` and the labels of n rows, `targets`. Errors refer to the features by `name`.
    ///
    /// # Errors
    /// The lengths do not match, there are no rows or no dimensions, a value is not finite, or a label is negative.
    pub fn new(name: &str, numbers: &'a [f32], dim: usize, targets: &'a [i64]) -> Result<Self> {
        if dim == 0 || targets.is_empty() || numbers.len() != dim * targets.len() {
            let requirement =
                format!("must have shape ({}, {dim}), one row for each of at least one target", targets.len());
            return Err(Error::shape(name, requirement, format!("{} values", numbers.len())));
        }
        if let Some(at) = numbers.iter().position(|x| !x.is_finite()) {
            let name = format!("{name}[{}, {}]", at / dim, at % dim);
            return Err(Error::value(name, numbers[at], "must be finite; has the run diverged?"));
        }
        match targets.iter().position(|&target| target < 0) {
            Some(at) => {
                let requirement = "must be a class index >= 0; leave out the images without a class";
                Err(Error::value(format!("targets[{at}]"), targets[at], requirement))
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
            return Err(Error::value("targets", format!("only {only}"), "must have at least two classes"));
        }
        let places = self.targets.iter().map(|target| labels.partition_point(|label| label < target)).collect();
        Ok(Classes { labels, places })
    }

    fn check(&self, other: &Self) -> Result<()> {
        match self.dim == other.dim {
            true => Ok(()),
            false => Err(Error::shape(
                "features",
                format!("must have {} columns, like the training features", self.dim),
                other.dim,
            )),
        }
    }
}
