//! AdamW (Loshchilov and Hutter, arXiv 1711.05101), like `torch.optim.AdamW`.
//!
//! `p = p - lr lambda p`, `m = beta1 m + (1 - beta1) g`, `v = beta2 v + (1 - beta2) g^2`,
//! `p = p - lr / (1 - beta1^t) m / (sqrt(v) / sqrt(1 - beta2^t) + eps)` at step `t`, counted from 1.
use super::{Group, Rule, TensorInfo, check_momentum, check_weight_decay, whole};
use crate::error::{Error, Result};

/// Settings of AdamW; the defaults are PyTorch's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// The decay rates of the moments, `beta1` and `beta2`.
    pub betas: (f64, f64),
    /// The term that keeps the divisor above 0, `eps`.
    pub eps: f64,
    /// The weight decay, `lambda`.
    pub weight_decay: f64,
    /// The tensors to which weight decay applies.
    pub decayed: Group,
}

impl Default for AdamW {
    fn default() -> Self {
        Self { betas: (0.9, 0.999), eps: 1e-8, weight_decay: 1e-2, decayed: Group::All }
    }
}

impl Rule for AdamW {
    fn check(&self) -> Result<()> {
        check_momentum("beta1", self.betas.0)?;
        check_momentum("beta2", self.betas.1)?;
        check_weight_decay(self.weight_decay)?;
        // It is the divisor for a gradient of zeros.
        match (f64::from(f32::MIN_POSITIVE)..=1.0).contains(&self.eps) {
            true => Ok(()),
            false => Err(Error::value("eps", self.eps, "must be > 0 and <= 1")),
        }
    }

    /// The slot `step` is an `f32`, as in PyTorch. It saturates at 2^24, long after the bias corrections have become 1.
    fn slots(&self, len: usize) -> Vec<(&'static str, usize)> {
        vec![("exp_avg", len), ("exp_avg_sq", len), ("step", 1)]
    }

    fn check_slot(&self, slot: &str, numbers: &[f32]) -> Result<()> {
        match slot {
            "step" => numbers.iter().try_for_each(|&t| whole("step", t, (1 << 24) + 1).map(drop)),
            // The update takes its square root.
            "exp_avg_sq" => match numbers.iter().find(|&&v| v < 0.0) {
                Some(v) => Err(Error::value("exp_avg_sq", v, "must be >= 0, as a mean of squares")),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn update(&self, parameter: &TensorInfo, lr: f64, param: &mut [f32], grad: &[f32], slots: &mut [Vec<f32>]) {
        let [m, v, t] = slots else { unreachable!("as `slots` says") };
        t[0] += 1.0;
        let corrections = [self.betas.0, self.betas.1].map(|beta| 1.0 - beta.powf(f64::from(t[0])));
        let decay = if self.decayed.holds(parameter) { self.weight_decay } else { 0.0 };
        let kept = (1.0 - lr * decay) as f32;
        let (rate, scale, eps) = ((lr / corrections[0]) as f32, corrections[1].sqrt() as f32, self.eps as f32);
        // `1 - beta` is computed in f64: in f32, that of 0.999 is wrong in the fifth digit.
        let (new1, beta2, new2) = ((1.0 - self.betas.0) as f32, self.betas.1 as f32, (1.0 - self.betas.1) as f32);
        for (((p, g), m), v) in param.iter_mut().zip(grad).zip(m).zip(v) {
            *m += new1 * (g - *m);
            *v = beta2 * *v + new2 * g * g;
            *p = kept * *p - rate * (*m / (v.sqrt() / scale + eps));
        }
    }
}
