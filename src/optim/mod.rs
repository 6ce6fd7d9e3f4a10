//! Optimizers with a state that can be saved, schedules of learning rates and momenta, and the exponential moving average.
//!
//! An optimizer updates flat slices, one tensor at a time. Callers need not keep all tensors in memory at once:
//!
//! ```
//! # fn main() -> sassl::Result<()> {
//! use sassl::optim::{Group, Optimizer, TensorInfo, Schedule, Sgd};
//!
//! let (mut weight, gradient) = (vec![1.0; 6], vec![0.5; 6]);
//! let parameters = vec![TensorInfo { name: "fc.weight".into(), ndim: 2, len: weight.len() }];
//! // MoCo v2.
//! let sgd = Sgd { momentum: 0.9, nesterov: false, weight_decay: 1e-4, decayed: Group::All };
//! let (mut optimizer, schedule) = (Optimizer::new(sgd, parameters)?, Schedule::new(0.03, 0, 200)?);
//! for epoch in 0..200 {
//!     optimizer.update(0, schedule.at(epoch), &mut weight, &gradient);
//! }
//! # Ok(())
//! # }
//! ```
mod adamw;
mod ema;
mod group;
mod lars;
mod schedule;
mod sgd;

use crate::error::{Error, Result};
use std::collections::{HashMap, HashSet};

pub use adamw::AdamW;
pub use ema::ema;
pub use group::{Group, TensorInfo};
pub use lars::Lars;
pub use schedule::{Averaging, Momentum, Scaling, Schedule};
pub use sgd::Sgd;

/// An update rule: the settings of an optimizer, and its formula. [`Optimizer`] contains the state.
pub trait Rule: std::fmt::Debug + Send + Sync {
    /// Checks the settings.
    ///
    /// # Errors
    /// A setting is invalid; the error names the first such setting.
    fn check(&self) -> Result<()>;

    /// Returns the name and length of each state array (slot) of a tensor with `len` elements. Slots are initially 0.
    fn slots(&self, len: usize) -> Vec<(&'static str, usize)>;

    /// Checks the values of a slot in a saved state.
    ///
    /// # Errors
    /// A value is invalid.
    fn check_slot(&self, _slot: &str, _numbers: &[f32]) -> Result<()> {
        Ok(())
    }

    /// Updates one tensor and its slots. `slots` is in the order of [`Rule::slots`].
    fn update(&self, parameter: &TensorInfo, lr: f64, param: &mut [f32], grad: &[f32], slots: &mut [Vec<f32>]);
}

/// An update rule, and its state for each tensor. Tensors are in the order in which they were passed to [`Optimizer::new`].
#[derive(Debug)]
pub struct Optimizer {
    rule: Box<dyn Rule>,
    parameters: Vec<TensorInfo>,
    slots: Vec<Vec<Vec<f32>>>,
}

impl Optimizer {
    /// Creates an optimizer for these tensors, in its initial state.
    ///
    /// # Errors
    /// A setting is invalid, or two tensors have the same name.
    pub fn new(rule: impl Rule + 'static, parameters: Vec<TensorInfo>) -> Result<Self> {
        rule.check()?;
        let mut names = HashSet::new();
        if let Some(twice) = parameters.iter().find(|parameter| !names.insert(&parameter.name)) {
            let name = &twice.name;
            return Err(Error::invalid(format!("parameter {name:?} is given twice; each needs a name of its own")));
        }
        let zeros = |parameter: &TensorInfo| {
            let slots = rule.slots(parameter.len);
            slots.into_iter().map(|(_, len)| vec![0.0; len]).collect()
        };
        let slots = parameters.iter().map(zeros).collect();
        Ok(Self { rule: Box::new(rule), parameters, slots })
    }

