//! SimCLR (Chen et al. 2020, arXiv 2002.05709; google-research/simclr).
//!
//! ```text
//! z = g(f(x)) of both views in one batch, normalized
//! loss = -log exp(z_i z_j / T) / sum over k != i of exp(z_i z_k / T), averaged over all i; j is the other view of i
//! ```
//! If `splits` is greater than 1, the batch is split into parts, each with its own batch-norm statistics. Each part contains
//! both views of its images, as if the part were on a separate device.
use super::{
    Forward, Learning, MOST_LAYERS, Materials, Method, MethodSettings, ViewPairs, backbone, check_count, check_splits,
    check_temperature, check_widths, head, nt_xent,
};
use crate::error::Result;
use crate::memory;
use crate::nn::{Hidden, Last, Mode, Network};
use candle_core::{Device, Tensor};
use serde::Deserialize;

/// The settings of SimCLR.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimClrSettings {
    /// Dimension of projections; 128 in the paper.
    pub dim: usize,
    /// Hidden dimension of the projector; 2048 for a ResNet-50.
    pub hidden_dim: usize,
    /// Number of linear layers of the projector, each followed by a batch norm: 2 in the paper, 3 in its code.
    pub layers: usize,
    /// The temperature T; usually 0.1.
    pub temperature: f64,
    /// Number of parts into which the batch is split, each with its own batch-norm statistics; usually 1.
    pub splits: usize,
}

/// SimCLR with its networks.
pub struct SimClr {
    settings: SimClrSettings,
    backbone: Network,
    projector: Network,
}

impl MethodSettings for SimClrSettings {
    fn check(&self) -> Result<()> {
        check_widths(&[("hidden_dim", self.hidden_dim), ("dim", self.dim)])?;
        check_count("layers", self.layers, MOST_LAYERS)?;
        check_splits(self.splits)?;
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
    fn splits(&self) -> usize {
        self.settings.splits
    }

    fn begin(&mut self, _: &ViewPairs, _: f64) -> Result<()> {
        Ok(())
    }

    fn represent(&self, views: &ViewPairs, _: usize) -> Result<Vec<Tensor>> {
        let (mode, n) = (Mode::Train { splits: self.settings.splits }, views.images());
        let parts = self.settings.splits / self.backbone.pieces();
        let order = if parts == 1 { None } else { Some(by_parts(n, parts)?) };
        let x =
            order.as_ref().map_or_else(|| Ok(views.both().clone()), |[order, _]| views.both().index_select(order, 0));
        let features = self.backbone.forward(&x?, mode)?;
        let z = self.projector.forward(&features, mode)?;
        let back = |rows: Tensor| order.as_ref().map_or(Ok(rows.clone()), |[_, back]| rows.index_select(back, 0));
        let (features, z) = (back(features)?, back(z)?);
        Ok(vec![features.narrow(0, 0, n)?, z.narrow(0, 0, n)?, z.narrow(0, n, n)?])
    }

    fn loss(&self, rows: &[Tensor]) -> Result<Forward> {
        let [features, left, right] = rows else { panic!("other rows") };
        let (loss, accuracy) = nt_xent(&Tensor::cat(&[left, right], 0)?, self.settings.temperature)?;
        Ok(Forward::new(loss, features, left, vec![("contrastive_accuracy", accuracy)]))
    }

    fn by_rows(&self) -> bool {
        false
    }

    fn learning(&self) -> Vec<Learning<'_>> {
        vec![Learning::new("backbone", &self.backbone), Learning::new("projector", &self.projector)]
    }
}

/// Returns a permutation of the `2 n` views, and its inverse. The permutation makes the views of each part contiguous, left
/// views first.
fn by_parts(n: usize, parts: usize) -> Result<[Tensor; 2]> {
    let size = n / parts;
    let order =
        (0..parts).flat_map(|part| (0..2).flat_map(move |view| view * n + part * size..view * n + (part + 1) * size));
    let order: Vec<u32> = order.map(|row| row as u32).collect();
    let mut back = vec![0; 2 * n];
    order.iter().enumerate().for_each(|(at, &row)| back[row as usize] = at as u32);
    let tensor = |rows| Tensor::from_vec(rows, 2 * n, &Device::Cpu);
    Ok([tensor(order)?, tensor(back)?])
}
