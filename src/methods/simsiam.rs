//! SimSiam (Chen and He 2021, arXiv 2011.10566; facebookresearch/simsiam).
//!
//! ```text
//! z = g(f(x)), p = h(z)                              for each view; z' is z without a gradient
//! loss = -(cos(p_left, z'_right) + cos(p_right, z'_left)) / 2
//! ```
//! With `fix_predictor_lr`, the learning rate of the predictor h is constant, at the peak of the schedule (section 4.2). The
//! learning rate of f and g follows the schedule.
use super::{
    Forward, Learning, MOST_LAYERS, Materials, Method, MethodSettings, ViewPairs, backbone, check_count, check_splits,
    check_widths, head, mean_cosine, predicted,
};
use crate::error::Result;
use crate::memory;
use crate::nn::{Hidden, Last, Mode, Network};
use candle_core::Tensor;
use serde::Deserialize;

/// The settings of SimSiam.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimSiamSettings {
    /// Dimension of projections and predictions; 2048 in the paper.
    pub dim: usize,
    /// Hidden dimension of the projector; 2048 in the paper.
    pub hidden_dim: usize,
    /// Number of linear layers of the projector, each followed by a batch norm: 3, or 2 for CIFAR.
    pub layers: usize,
    /// Hidden dimension of the predictor, which has two layers; 512 in the paper.
    pub predictor_dim: usize,
    /// Number of parts into which the batch is split, each with its own batch-norm statistics; usually 1.
    pub splits: usize,
    /// Whether the learning rate of the predictor is constant instead of following the schedule.
    pub fix_predictor_lr: bool,
}

/// SimSiam with its networks.
pub struct SimSiam {
    settings: SimSiamSettings,
    /// Backbone, projector, predictor.
    networks: [Network; 3],
}

impl MethodSettings for SimSiamSettings {
    fn check(&self) -> Result<()> {
        let &Self { dim, hidden_dim, layers, predictor_dim, .. } = self;
        check_widths(&[("dim", dim), ("hidden_dim", hidden_dim), ("predictor_dim", predictor_dim)])?;
        check_count("layers", layers, MOST_LAYERS)?;
        check_splits(self.splits)
    }

    fn held(&self) -> Result<usize> {
        let of = |widths: &[usize]| memory::count("dim, hidden_dim and predictor_dim", widths);
        let &Self { dim, hidden_dim, layers, predictor_dim, .. } = self;
        let hidden = of(&[3, layers.saturating_sub(2), hidden_dim, hidden_dim])?;
        Ok(of(&[3, 2, predictor_dim, dim])?.saturating_add(hidden))
    }

    fn saved(&self) -> usize {
        self.predictor_dim.saturating_mul(self.dim)
    }

    fn make(&self, mut materials: Materials) -> Result<Box<dyn Method>> {
        self.check()?;
        let &Self { dim, hidden_dim, layers, predictor_dim, .. } = self;
        let mut sizes = vec![hidden_dim; layers + 1];
        (sizes[0], sizes[layers]) = (materials.backbone.features(), dim);
        let norm = Hidden::BatchNorm { bias: false };
        let networks = [
            backbone(&mut materials)?,
            head(&mut materials, &sizes, norm, Last::Norm { affine: false })?,
            head(&mut materials, &[dim, predictor_dim, dim], norm, Last::Linear { bias: true })?,
        ];
        Ok(Box::new(SimSiam { settings: *self, networks }))
    }
}

impl Method for SimSiam {
    fn splits(&self) -> usize {
        self.settings.splits
    }

    fn begin(&mut self, _: &ViewPairs, _: f64) -> Result<()> {
        Ok(())
    }

    fn represent(&self, views: &ViewPairs, _: usize) -> Result<Vec<Tensor>> {
        let mode = Mode::Train { splits: self.settings.splits };
        let [features, projections, of_left] = predicted(&self.networks, &views.left()?, mode)?;
        let [_, others, of_right] = predicted(&self.networks, &views.right()?, mode)?;
        Ok(vec![features, projections, of_left, others, of_right])
    }

    fn loss(&self, rows: &[Tensor]) -> Result<Forward> {
        let [features, projections, of_left, others, of_right] = rows else { panic!("other rows") };
        let one = mean_cosine(of_left, &others.detach())?;
        let other = mean_cosine(of_right, &projections.detach())?;
        Ok(Forward::new(((one + other)? * -0.5)?, features, projections, vec![]))
    }

    fn learning(&self) -> Vec<Learning<'_>> {
        let [backbone, projector, predictor] = &self.networks;
        let fixed_lr = self.settings.fix_predictor_lr;
        vec![
            Learning::new("backbone", backbone),
            Learning::new("projector", projector),
            Learning { fixed_lr, ..Learning::new("predictor", predictor) },
        ]
    }
}
