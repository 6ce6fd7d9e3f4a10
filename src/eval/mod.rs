//! How good features are: nearest neighbours and linear probes, on features that were computed once.
mod knn;
mod linear;
mod softmax;
mod steps;

pub use knn::{Knn, knn};
pub use linear::{LinearSettings, linear_probe};
pub use softmax::Softmax;

use crate::error::{Error, Result};

/// Frozen features with the class of each: a label, which may be any number from 0 up.
#[derive(Clone, Copy, Debug)]
pub struct Features<'a> {
    numbers: &'a [f32],
    dim: usize,
    targets: &'a [i64],
}

/// The classes of features. What is computed counts them from 0; what comes back are labels again.
struct Classes {
    /// Each once, in ascending order.
    labels: Vec<i64>,
    /// Of each row, where its label stands among them.
    places: Vec<usize>,
}

impl<'a> Features<'a> {
    /// `[n][dim]` numbers and n classes; `name` is what errors call the numbers.
    ///
    /// # Errors
    /// Lengths that do not fit, numbers that are not finite, classes below 0.
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
