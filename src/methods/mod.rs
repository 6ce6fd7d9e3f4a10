//! The pretraining methods, one file per paper: settings, networks, losses and momentum encoders.
mod byol;
mod losses;
mod moco;
mod simclr;
mod simsiam;

pub use byol::{Byol, ByolSettings};
pub use losses::{info_nce, mean_cosine, normalized, nt_xent, spread};
pub use moco::{Moco, MocoSettings, key_order};
pub use simclr::{SimClr, SimClrSettings};
pub use simsiam::{SimSiam, SimSiamSettings};

use crate::encoders::Backbone;
use crate::error::{Error, Result};
use crate::nn::{Engine, Hidden, Last, Layout, Mlp, Mode, Network};
use crate::parts::{self, Row, own};
use crate::random::Generator;
use candle_core::Tensor;
use serde_json::Value;
use std::sync::Arc;

/// All methods.
pub const METHODS: &[Row<dyn MethodSettings>] = &[
    Row { name: "moco-v2", read: |name, settings| Ok(Box::new(own::<MocoSettings>(name, settings)?)) },
    Row { name: "byol", read: |name, settings| Ok(Box::new(own::<ByolSettings>(name, settings)?)) },
    Row { name: "simclr", read: |name, settings| Ok(Box::new(own::<SimClrSettings>(name, settings)?)) },
    Row { name: "simsiam", read: |name, settings| Ok(Box::new(own::<SimSiamSettings>(name, settings)?)) },
];

/// Reads a method's settings from JSON: `{"name": "byol", ...}`.
///
/// # Errors
/// The name is missing or not in [`METHODS`], or a setting is missing, unknown or of the wrong type.
pub fn settings(json: &Value) -> Result<Box<dyn MethodSettings>> {
    parts::read("method", json, METHODS)
}

/// The parts, besides its settings, from which a method is built.
pub struct Materials<'a> {
    /// The engine that the networks compute with.
    pub engine: Engine,
    /// The specification of the backbone.
    pub backbone: &'a dyn Backbone,
    /// The seed of all random draws during training.
    pub seed: u64,
    /// The generator of initial parameters.
    pub generator: &'a mut Generator,
}

/// The settings of a method.
pub trait MethodSettings: Send + Sync {
    /// Checks the settings.
    ///
    /// # Errors
    /// A setting is invalid; the error names the first such setting.
    fn check(&self) -> Result<()>;

    /// A lower bound on the number of values that a trainer keeps in memory. Only values of the heads and the queue are
    /// counted, and only if their number does not depend on the backbone.
    ///
    /// # Errors
    /// The number overflows a `usize`.
    fn held(&self) -> Result<usize>;

    /// A lower bound on the number of values in a checkpoint of the method, for any backbone.
    fn saved(&self) -> usize;

    /// Builds the method with initial parameters.
    ///
    /// # Errors
    /// A setting is invalid, or a candle operation fails.
    fn make(&self, materials: Materials) -> Result<Box<dyn Method>>;
}

/// Two views of each image in a batch, `[2 n, height, width, 3]`: all left views, then all right views.
#[derive(Clone, Debug)]
pub struct ViewPairs(Tensor);

impl ViewPairs {
    /// Wraps a tensor `[2 n, height, width, 3]`.
    ///
    /// # Panics
    /// If the tensor has an odd number of views.
    pub fn new(both: Tensor) -> Self {
        assert!(both.dims().first().is_some_and(|n| n.is_multiple_of(2)), "views of {:?}", both.shape());
        Self(both)
    }

    /// The number of images.
    pub fn images(&self) -> usize {
        self.0.dims()[0] / 2
    }

    /// All views.
    pub fn both(&self) -> &Tensor {
        &self.0
    }

    /// Returns `n` pairs of views, starting with pair `first`.
    ///
    /// # Errors
    /// A candle operation fails.
    pub fn part(&self, first: usize, n: usize) -> Result<Self> {
        Ok(Self(Tensor::cat(&[self.left()?.narrow(0, first, n)?, self.right()?.narrow(0, first, n)?], 0)?))
    }

    /// The left views, from which MoCo's asymmetric loss takes its queries.
    ///
    /// # Errors
    /// A candle operation fails.
    pub fn left(&self) -> Result<Tensor> {
        Ok(self.0.narrow(0, 0, self.images())?)
    }

    /// The right views, from which MoCo's asymmetric loss takes its keys.
    ///
    /// # Errors
    /// A candle operation fails.
    pub fn right(&self) -> Result<Tensor> {
        Ok(self.0.narrow(0, self.images(), self.images())?)
    }
}

/// The result of a step's forward pass.
#[derive(Clone, Debug)]
pub struct Forward {
    /// The loss, a scalar in candle's graph.
    pub loss: Tensor,
    /// The features of the left views.
    pub features: Tensor,
    /// The projections of the left views by the trained networks.
    pub projections: Tensor,
    /// Other metrics, by name.
    pub watched: Vec<(&'static str, f32)>,
}

impl Forward {
    /// Creates a result from a loss, the features and projections of the left views, and other metrics.
    pub fn new(loss: Tensor, features: &Tensor, projections: &Tensor, watched: Vec<(&'static str, f32)>) -> Self {
        Self { loss, features: features.clone(), projections: projections.clone(), watched }
    }
}

/// A trained network, and the settings of its learning rate.
#[derive(Clone, Copy)]
pub struct Learning<'a> {
    /// The network's name in states and files.
    pub name: &'static str,
    /// The network.
    pub network: &'a Network,
    /// The factor by which the network's learning rate is multiplied.
    pub lr_scale: f64,
    /// Whether the learning rate stays at the peak of the schedule instead of following the schedule.
    pub fixed_lr: bool,
}

impl<'a> Learning<'a> {
    /// Creates an entry for a network whose learning rate follows the schedule.
    pub fn new(name: &'static str, network: &'a Network) -> Self {
        Self { name, network, lr_scale: 1.0, fixed_lr: false }
    }
}

/// A method with its networks.
pub trait Method: Send + Sync {
    /// Number of parts into which the batch is split, each with its own batch-norm statistics.
    fn splits(&self) -> usize;

