//! BYOL (Grill et al. 2020, arXiv 2006.07733; deepmind-research `byol/`).
//!
//! ```text
//! p = q(g(f(left))), z' = g'(f'(right))              f, g online; f', g' the target, without a gradient
//! loss = 2 - 2 cos(p, z') + the same of the views exchanged
//! after the optimizer's step: target = tau target + (1 - tau) online
//! ```
use super::{Forward, Method, ViewPairs, backbone, head, negative_cosine};
use crate::encoders::EncoderSettings;
use crate::error::{Error, Result};
use crate::nn::{Engine, Hidden, Mode, Network};
use crate::optim::ema;
use crate::random::Generator;
use candle_core::Tensor;

/// The settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ByolSettings {
    /// Numbers between the layers of projector and predictor; 4096.
    pub hidden: usize,
    /// Numbers of a projection; 256.
    pub dim: usize,
}

/// The method.
pub struct Byol {
    /// Backbone, projector, predictor.
    online: [Network; 3],
    target: [Network; 2],
}

const MODE: Mode = Mode::Train { splits: 1 };

impl Byol {
    /// With parameters as they begin; the target begins as the online network (its code draws it anew).
    ///
    /// # Errors
    /// Settings that cannot be.
    pub fn new(
        engine: Engine,
        encoder: EncoderSettings,
        settings: ByolSettings,
        generator: &mut Generator,
    ) -> Result<Self> {
        let ByolSettings { hidden, dim } = settings;
        for (name, n) in [("hidden_dim", hidden), ("dim", dim)] {
            if n == 0 {
                return Err(Error::value(name, n, "at least 1"));
            }
        }
        let norm = Hidden::BatchNorm { bias: true };
        let online = [
            backbone(engine, encoder, generator)?,
            head(engine, &[encoder.arch.features(), hidden, dim], norm, (false, false), generator)?,
            head(engine, &[dim, hidden, dim], norm, (false, false), generator)?,
        ];
        let target = [online[0].frozen()?, online[1].frozen()?];
        Ok(Self { online, target })
    }

    /// Features, projections, predictions.
    fn online(&self, x: &Tensor) -> Result<[Tensor; 3]> {
        let [backbone, projector, predictor] = &self.online;
        let features = backbone.forward(x, MODE)?;
        let projections = projector.forward(&features, MODE)?;
        let predictions = predictor.forward(&projections, MODE)?;
        Ok([features, projections, predictions])
    }

    fn target(&self, x: &Tensor) -> Result<Tensor> {
        let [backbone, projector] = &self.target;
        Ok(projector.forward(&backbone.forward(x, MODE)?, MODE)?.detach())
    }
}

impl Method for Byol {
    fn forward(&mut self, views: &ViewPairs, _: f64) -> Result<Forward> {
        let (left, right) = (views.left()?, views.right()?);
        let [features, projections, prediction] = self.online(&left)?;
        let one = negative_cosine(&prediction, &self.target(&right)?)?;
        let [_, _, prediction] = self.online(&right)?;
        let other = negative_cosine(&prediction, &self.target(&left)?)?;
        Ok(Forward { loss: (one + other)?, features, projections, watched: vec![] })
    }

    fn after_update(&mut self, m: f64) -> Result<()> {
        for (target, online) in self.target.iter().zip(&self.online) {
            online.read(|online| target.change(|target| ema(target, online, m)))??;
        }
        Ok(())
    }

    fn learning(&self) -> Vec<(&'static str, &Network)> {
        let [backbone, projector, predictor] = &self.online;
        vec![("backbone", backbone), ("projector", projector), ("predictor", predictor)]
    }

    fn following(&self) -> Vec<(&'static str, &Network)> {
        vec![("target_backbone", &self.target[0]), ("target_projector", &self.target[1])]
    }
}
