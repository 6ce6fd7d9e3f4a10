//! BYOL (Grill et al. 2020, arXiv 2006.07733; deepmind-research `byol/`).
//!
//! ```text
//! p = q(g(f(left))), z' = g'(f'(right))              f, g online; f', g' the target, without a gradient
//! loss = 2 - 2 cos(p, z') + the same with the views exchanged
//! after the optimizer's step: target = tau target + (1 - tau) online
//! ```
use super::{
    Forward, Learning, Materials, Method, MethodSettings, ViewPairs, backbone, check_splits, check_widths, head,
    mean_cosine, predicted,
};
use crate::error::{Error, Result};
use crate::memory;
use crate::nn::{Hidden, Last, Mode, Network};
use crate::optim::{Averaging, ema};
use candle_core::Tensor;
use serde::Deserialize;

/// The settings of BYOL.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ByolSettings {
    /// Dimension of projections and predictions; 256 in the paper.
    pub dim: usize,
    /// Hidden dimension of projector and predictor; 4096 in the paper.
    pub hidden_dim: usize,
    /// Whether the last layers of projector and predictor have a bias: false in the paper's code, true in lightly's.
    pub last_bias: bool,
    /// Number of parts into which the batch is split, each with its own batch-norm statistics; usually 1.
    pub splits: usize,
    /// Factor by which the loss is multiplied; 1 in the paper. With 0.25, the loss is the mean of two negative cosines, up to a
    /// constant.
    pub loss_scale: f64,
    /// The initial value of the EMA coefficient tau.
    pub encoder_momentum: f64,
    /// The schedule of tau, "constant" or "cosine".
    pub encoder_momentum_schedule: Averaging,
}

/// BYOL with its networks.
pub struct Byol {
    /// The online network: backbone, projector, predictor.
    online: [Network; 3],
    target: [Network; 2],
    loss_scale: f64,
    splits: usize,
    /// The EMA coefficient tau of the current step.
    tau: f64,
}

impl MethodSettings for ByolSettings {
    fn check(&self) -> Result<()> {
        check_widths(&[("hidden_dim", self.hidden_dim), ("dim", self.dim)])?;
        check_splits(self.splits)?;
        if !(self.loss_scale > 0.0 && self.loss_scale.is_finite()) {
            return Err(Error::value("loss_scale", self.loss_scale, "must be a finite number > 0; the paper's is 1"));
        }
        self.encoder_momentum_schedule.check(self.encoder_momentum)
    }

    /// Counts the weights of projector and predictor, except layers whose size depends on the backbone. Gradients and optimizer
    /// state are counted too.
    fn held(&self) -> Result<usize> {
        memory::count("dim and hidden_dim", &[3, 3, self.hidden_dim, self.dim])
    }

    fn saved(&self) -> usize {
        self.hidden_dim.saturating_mul(self.dim)
    }

    /// Builds the method. The target is initially a copy of the online network; in the paper's code, the two are initialized
    /// separately.
    fn make(&self, mut materials: Materials) -> Result<Box<dyn Method>> {
        self.check()?;
        let &Self { dim, hidden_dim, last_bias, splits, loss_scale, encoder_momentum, .. } = self;
        let (norm, last) = (Hidden::BatchNorm { bias: true }, Last::Linear { bias: last_bias });
        let features = materials.backbone.features();
        let online = [
            backbone(&mut materials)?,
            head(&mut materials, &[features, hidden_dim, dim], norm, last)?,
            head(&mut materials, &[dim, hidden_dim, dim], norm, last)?,
        ];
        let target = [online[0].frozen()?, online[1].frozen()?];
        Ok(Box::new(Byol { online, target, loss_scale, splits, tau: encoder_momentum }))
    }
}

impl Byol {
    fn target(&self, x: &Tensor) -> Result<Tensor> {
        let ([backbone, projector], mode) = (&self.target, self.mode());
        Ok(projector.forward(&backbone.forward(x, mode)?, mode)?.detach())
    }

    fn mode(&self) -> Mode {
        Mode::Train { splits: self.splits }
    }
}

impl Method for Byol {
    fn splits(&self) -> usize {
        self.splits
    }

    fn begin(&mut self, _: &ViewPairs, tau: f64) -> Result<()> {
        self.tau = tau;
        Ok(())
    }

    fn represent(&self, views: &ViewPairs, _: usize) -> Result<Vec<Tensor>> {
        let (left, right) = (views.left()?, views.right()?);
        let [features, projections, of_left] = predicted(&self.online, &left, self.mode())?;
        let right_target = self.target(&right)?;
        let [_, _, of_right] = predicted(&self.online, &right, self.mode())?;
        Ok(vec![features, projections, of_left, right_target, of_right, self.target(&left)?])
    }

    fn loss(&self, rows: &[Tensor]) -> Result<Forward> {
        let [features, projections, of_left, right_target, of_right, left_target] = rows else { panic!("other rows") };
        let loss = ((loss(of_left, right_target)? + loss(of_right, left_target)?)? * self.loss_scale)?;
        Ok(Forward::new(loss, features, projections, vec![]))
    }

    fn after_update(&mut self) -> Result<()> {
        for (target, online) in self.target.iter().zip(&self.online) {
            online.read(|online| target.change(|target| ema(target, online, self.tau)))??;
        }
        Ok(())
    }

    fn learning(&self) -> Vec<Learning<'_>> {
        let [backbone, projector, predictor] = &self.online;
        vec![
            Learning::new("backbone", backbone),
            Learning::new("projector", projector),
            Learning::new("predictor", predictor),
        ]
    }

    fn following(&self) -> Vec<(&'static str, &Network)> {
        vec![("target_backbone", &self.target[0]), ("target_projector", &self.target[1])]
    }
}

/// The mean of `2 - 2 cos(p, z)` over the rows (equation 2 of the paper).
fn loss(p: &Tensor, z: &Tensor) -> Result<Tensor> {
    Ok(((mean_cosine(p, z)? * -2.0)? + 2.0)?)
}