    /// Checks that this batch size is supported.
    ///
    /// # Errors
    /// The batch has fewer than 2 images, or cannot be split into equal parts of at least 2 images.
    fn check_batch(&self, batch: usize) -> Result<()> {
        let splits = self.splits();
        if splits > 1 && (!batch.is_multiple_of(splits) || batch / splits < 2) {
            let requirement = format!("must divide the batch of {batch} into equal parts of at least 2 images");
            return Err(Error::value("splits", splits, requirement));
        }
        if batch < 2 {
            let requirement = "must be an integer >= 2, as batch norm and negatives need other images";
            return Err(Error::value("batch_size", batch, requirement));
        }
        Ok(())
    }

    /// Begins a step. A method may update its momentum encoder here. It may also compute targets that need no gradient, for all
    /// pairs of views at once. `m` is the EMA coefficient of the momentum encoder, if there is one.
    ///
    /// # Errors
    /// A candle operation fails.
    fn begin(&mut self, _views: &ViewPairs, m: f64) -> Result<()>;

    /// Computes the inputs of the loss: tensors with a row for each pair of views. The first tensor is the features of the left
    /// views, the second the projections of the left views; all other inputs follow.
    ///
    /// `views` contains all pairs of the step, or some of them, starting with pair `first`.
    ///
    /// # Errors
    /// A candle operation fails.
    fn represent(&self, views: &ViewPairs, first: usize) -> Result<Vec<Tensor>>;

    /// Computes the loss from the rows returned by [`Method::represent`].
    ///
    /// # Errors
    /// A candle operation fails.
    fn loss(&self, rows: &[Tensor]) -> Result<Forward>;

    /// Returns whether the loss is a mean of one term per row, where no term depends on other rows.
    fn by_rows(&self) -> bool {
        true
    }

    /// Ends a step, after the optimizers have updated the trained networks.
    ///
    /// # Errors
    /// A candle operation fails.
    fn after_update(&mut self) -> Result<()> {
        Ok(())
    }

    /// The trained networks; the first is the backbone.
    fn learning(&self) -> Vec<Learning<'_>>;

    /// The networks of the momentum encoder, by name; empty if there is none.
    fn following(&self) -> Vec<(&'static str, &Network)> {
        vec![]
    }

    /// Names and shapes of the method's own tensors that are needed to resume, besides its networks.
    fn entries(&self) -> Vec<(&'static str, Vec<usize>)> {
        vec![]
    }

    /// The values of the tensors listed by [`Method::entries`], in the same order.
    ///
    /// # Errors
    /// A candle operation fails.
    fn state(&self) -> Result<Vec<Vec<f32>>> {
        Ok(vec![])
    }

    /// Loads the values returned by [`Method::state`].
    ///
    /// # Errors
    /// A value is invalid; the method is unchanged in that case.
    ///
    /// # Panics
    /// If the number of entries or their lengths differ from [`Method::entries`].
    fn load_state(&mut self, _state: &[&[f32]]) -> Result<()> {
        Ok(())
    }
}

/// The maximum width of a layer of a head. A larger width is a mistake, and could need more memory than any machine has.
const MOST: usize = 1 << 16;

/// The maximum number of layers of a projector; papers use 2 and 3.
const MOST_LAYERS: usize = 16;

/// Checks that widths of heads are from 1 to [`MOST`].
fn check_widths(widths: &[(&str, usize)]) -> Result<()> {
    widths.iter().try_for_each(|&(name, n)| check_count(name, n, MOST))
}

fn check_count(name: &str, n: usize, most: usize) -> Result<()> {
    match n {
        0 => Err(Error::value(name, n, "must be an integer >= 1")),
        _ if n > most => Err(Error::value(name, n, format!("must be at most {most}"))),
        _ => Ok(()),
    }
}

/// Checks that `splits` is at least 1; [`Method::check_batch`] checks that a batch can be split evenly.
fn check_splits(splits: usize) -> Result<()> {
    check_count("splits", splits, usize::MAX)
}

fn check_temperature(temperature: f64) -> Result<()> {
    match temperature > 0.0 && temperature.is_finite() {
        true => Ok(()),
        false => Err(Error::value("temperature", temperature, "must be a finite number > 0")),
    }
}

/// Builds the backbone with initial parameters.
fn backbone(materials: &mut Materials) -> Result<Network> {
    let mut layout = Layout::default();
    let body = materials.backbone.body(&mut layout, materials.engine);
    Network::new(body, layout, materials.generator)
}

/// Builds a head with initial parameters.
fn head(materials: &mut Materials, sizes: &[usize], hidden: Hidden, last: Last) -> Result<Network> {
    let mut layout = Layout::default();
    let body = Mlp::new(&mut layout, materials.engine, sizes, hidden, last);
    Network::new(Arc::new(body), layout, materials.generator)
}

/// Computes features, projections and predictions.
fn predicted([backbone, projector, predictor]: &[Network; 3], x: &Tensor, mode: Mode) -> Result<[Tensor; 3]> {
    let features = backbone.forward(x, mode)?;
    let projections = projector.forward(&features, mode)?;
    let predictions = predictor.forward(&projections, mode)?;
    Ok([features, projections, predictions])
}
