//! SimCLR (Chen et al. 2020, arXiv 2002.05709; google-research/simclr).
//!
//! ```text
//! z = g(f(x)) of both views in one batch, normalized
//! loss = -log exp(z_i z_j / T) / sum over k != i of exp(z_i z_k / T), on average over all i, j the other view of i
//! ```
use super::{Forward, Method, ViewPairs, backbone, head, nt_xent};
use crate::encoders::EncoderSettings;
use crate::error::{Error, Result};
use crate::nn::{Engine, Hidden, Mode, Network};
use crate::random::Generator;

/// The settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SimClrSettings {
    /// Numbers between the projector's layers; 2048.
    pub hidden: usize,
    /// Numbers of a projection; 128.
    pub dim: usize,
    /// Linear layers of the projector, each with a batch norm: 2 in the paper, 3 in its code.
    pub layers: usize,
    /// T; 0.1.
    pub temperature: f64,
}

/// The method.
pub struct SimClr {
    settings: SimClrSettings,
    backbone: Network,
    projector: Network,
}

const MODE: Mode = Mode::Train { splits: 1 };

impl SimClr {
    /// With parameters as they begin.
    ///
    /// # Errors
    /// Settings that cannot be.
    pub fn new(
        engine: Engine,
        encoder: EncoderSettings,
        settings: SimClrSettings,
        generator: &mut Generator,
    ) -> Result<Self> {
        let SimClrSettings { hidden, dim, layers, temperature } = settings;
        for (name, n) in [("hidden_dim", hidden), ("dim", dim), ("layers", layers)] {
            if n == 0 {
                return Err(Error::value(name, n, "at least 1"));
            }
        }
        if !(temperature > 0.0 && temperature.is_finite()) {
            return Err(Error::value("temperature", temperature, "a number above 0"));
        }
        let mut sizes = vec![hidden; layers + 1];
        (sizes[0], sizes[layers]) = (encoder.arch.features(), dim);
        let norm = Hidden::BatchNorm { bias: false };
        Ok(Self {
            settings,
            backbone: backbone(engine, encoder, generator)?,
            projector: head(engine, &sizes, norm, (true, false), generator)?,
        })
    }
}

impl Method for SimClr {
    fn forward(&mut self, views: &ViewPairs, _: f64) -> Result<Forward> {
        let features = self.backbone.forward(views.both(), MODE)?;
        let z = self.projector.forward(&features, MODE)?;
        let (loss, accuracy) = nt_xent(&z, self.settings.temperature)?;
        let [features, projections] = [features, z].map(|rows| rows.narrow(0, 0, views.images()));
        let watched = vec![("contrastive_accuracy", accuracy)];
        Ok(Forward { loss, features: features?, projections: projections?, watched })
    }

    fn learning(&self) -> Vec<(&'static str, &Network)> {
        vec![("backbone", &self.backbone), ("projector", &self.projector)]
    }
}
