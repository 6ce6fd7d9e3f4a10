//! Stochastic gradient descent with the learning rate `eta`, like `torch.optim.SGD` without dampening.
//!
//! `u = g + lambda p`, `v = mu v + u`, `p = p - eta v`; with Nesterov momentum, the last step is `p = p - eta (u + mu v)`. In
//! PyTorch, the first step sets `v = u`. Here, `v` is initially 0, which is equivalent.
use super::{Group, Rule, TensorInfo, check_momentum, check_weight_decay};
use crate::error::{Error, Result};

/// Settings of SGD; the defaults are PyTorch's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// The momentum, `mu`; if it is 0, the optimizer has no state.
    pub momentum: f64,
    /// Whether to use Nesterov momentum.
    pub nesterov: bool,
    /// The weight decay, `lambda`.
    pub weight_decay: f64,
    /// The tensors to which weight decay applies.
    pub decayed: Group,
}

impl Default for Sgd {
    fn default() -> Self {
        Self { momentum: 0.0, nesterov: false, weight_decay: 0.0, decayed: Group::All }
    }
}

impl Rule for Sgd {
    fn check(&self) -> Result<()> {
        check_momentum("momentum", self.momentum)?;
        if self.nesterov && self.momentum == 0.0 {
            return Err(Error::value("momentum", self.momentum, "must be > 0 for Nesterov momentum"));
        }
        check_weight_decay(self.weight_decay)
    }

    fn slots(&self, len: usize) -> Vec<(&'static str, usize)> {
        match self.momentum > 0.0 {
            true => vec![("momentum_buffer", len)],
            false => vec![],
        }
    }

    fn update(&self, parameter: &TensorInfo, lr: f64, param: &mut [f32], grad: &[f32], slots: &mut [Vec<f32>]) {
        let decay = if self.decayed.holds(parameter) { self.weight_decay as f32 } else { 0.0 };
        let (lr, mu) = (lr as f32, self.momentum as f32);
        let [v] = slots else {
            for (p, g) in param.iter_mut().zip(grad) {
                *p -= lr * (g + decay * *p);
            }
            return;
        };
        for ((p, g), v) in param.iter_mut().zip(grad).zip(v) {
            let u = g + decay * *p;
            *v = mu * *v + u;
            *p -= lr * if self.nesterov { u + mu * *v } else { *v };
        }
    }
}
