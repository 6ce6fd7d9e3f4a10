//! LARS (You, Gitman and Ginsburg, arXiv 1708.03888): SGD in which each tensor's update is scaled to the norm of its weights.
//!
//! `u = g + lambda p`, `u = eta |p| / |u| u`, `v = mu v + u`, `p = p - lr v`, as in facebookresearch/moco-v3. If `|p|` or `|u|`
//! is 0, the second step is skipped. For tensors outside the group `adapted`, `u = g`.
//!
//! google-research/simclr has the learning rate in the momentum buffer instead (classic momentum): `v = mu v + lr u`,
//! `p = p - v`. Both are equivalent while `lr` is constant. When `lr` changes, past gradients keep their old rate in simclr's
//! version.
use super::{Group, Rule, TensorInfo, check_momentum, check_weight_decay};
use crate::error::{Error, Result};

/// Settings of LARS; the defaults are those of moco-v3.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lars {
    /// The momentum, `mu`.
    pub momentum: f64,
    /// The weight decay, `lambda`.
    pub weight_decay: f64,
    /// The trust coefficient, `eta`.
    pub eta: f64,
    /// The tensors to which weight decay and adaptation apply.
    pub adapted: Group,
}

impl Default for Lars {
    fn default() -> Self {
        Self { momentum: 0.9, weight_decay: 0.0, eta: 1e-3, adapted: Group::Matrices }
    }
}

impl Rule for Lars {
    fn check(&self) -> Result<()> {
        check_momentum("momentum", self.momentum)?;
        check_weight_decay(self.weight_decay)?;
        match self.eta > 0.0 && self.eta <= f64::from(f32::MAX) {
            true => Ok(()),
            false => Err(Error::value("eta", self.eta, "must be a finite number > 0; papers use 0.001")),
        }
    }

    fn slots(&self, len: usize) -> Vec<(&'static str, usize)> {
        vec![("mu", len)]
    }

    fn update(&self, parameter: &TensorInfo, lr: f64, param: &mut [f32], grad: &[f32], slots: &mut [Vec<f32>]) {
        let (decay, trust) = match self.adapted.holds(parameter) {
            true => {
                let decay = self.weight_decay as f32;
                (decay, self.trust(norms(param, grad, decay)))
            }
            false => (0.0, 1.0),
        };
        let (lr, mu) = (lr as f32, self.momentum as f32);
        for ((p, g), v) in param.iter_mut().zip(grad).zip(&mut slots[0]) {
            *v = mu * *v + trust * (g + decay * *p);
            *p -= lr * *v;
        }
    }
}

impl Lars {
    /// Returns the factor by which `u` is multiplied, given `|p|` and `|u|`.
    fn trust(&self, (param, update): (f64, f64)) -> f32 {
        match param > 0.0 && update > 0.0 {
            true => (self.eta * param / update) as f32,
            false => 1.0,
        }
    }
}

/// Returns `|p|` and `|g + lambda p|`. Each norm is computed from eight partial sums, because additions to a single sum would
/// have to wait for each other.
fn norms(param: &[f32], grad: &[f32], decay: f32) -> (f64, f64) {
    let (mut of_param, mut of_update) = ([0.0_f64; 8], [0.0_f64; 8]);
    let mut add = |lane: usize, p: f32, g: f32| {
        let u = f64::from(g + decay * p);
        of_param[lane] += f64::from(p) * f64::from(p);
        of_update[lane] += u * u;
    };
    let ((params, last_params), (grads, last_grads)) = (param.as_chunks::<8>(), grad.as_chunks::<8>());
    for (p, g) in params.iter().zip(grads) {
        for lane in 0..8 {
            add(lane, p[lane], g[lane]);
        }
    }
    for (lane, (&p, &g)) in last_params.iter().zip(last_grads).enumerate() {
        add(lane, p, g);
    }
    (of_param.iter().sum::<f64>().sqrt(), of_update.iter().sum::<f64>().sqrt())
}
