//! SimCLR (Chen et al. 2020, arXiv 2002.05709; google-research/simclr).
//!
//! ```text
//! z = g(f(x)) of both views in one batch, normalized
//! loss = -log exp(z_i z_j / T) / sum over k != i of exp(z_i z_k / T), on average over all i, j the other view of i
//! ```
use super::{
    Forward, Learning, MOST_LAYERS, Materials, Method, MethodSettings, ViewPairs, backbone, check_count,
    check_temperature, check_widths, head, nt_xent,
};
use crate::error::Result;
use crate::memory;
use crate::nn::{Hidden, Last, Mode, Network};
use serde::Deserialize;

/// The settings.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimClrSettings {
    /// Values of a projection; 128.
    pub dim: usize,
    /// Values between the projector's layers; 2048.
    pub hidden_dim: usize,
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

impl MethodSettings for SimClrSettings {
    fn check(&self) -> Result<()> {
        check_widths(&[("hidden_dim", self.hidden_dim), ("dim", self.dim)])?;
        check_count("layers", self.layers, MOST_LAYERS)?;
        check_temperature(self.temperature)
    }

    fn held(&self) -> Result<usize> {
        let of = |widths: &[usize]| memory::count("dim and hidden_dim", widths);
        let &Self { dim, hidden_dim, layers, .. } = self;
        Ok(of(&[3, hidden_dim, dim])?.saturating_add(of(&[3, layers.saturating_sub(2), hidden_dim, hidden_dim])?))
    }

    fn saved(&self) -> usize {
        if self.layers < 2 { 0 } else { self.hidden_dim.saturating_mul(self.dim) }
    }

    fn make(&self, mut materials: Materials) -> Result<Box<dyn Method>> {
        self.check()?;
        let &Self { dim, hidden_dim, layers, .. } = self;
        let mut sizes = vec![hidden_dim; layers + 1];
        (sizes[0], sizes[layers]) = (materials.backbone.features(), dim);
        let norm = Hidden::BatchNorm { bias: false };
        Ok(Box::new(SimClr {
            settings: *self,
            backbone: backbone(&mut materials)?,
            projector: head(&mut materials, &sizes, norm, Last::Norm { affine: true })?,
        }))
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

    fn learning(&self) -> Vec<Learning<'_>> {
        vec![Learning::new("backbone", &self.backbone), Learning::new("projector", &self.projector)]
    }
}
