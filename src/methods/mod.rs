//! What is learnt from two views, a file for each paper: networks, loss, and who follows whom.
mod byol;
mod losses;
mod moco;
mod simclr;

pub use byol::{Byol, ByolSettings};
pub use losses::{info_nce, negative_cosine, normalized, nt_xent, spread};
pub use moco::{Moco, MocoSettings};
pub use simclr::{SimClr, SimClrSettings};

use crate::encoders::{EncoderSettings, resnet};
use crate::error::{Error, Result};
use crate::nn::{Engine, Hidden, Layout, Mlp, Network};
use crate::random::Generator;
use candle_core::Tensor;
use std::sync::Arc;

/// Two views of each image of a batch: `[2 n, height, width, 3]`, all the left ones first.
#[derive(Clone, Debug)]
pub struct ViewPairs(Tensor);

impl ViewPairs {
    /// Of such a tensor.
    ///
    /// # Panics
    /// If it has an odd number of images.
    pub fn new(both: Tensor) -> Self {
        assert!(both.dims().first().is_some_and(|n| n.is_multiple_of(2)), "views of {:?}", both.shape());
        Self(both)
    }

    /// How many images.
    pub fn images(&self) -> usize {
        self.0.dims()[0] / 2
    }

    /// All views.
    pub fn both(&self) -> &Tensor {
        &self.0
    }

    /// Those of the query's or the online network.
    ///
    /// # Errors
    /// candle's.
    pub fn left(&self) -> Result<Tensor> {
        Ok(self.0.narrow(0, 0, self.images())?)
    }

    /// The others.
    ///
    /// # Errors
    /// candle's.
    pub fn right(&self) -> Result<Tensor> {
        Ok(self.0.narrow(0, self.images(), self.images())?)
    }
}

/// What the forward pass of a step gives.
#[derive(Clone, Debug)]
pub struct Forward {
    /// The loss, a scalar of candle's graph.
    pub loss: Tensor,
    /// The left views' features.
    pub features: Tensor,
    /// The left views' projections, by the network that learns.
    pub projections: Tensor,
    /// What else is watched, by name.
    pub watched: Vec<(&'static str, f32)>,
}

/// A method with its networks.
pub trait Method: Send + Sync {
    /// Whether steps of so many images can be.
    ///
    /// # Errors
    /// They cannot.
    fn check_batch(&self, batch: usize) -> Result<()> {
        if batch < 2 {
            return Err(Error::value("batch_size", batch, "at least 2: batch norm and negatives take other images"));
        }
        Ok(())
    }

    /// The loss of two views. `m` is how far a momentum encoder stays what it is.
    ///
    /// # Errors
    /// A batch that does not fit, or candle's.
    fn forward(&mut self, views: &ViewPairs, m: f64) -> Result<Forward>;

    /// What comes after the optimizers have updated the networks that learn.
    ///
    /// # Errors
    /// candle's.
    fn after_update(&mut self, _m: f64) -> Result<()> {
        Ok(())
    }

    /// Networks that learn, by name; the first is the backbone.
    fn learning(&self) -> Vec<(&'static str, &Network)>;

    /// Networks that follow.
    fn following(&self) -> Vec<(&'static str, &Network)> {
        vec![]
    }

    /// Names and shapes of what else a continued run needs.
    fn entries(&self) -> Vec<(&'static str, Vec<usize>)> {
        vec![]
    }

    /// Those values, in the same order.
    ///
    /// # Errors
    /// candle's.
    fn state(&self) -> Result<Vec<Vec<f32>>> {
        Ok(vec![])
    }

    /// Goes on from such values.
    ///
    /// # Errors
    /// Values that cannot be; nothing is changed then.
    ///
    /// # Panics
    /// If there are others than [`Method::entries`] tells, or of another length.
    fn load_state(&mut self, _state: &[&[f32]]) -> Result<()> {
        Ok(())
    }
}

/// A backbone with its numbers.
fn backbone(engine: Engine, encoder: EncoderSettings, generator: &mut Generator) -> Result<Network> {
    let mut layout = Layout::default();
    let body = resnet(&mut layout, engine, encoder);
    Network::new(Arc::new(body), layout, generator)
}

/// A head with its numbers.
fn head(
    engine: Engine,
    sizes: &[usize],
    hidden: Hidden,
    last: (bool, bool),
    generator: &mut Generator,
) -> Result<Network> {
    let mut layout = Layout::default();
    let body = Mlp::new(&mut layout, engine, sizes, hidden, last);
    Network::new(Arc::new(body), layout, generator)
}
