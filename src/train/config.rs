//! The settings of a run that decide what is learnt, nested as `sassl.pretraining.Config` is.
use crate::error::Result;
use crate::nn::Layout;
use crate::optim::{AdamW, Group, Lars, Optimizer, Sgd, TensorInfo};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The settings, as `sassl.pretraining.Config` gives them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// A method's name and its own settings: [`crate::methods::settings`].
    pub method: Value,
    /// A backbone's name and its own settings: [`crate::encoders::build`].
    pub backbone: Value,
    /// How weights move.
    pub optimizer: OptimizerSettings,
    /// Of the first parameters and of all that is drawn.
    pub seed: u64,
    /// What the loop over batches reads, and nothing here: where batches come from.
    #[serde(default, skip_serializing)]
    pub data: IgnoredAny,
    /// And how rates go.
    #[serde(default, skip_serializing)]
    pub schedule: IgnoredAny,
    /// And what the backbone began with.
    #[serde(default, skip_serializing)]
    pub init: IgnoredAny,
}

/// The optimizer and its own settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase", deny_unknown_fields)]
pub enum OptimizerSettings {
    /// [`crate::optim::Sgd`].
    Sgd {
        /// mu.
        momentum: f64,
        /// Whether it looks one step ahead.
        nesterov: bool,
        /// lambda.
        weight_decay: f64,
        /// Biases and norms are not decayed.
        exclude_bias_and_norm: bool,
    },
    /// [`crate::optim::Lars`].
    Lars {
        /// mu.
        momentum: f64,
        /// The trust coefficient.
        eta: f64,
        /// lambda.
        weight_decay: f64,
        /// Biases and norms are neither decayed nor adapted.
        exclude_bias_and_norm: bool,
    },
    /// [`crate::optim::AdamW`].
    AdamW {
        /// lambda.
        weight_decay: f64,
        /// Biases and norms are not decayed.
        exclude_bias_and_norm: bool,
    },
}

impl OptimizerSettings {
    /// Of a network's tensors.
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
