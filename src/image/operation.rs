//! Operations that augment a view: their trait, and the values that an operation draws.
//!
//! An operation draws its parameters as values. Applying the operation with given values is a pure function. On a GPU, the
//! operation is lowered to steps of the kernels.
//!
//! To add an operation, write a file here, and its kernel. Then add the operation to `mod.rs`, which holds
//! [`OPERATIONS`](super::OPERATIONS).
use super::{Planes, device::DeviceStep, output::NumbersMut};
use crate::error::{Error, Result, checked_probability};
use crate::kernels::image::gaussian_blur::BlurScratch;
use crate::kernels::isa::Isa;
use crate::random::Generator;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::borrow::Cow;
use std::fmt::Debug;

/// Height and width in pixels.
pub type Size = (usize, usize);

/// The stage of a view that an operation changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The bytes of a view.
    Bytes,
    /// The values of the finished view, after normalization.
    Numbers,
}

/// An operation on a view.
pub trait Operation: Debug + Send + Sync {
    /// Returns the stage that the operation changes.
    fn stage(&self) -> Stage {
        Stage::Bytes
    }

    /// Checks that the operation can be applied to views of this size.
    ///
    /// # Errors
    /// Views of this size are too small.
    fn check(&self, _size: Size) -> Result<()> {
        Ok(())
    }

    /// Draws the parameters for a view of this size.
    fn sample(&self, generator: &mut Generator, size: Size) -> Values;

    /// Changes the bytes of a view; for operations of [`Stage::Bytes`].
    ///
    /// # Errors
    /// The values are invalid.
    fn apply(&self, isa: Isa, planes: &mut Planes, values: &Values, room: &mut Room) -> Result<()>;

    /// Changes a finished view; for operations of [`Stage::Numbers`].
    ///
    /// # Errors
    /// The values are invalid.
    fn apply_to_numbers(&self, _view: &mut NumbersMut, _values: &Values) -> Result<()> {
        Ok(())
    }

    /// Returns the steps of GPU kernels, in order, that give the same result as `apply`.
    ///
    /// # Errors
    /// The operation has no GPU kernels, or the values are invalid.
    fn device_steps(&self, values: &Values, size: Size) -> Result<Vec<DeviceStep>>;
}

/// Reusable scratch memory of operations.
#[derive(Debug, Default)]
pub struct Room {
    /// Memory for one channel.
    pub gray: Vec<u8>,
    /// Memory for another image.
    pub planes: Planes,
    /// Scratch memory of a blur.
    pub blur: BlurScratch,
}

/// The drawn parameters of an operation: named values, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Values(pub Vec<(Cow<'static, str>, f64)>);

impl Values {
    /// Creates the values from pairs of name and value.
    pub fn of<const N: usize>(values: [(&'static str, f64); N]) -> Self {
        Self(values.into_iter().map(|(name, x)| (name.into(), x)).collect())
    }

    /// Returns the values with these names. Other names are an error.
    ///
    /// # Errors
    /// A name is missing, or there is a name that is not in `names`.
    pub fn get<const N: usize>(&self, names: [&str; N]) -> Result<[f64; N]> {
        let found = names.map(|wanted| self.0.iter().find(|(name, _)| name == wanted).map(|&(_, x)| x));
        match self.0.len() == N && found.iter().all(Option::is_some) {
            true => Ok(found.map(Option::unwrap_or_default)),
            false => {
                let given: Vec<&str> = self.0.iter().map(|(name, _)| &**name).collect();
                Err(Error::value("params", format!("{given:?}"), format!("must be {names:?}")))
            }
        }
    }
}

/// A probability that may change over the epochs.
#[derive(Clone, Debug, PartialEq)]
pub struct Probability(Vec<(f64, f32)>);

impl Probability {
    /// Creates a constant probability.
    ///
    /// # Errors
    /// The probability is outside [0, 1].
    pub fn constant(p: f32) -> Result<Self> {
        Self::schedule(vec![(0.0, p)])
    }

    /// Creates a schedule from (epoch, probability) pairs.
    ///
    /// Between pairs, the probability is interpolated linearly. Before the first pair and after the last pair, it is constant.
    ///
    /// # Errors
    /// A probability is outside [0, 1], epochs do not increase, or there are no pairs.
    pub fn schedule(points: Vec<(f64, f32)>) -> Result<Self> {
        for &(_, p) in &points {
            checked_probability("p", p)?;
        }
        let rises =
            points.iter().all(|(epoch, _)| epoch.is_finite()) && points.windows(2).all(|two| two[0].0 < two[1].0);
        match rises && !points.is_empty() {
            true => Ok(Self(points)),
            false => {
                let requirement = "must be pairs (epoch, probability) with increasing epochs";
                Err(Error::value("p", format!("{points:?}"), requirement))
            }
        }
    }

    /// Returns the probability in an epoch.
    pub fn at(&self, epoch: u64) -> f32 {
        let epoch = epoch as f64;
        let after = self.0.partition_point(|&(from, _)| from <= epoch);
        match (after.checked_sub(1).map(|i| self.0[i]), self.0.get(after)) {
            (Some((from, p)), Some(&(to, q))) => {
                (f64::from(p) + f64::from(q - p) * (epoch - from) / (to - from)) as f32
            }
            (Some((_, p)), None) | (None, Some(&(_, p))) => p,
            (None, None) => 0.0,
        }
    }
}

/// Parses the settings of an operation.
///
/// # Errors
/// A setting is missing, unknown or of another type.
pub(super) fn parsed<T: DeserializeOwned>(kind: &str, settings: Value) -> Result<T> {
    let text = settings.to_string();
    serde_json::from_value(settings)
        .map_err(|error| Error::invalid(format!("settings of {kind} are invalid: {error}, got {text}")))
}

#[cfg(test)]
mod tests {
    use super::Probability;

    #[test]
    fn a_probability_follows_its_schedule() {
        let p = Probability::schedule(vec![(2.0, 0.0), (6.0, 0.8)]).unwrap();
        let all: Vec<f32> = [0, 2, 3, 4, 6, 100].map(|epoch| p.at(epoch)).to_vec();
        assert_eq!(all, [0.0, 0.0, 0.2, 0.4, 0.8, 0.8]);
        assert_eq!(Probability::constant(0.3).unwrap().at(7), 0.3);
        assert!(Probability::schedule(vec![]).is_err() && Probability::schedule(vec![(3.0, 0.1), (3.0, 0.2)]).is_err());
        assert!(Probability::constant(1.5).is_err());
    }
}
