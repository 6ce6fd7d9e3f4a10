//! What a run changes as it goes, at step `k` of `K`: the learning rate, and the momentum of the moving average.
//!
//! - Learning rate (SimCLR, BYOL): `lr k / w` for `k < w`, then `lr (1 + cos(pi (k - w) / (K - w))) / 2`.
//! - Momentum (BYOL): `tau = 1 - (1 - tau0) (1 + cos(pi k / K)) / 2`.
use crate::error::{Error, Result};
use serde::Deserialize;
use std::f64::consts::PI;

/// A learning rate that rises in a line and falls to 0 along a cosine.
///
/// It counts whatever its caller counts: SimCLR and BYOL steps; MoCo v2 epochs, with no warm-up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    lr: f64,
    warmup: u64,
    total: u64,
}

impl Schedule {
    /// `lr` is reached after `warmup` steps of `total`.
    ///
    /// # Errors
    /// A learning rate below 0 or infinite; a warm-up that leaves nothing.
    pub fn new(lr: f64, warmup: u64, total: u64) -> Result<Self> {
        if !(0.0..=f64::from(f32::MAX)).contains(&lr) {
            return Err(Error::value("lr", lr, "a number from 0 up"));
        }
        if total == 0 {
            return Err(Error::value("total", total, "at least 1"));
        }
        if warmup >= total {
            return Err(Error::value("warmup", warmup, format!("shorter than the whole, which is {total}")));
        }
        Ok(Self { lr, warmup, total })
    }

    /// The learning rate of step `k`, counted from 0; 0 from `total` on. The first step of a warm-up has 0 too.
    pub fn at(&self, k: u64) -> f64 {
        match k < self.warmup {
            true => self.lr * k as f64 / self.warmup as f64,
            false => self.lr * cosine(k - self.warmup, self.total - self.warmup),
        }
    }
}

/// How the learning rate grows with the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scaling {
    /// `base B / 256` (Goyal et al., arXiv 1706.02677). SimCLR has a base of 0.3, BYOL of 0.2 for 1000 epochs.
    Linear,
    /// `base sqrt(B)` (SimCLR, appendix B.1, with a base of 0.075): better for small batches and short runs.
    SquareRoot,
}

impl Scaling {
    /// The learning rate of this batch size.
    pub fn lr(self, base: f64, batch_size: usize) -> f64 {
        match self {
            Self::Linear => base * batch_size as f64 / 256.0,
            Self::SquareRoot => base * (batch_size as f64).sqrt(),
        }
    }
}

/// Whether the moving average's momentum moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Averaging {
    /// It stays.
    Constant,
    /// It goes to 1 by a cosine.
    Cosine,
}

impl Averaging {
    /// Whether it can begin so.
    ///
    /// # Errors
    /// Outside [0, 1].
    pub fn check(self, encoder_momentum: f64) -> Result<()> {
        checked("encoder_momentum", encoder_momentum).map(drop)
    }
}

/// The momentum of the moving average: `m` of MoCo, `tau` of BYOL.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Momentum {
    first: f64,
    /// The step at which it is 1, if it moves.
    total: Option<u64>,
}

impl Momentum {
    /// One that stays: 0.999 in MoCo.
    ///
    /// # Errors
    /// Outside [0, 1].
    pub fn constant(m: f64) -> Result<Self> {
        Ok(Self { first: checked("m", m)?, total: None })
    }

    /// One that goes to 1 at step `total`. BYOL begins at 0.996 for 1000 epochs, at 0.99 for 300.
    ///
    /// # Errors
    /// A beginning outside [0, 1], no step.
    pub fn cosine(tau0: f64, total: u64) -> Result<Self> {
        match total {
            0 => Err(Error::value("total", total, "at least 1")),
            _ => Ok(Self { first: checked("tau0", tau0)?, total: Some(total) }),
        }
    }

    /// The momentum after step `k`, counted from 0.
    pub fn at(&self, k: u64) -> f64 {
        match self.total {
            None => self.first,
            Some(total) => 1.0 - (1.0 - self.first) * cosine(k, total),
        }
    }
}

/// From 1 to 0 in `total` steps, and 0 from there.
fn cosine(k: u64, total: u64) -> f64 {
    0.5 * (1.0 + (PI * k.min(total) as f64 / total as f64).cos())
}

fn checked(name: &str, m: f64) -> Result<f64> {
    match (0.0..=1.0).contains(&m) {
        true => Ok(m),
        false => Err(Error::value(name, m, "a momentum lies between 0 and 1")),
    }
}
