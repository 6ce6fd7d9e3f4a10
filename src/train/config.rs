//! The settings of a run that decide what is learnt: one flat list, of which each method reads its own.
use crate::encoders::{Arch, EncoderSettings};
use crate::error::{Error, Result};
use crate::memory;
use crate::nn::Layout;
use crate::optim::{AdamW, Group, Lars, Optimizer, Sgd, TensorInfo};
use serde::{Deserialize, Serialize};

/// The settings, as `sassl.pretraining.Config` gives them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// "moco-v2", "byol" or "simclr".
    pub method: String,
    /// torchvision's name of a ResNet.
    pub arch: String,
    /// CIFAR's stem.
    pub small_stem: bool,
    /// Blocks begin as their shortcuts.
    pub zero_init_residual: bool,
    /// Numbers of a projection.
    pub dim: usize,
    /// Numbers between the layers of heads (BYOL, SimCLR).
    pub hidden_dim: usize,
    /// Layers of the projector (SimCLR).
    pub layers: usize,
    /// Of the softmax (MoCo, SimCLR).
    pub temperature: f64,
    /// Keys in the queue (MoCo).
    pub queue_size: usize,
    /// Parts of the batch for norms (MoCo).
    pub splits: usize,
    /// Whether each view is the query once (MoCo).
    pub symmetric: bool,
    /// Two layers in the projector (MoCo).
    pub mlp: bool,
    /// "sgd", "lars" or "adamw".
    pub optimizer: String,
    /// Of SGD.
    pub nesterov: bool,
    /// LARS' trust coefficient.
    pub eta: f64,
    /// Of SGD and LARS.
    pub momentum: f64,
    /// Of all.
    pub weight_decay: f64,
    /// Biases and norms are neither decayed nor adapted.
    pub exclude_bias_and_norm: bool,
    /// Of the first parameters and of all that is drawn.
    pub seed: u64,
}

impl Config {
    pub(super) fn encoder(&self) -> Result<EncoderSettings> {
        let &Self { small_stem, zero_init_residual, .. } = self;
        Ok(EncoderSettings { arch: Arch::named(&self.arch)?, small_stem, zero_init_residual })
    }

    /// Numbers of its heads and its queue, as far as its widths alone decide them: a trainer holds these at least.
    ///
    /// # Errors
    /// More than can be counted.
    pub(super) fn numbers(&self) -> Result<usize> {
        let &Self { dim, hidden_dim, queue_size, layers, .. } = self;
        let of = |widths: &[usize]| memory::count("dim and hidden_dim", widths);
        let most = match &self.method[..] {
            "moco-v2" => of(&[queue_size, dim])?,
            // Projector and predictor, and the gradient and the memory of both.
            "byol" => of(&[3, 3, hidden_dim, dim])?,
            "simclr" => {
                of(&[3, hidden_dim, dim])?.saturating_add(of(&[3, layers.saturating_sub(2), hidden_dim, hidden_dim])?)
            }
            _ => 0,
        };
        Ok(most)
    }

    pub(super) fn optimizer(&self, layout: &Layout) -> Result<Optimizer> {
        let &Self { nesterov, eta, momentum, weight_decay, exclude_bias_and_norm, .. } = self;
        let group = if exclude_bias_and_norm { Group::Matrices } else { Group::All };
        let parameters = layout.parameters().iter().map(|parameter| TensorInfo {
            name: parameter.name.clone(),
            ndim: parameter.shape.len(),
            len: parameter.range.len(),
        });
        let parameters = parameters.collect();
        match &self.optimizer[..] {
            "sgd" => Optimizer::new(Sgd { momentum, nesterov, weight_decay, decayed: group }, parameters),
            "lars" => Optimizer::new(Lars { momentum, weight_decay, eta, adapted: group }, parameters),
            "adamw" => Optimizer::new(AdamW { weight_decay, decayed: group, ..AdamW::default() }, parameters),
            other => {
                let remedy = "there are \"sgd\", \"lars\" and \"adamw\"";
                Err(Error::value("optimizer", format!("{other:?}"), remedy))
            }
        }
    }
}