    /// Updates the tensor with this index, given its values `param` and its gradient `grad`. A training step consists of one
    /// call for each tensor, in any order.
    ///
    /// # Panics
    /// If there is no such tensor, or the length of `param` or `grad` differs from the tensor's length.
    pub fn update(&mut self, index: usize, lr: f64, param: &mut [f32], grad: &[f32]) {
        let parameter = &self.parameters[index];
        assert_eq!(param.len(), parameter.len, "{}", parameter.name);
        assert_eq!(grad.len(), parameter.len, "gradient of {}", parameter.name);
        self.rule.update(parameter, lr, param, grad, &mut self.slots[index]);
    }

    /// The state from which training resumes bit-exactly: entries named `parameter.slot`, always in the same order.
    pub fn state(&self) -> Vec<(String, &[f32])> {
        let slots = self.slots.iter().flatten().map(Vec::as_slice);
        self.entries().into_iter().map(|(entry, _)| entry).zip(slots).collect()
    }

    /// Loads a saved state, with its entries in any order.
    ///
    /// # Errors
    /// An entry is missing, unknown, given twice or of another length, or has invalid values. The optimizer is unchanged in
    /// that case.
    pub fn load_state(&mut self, state: &[(String, &[f32])]) -> Result<()> {
        const REMEDY: &str = "load a state that the same optimizer of the same parameters has saved";
        let wrong = |entry: &str, what: String| Err(Error::invalid(format!("state entry {entry:?} {what}; {REMEDY}")));
        let mut given = HashMap::new();
        for (entry, numbers) in state {
            if given.insert(entry.as_str(), *numbers).is_some() {
                return wrong(entry, "is given twice".into());
            }
        }
        let mut taken = vec![];
        for (entry, len) in self.entries() {
            match given.remove(entry.as_str()) {
                None => return wrong(&entry, "is missing".into()),
                Some(numbers) if numbers.len() != len => {
                    return wrong(&entry, format!("must have length {len}, got {}", numbers.len()));
                }
                Some(numbers) => {
                    let slot = entry.rsplit('.').next().unwrap_or_default();
                    if let Err(error) = self.rule.check_slot(slot, numbers) {
                        return wrong(&entry, format!("is invalid: {error}"));
                    }
                    taken.push(numbers);
                }
            }
        }
        if let Some((entry, _)) = state.iter().find(|(entry, _)| given.contains_key(entry.as_str())) {
            return wrong(entry, "does not belong to this optimizer".into());
        }
        for (slot, numbers) in self.slots.iter_mut().flatten().zip(taken) {
            slot.copy_from_slice(numbers);
        }
        Ok(())
    }

    /// Names and lengths of the state's entries.
    fn entries(&self) -> Vec<(String, usize)> {
        let of = |parameter: &TensorInfo| {
            let slots = self.rule.slots(parameter.len).into_iter();
            slots.map(|(slot, len)| (format!("{}.{slot}", parameter.name), len)).collect::<Vec<_>>()
        };
        self.parameters.iter().flat_map(of).collect()
    }
}

/// Reads a count that was saved as a float. It must be a whole number in `0..end`.
///
/// # Errors
/// The value is not a whole number in this range. The error calls the value `name`.
pub fn whole(name: &str, x: f32, end: u64) -> Result<u64> {
    match x >= 0.0 && x.fract() == 0.0 && f64::from(x) < end as f64 {
        true => Ok(x as u64),
        false => Err(Error::value(name, x, format!("must be an integer in [0, {}]; the state is damaged", end - 1))),
    }
}

/// Checks the decay factor of past gradients, which must be in [0, 1).
fn check_momentum(name: &str, momentum: f64) -> Result<()> {
    match (0.0..1.0).contains(&momentum) {
        true => Ok(()),
        false => Err(Error::value(name, momentum, "must be in [0, 1)")),
    }
}

fn check_weight_decay(weight_decay: f64) -> Result<()> {
    match (0.0..=f64::from(f32::MAX)).contains(&weight_decay) {
        true => Ok(()),
        false => Err(Error::value("weight_decay", weight_decay, "must be a finite number >= 0")),
    }
}
