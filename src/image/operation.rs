//! What augments a view: the contract of an operation, and the table of those that there are.
//!
//! An operation draws its parameters as values, and applying them is a pure function; on a GPU it says which steps of the kernels
//! it is. A new one is a file here, its kernel, and its lines in `mod.rs`, where [`OPERATIONS`](super::OPERATIONS) is.
use super::{Planes, device::DeviceStep, output::NumbersMut};
use crate::error::{Error, Result, checked_probability};
use crate::kernels::image::gaussian_blur::BlurScratch;
use crate::kernels::isa::Isa;
use crate::random::Generator;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::borrow::Cow;
use std::fmt::Debug;

/// Rows and columns.
pub type Size = (usize, usize);

/// What an operation works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// A view's bytes.
    Bytes,
    /// What leaves: its numbers, normalized as they are.
    Numbers,
}

/// What changes a view.
pub trait Operation: Debug + Send + Sync {
    /// What it works on.
    fn stage(&self) -> Stage {
        Stage::Bytes
    }

    /// Whether it can be applied to views of this size.
    ///
    /// # Errors
    /// They are too small for it.
    fn check(&self, _size: Size) -> Result<()> {
        Ok(())
    }

    /// Draws for a view of this size.
    fn sample(&self, generator: &mut Generator, size: Size) -> Values;

    /// Changes a view's bytes, one of the stage [`Stage::Bytes`].
    ///
    /// # Errors
    /// Values that cannot be.
    fn apply(&self, isa: Isa, planes: &mut Planes, values: &Values, room: &mut Room) -> Result<()>;

    /// Changes what leaves, one of the stage [`Stage::Numbers`].
    ///
    /// # Errors
    /// Values that cannot be.
    fn apply_to_numbers(&self, _view: &mut NumbersMut, _values: &Values) -> Result<()> {
        Ok(())
    }

    /// What the kernels of a GPU do in its place, one after the other.
    ///
    /// # Errors
    /// They cannot; or values that cannot be.
    fn device_steps(&self, values: &Values, size: Size) -> Result<Vec<DeviceStep>>;
}

/// Memory that operations use again.
#[derive(Debug, Default)]
pub struct Room {
    /// For one colour.
    pub gray: Vec<u8>,
    /// For another image.
    pub planes: Planes,
    /// For a blur.
    pub blur: BlurScratch,
}

/// What was drawn for an operation: numbers with their names, in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Values(pub Vec<(Cow<'static, str>, f64)>);

impl Values {
    /// These.
    pub fn of<const N: usize>(values: [(&'static str, f64); N]) -> Self {
        Self(values.into_iter().map(|(name, x)| (name.into(), x)).collect())
    }

    /// The numbers of just these names.
    ///
    /// # Errors
    /// Others are there.
    pub fn get<const N: usize>(&self, names: [&str; N]) -> Result<[f64; N]> {
        let found = names.map(|wanted| self.0.iter().find(|(name, _)| name == wanted).map(|&(_, x)| x));
        match self.0.len() == N && found.iter().all(Option::is_some) {
            true => Ok(found.map(Option::unwrap_or_default)),
            false => {
                let given: Vec<&str> = self.0.iter().map(|(name, _)| &**name).collect();
                Err(Error::value("params", format!("{given:?}"), format!("expected {names:?}")))
            }
        }
    }
}

/// How likely something is, from epoch to epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct Probability(Vec<(f64, f32)>);

impl Probability {
    /// Always the same.
    ///
    /// # Errors
    /// Outside [0, 1].
    pub fn constant(p: f32) -> Result<Self> {
        Self::schedule(vec![(0.0, p)])
    }

    /// Straight lines between these (epoch, probability), and constant before and after them.
    ///
    /// # Errors
    /// A probability outside [0, 1], epochs that do not rise, none at all.
    pub fn schedule(points: Vec<(f64, f32)>) -> Result<Self> {
        for &(_, p) in &points {
            checked_probability("p", p)?;
        }
        let rises =
            points.iter().all(|(epoch, _)| epoch.is_finite()) && points.windows(2).all(|two| two[0].0 < two[1].0);
        match rises && !points.is_empty() {
            true => Ok(Self(points)),
            false => Err(Error::value("p", format!("{points:?}"), "pairs (epoch, probability) with rising epochs")),
        }
    }

    /// In this epoch.
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

/// An operation's settings.
///
/// # Errors
/// One is missing, of another type, or not there.
pub(super) fn parsed<T: DeserializeOwned>(kind: &str, settings: Value) -> Result<T> {
    let text = settings.to_string();
    serde_json::from_value(settings).map_err(|error| Error::value(kind, text, error.to_string()))
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
