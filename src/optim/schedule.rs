//! Schedules of the values that change during a run, at step `k` of `K`: the learning rate, and the momentum of the moving
//! average.
//!
//! - Learning rate (SimCLR, BYOL): `lr k / w` for the `w` warm-up steps, `k < w`, then
//!   `lr (1 + cos(pi (k - w) / (K - w))) / 2`.
//! - Momentum (BYOL): `tau = 1 - (1 - tau0) (1 + cos(pi k / K)) / 2`.
use crate::error::{Error, Result};
use serde::Deserialize;
use std::f64::consts::PI;

/// A learning rate with linear warm-up and cosine decay to 0. The caller chooses the unit of a step. SimCLR and BYOL count
/// optimizer steps; MoCo v2 counts epochs, without warm-up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    lr: f64,
    warmup: u64,
    total: u64,
}

impl Schedule {
    /// Creates a schedule of `total` steps, which reaches `lr` after the first `warmup` steps.
    ///
    /// # Errors
    /// The learning rate is negative or not finite, `total` is 0, or the warm-up is not shorter than the schedule.
    pub fn new(lr: f64, warmup: u64, total: u64) -> Result<Self> {
        if !(0.0..=f64::from(f32::MAX)).contains(&lr) {
            return Err(Error::value("lr", lr, "must be a finite number >= 0"));
        }
        if total == 0 {
            return Err(Error::value("total", total, "must be an integer >= 1"));
        }
        if warmup >= total {
            return Err(Error::value("warmup", warmup, format!("must be less than total ({total})")));
        }
        Ok(Self { lr, warmup, total })
    }

    /// The learning rate of step `k`, counted from 0. It is 0 in the first step of a warm-up, and after the last step of the
    /// schedule.
    pub fn at(&self, k: u64) -> f64 {
        match k < self.warmup {
            true => self.lr * k as f64 / self.warmup as f64,
            false => self.lr * cosine(k - self.warmup, self.total - self.warmup),
        }
    }
}

/// The scaling of the learning rate with the batch size `B`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scaling {
    /// `base B / 256` (Goyal et al., arXiv 1706.02677). The base is 0.3 in SimCLR, and 0.2 in BYOL for 1000 epochs.
    Linear,
    /// `base sqrt(B)` (SimCLR, appendix B.1, with a base of 0.075). This is better for small batches and short runs.
    SquareRoot,
}

impl Scaling {
    /// The learning rate for this batch size.
    pub fn lr(self, base: f64, batch_size: usize) -> f64 {
        match self {
            Self::Linear => base * batch_size as f64 / 256.0,
            Self::SquareRoot => base * (batch_size as f64).sqrt(),
        }
    }
}

/// The schedule of the moving average's momentum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Averaging {
    /// A constant momentum.
    Constant,
    /// A momentum that rises to 1 along a cosine.
    Cosine,
}

impl Averaging {
    /// Checks the initial momentum.
    ///
    /// # Errors
    /// `encoder_momentum` is outside [0, 1].
    pub fn check(self, encoder_momentum: f64) -> Result<()> {
        checked("encoder_momentum", encoder_momentum).map(drop)
    }
}

/// The momentum of the moving average: `m` of MoCo, `tau` of BYOL.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Momentum {
    first: f64,
    /// The step at which the momentum reaches 1; `None` if it is constant.
    total: Option<u64>,
}

impl Momentum {
    /// Creates a constant momentum: 0.999 in MoCo.
    ///
    /// # Errors
    /// `m` is outside [0, 1].
    pub fn constant(m: f64) -> Result<Self> {
        Ok(Self { first: checked("m", m)?, total: None })
    }

    /// Creates a momentum that rises from `tau0` to 1 at step `total`. In BYOL, `tau0` is 0.996 for 1000 epochs, and 0.99 for
    /// 300.
    ///
    /// # Errors
    /// `tau0` is outside [0, 1], or `total` is 0.
    pub fn cosine(tau0: f64, total: u64) -> Result<Self> {
        match total {
            0 => Err(Error::value("total", total, "must be an integer >= 1")),
            _ => Ok(Self { first: checked("tau0", tau0)?, total: Some(total) }),
        }
    }

    /// The momentum of the update in step `k`, counted from 0.
    pub fn at(&self, k: u64) -> f64 {
        match self.total {
            None => self.first,
            Some(total) => 1.0 - (1.0 - self.first) * cosine(k, total),
        }
    }
}

/// Half a cosine wave, from 1 to 0 in `total` steps, and 0 afterwards.
fn cosine(k: u64, total: u64) -> f64 {
    0.5 * (1.0 + (PI * k.min(total) as f64 / total as f64).cos())
}

fn checked(name: &str, m: f64) -> Result<f64> {
    match (0.0..=1.0).contains(&m) {
        true => Ok(m),
        false => Err(Error::value(name, m, "must be in [0, 1]")),
    }
}
