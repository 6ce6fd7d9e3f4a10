//! The settings of a run, in the format of `sassl.pretraining.Config`. Only settings that a training step needs are read.
use crate::error::Result;
use crate::nn::Layout;
use crate::optim::{AdamW, Group, Lars, Optimizer, Sgd, TensorInfo};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The settings of a run, in the format of `sassl.pretraining.Config`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The method's name and settings; see [`crate::methods::settings`].
    pub method: Value,
    /// The backbone's name and settings; see [`crate::encoders::build`].
    pub backbone: Value,
    /// The optimizer and its settings.
    pub optimizer: OptimizerSettings,
    /// The seed of the initial parameters and of all random draws.
    pub seed: u64,
    /// The source of the batches, which is ignored here; only the training loop reads it.
    #[serde(default, skip_serializing)]
    pub data: IgnoredAny,
    /// The schedules of learning rate and momentum, which are ignored here; only the training loop reads them.
    #[serde(default, skip_serializing)]
    pub schedule: IgnoredAny,
    /// The source of the backbone's initial weights, which is ignored here.
    #[serde(default, skip_serializing)]
    pub init: IgnoredAny,
}

/// An optimizer and its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase", deny_unknown_fields)]
pub enum OptimizerSettings {
    /// [`crate::optim::Sgd`].
    Sgd {
        /// The momentum, mu.
        momentum: f64,
        /// Whether to use Nesterov momentum.
        nesterov: bool,
        /// The weight decay, lambda.
        weight_decay: f64,
        /// Whether biases and norms are exempt from weight decay.
        exclude_bias_and_norm: bool,
    },
    /// [`crate::optim::Lars`].
    Lars {
        /// The momentum, mu.
        momentum: f64,
        /// The trust coefficient, eta.
        eta: f64,
        /// The weight decay, lambda.
        weight_decay: f64,
        /// Whether biases and norms are exempt from weight decay and adaptation.
        exclude_bias_and_norm: bool,
    },
    /// [`crate::optim::AdamW`].
    AdamW {
        /// The weight decay, lambda.
        weight_decay: f64,
        /// Whether biases and norms are exempt from weight decay.
        exclude_bias_and_norm: bool,
    },
}

impl OptimizerSettings {
    /// Creates an optimizer for the parameters of a network.
    pub(super) fn optimizer(&self, layout: &Layout) -> Result<Optimizer> {
        let parameters = layout.parameters().iter().map(|parameter| TensorInfo {
            name: parameter.name.clone(),
            ndim: parameter.shape.len(),
            len: parameter.range.len(),
        });
        let parameters = parameters.collect();
        let group = |excluded: bool| if excluded { Group::Matrices } else { Group::All };
        match *self {
            Self::Sgd { momentum, nesterov, weight_decay, exclude_bias_and_norm } => {
                let decayed = group(exclude_bias_and_norm);
                Optimizer::new(Sgd { momentum, nesterov, weight_decay, decayed }, parameters)
            }
            Self::Lars { momentum, eta, weight_decay, exclude_bias_and_norm } => {
                let adapted = group(exclude_bias_and_norm);
                Optimizer::new(Lars { momentum, weight_decay, eta, adapted }, parameters)
            }
            Self::AdamW { weight_decay, exclude_bias_and_norm } => {
                let decayed = group(exclude_bias_and_norm);
                Optimizer::new(AdamW { weight_decay, decayed, ..AdamW::default() }, parameters)
            }
        }
    }
}
