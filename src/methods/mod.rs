//! What is learnt from two views, a file for each paper: settings, networks, loss, and who follows whom.
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

/// The method's settings that JSON names: `{"name": "byol", ...}`.
///
/// # Errors
/// A name that is not in [`METHODS`]; a setting that is missing, unknown or of another type.
pub fn settings(json: &Value) -> Result<Box<dyn MethodSettings>> {
    parts::read("method", json, METHODS)
}

/// What a method is made of beside its settings.
pub struct Materials<'a> {
    /// What computes.
    pub engine: Engine,
    /// Its backbone.
    pub backbone: &'a dyn Backbone,
    /// Of all that is drawn while it learns.
    pub seed: u64,
    /// What first parameters are drawn from.
    pub generator: &'a mut Generator,
}

/// The settings that are a method's own.
pub trait MethodSettings: Send + Sync {
    /// Whether they can be; each error names the setting.
    ///
    /// # Errors
    /// Names the first that cannot.
    fn check(&self) -> Result<()>;

    /// Values of its heads and its queue, as far as its widths alone decide them: a trainer holds these at least.
    ///
    /// # Errors
    /// More than can be counted.
    fn held(&self) -> Result<usize>;

    /// Values that a checkpoint of it has at least, whatever its backbone.
    fn saved(&self) -> usize;

    /// The method, with parameters as they begin.
    ///
    /// # Errors
    /// candle's.
    fn make(&self, materials: Materials) -> Result<Box<dyn Method>>;
}

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

    /// So many pairs from one on.
    ///
    /// # Errors
    /// candle's.
    pub fn part(&self, first: usize, n: usize) -> Result<Self> {
        Ok(Self(Tensor::cat(&[self.left()?.narrow(0, first, n)?, self.right()?.narrow(0, first, n)?], 0)?))
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

impl Forward {
    /// Of a loss of such rows.
    pub fn new(loss: Tensor, features: &Tensor, projections: &Tensor, watched: Vec<(&'static str, f32)>) -> Self {
        Self { loss, features: features.clone(), projections: projections.clone(), watched }
    }
}

/// A network that learns, and at which rate.
#[derive(Clone, Copy)]
pub struct Learning<'a> {
    /// Its name in states and files.
    pub name: &'static str,
    /// It.
    pub network: &'a Network,
    /// What the rate is multiplied by.
    pub lr_scale: f64,
    /// Whether it keeps the largest rate, where the others follow the schedule.
    pub fixed_lr: bool,
}

impl<'a> Learning<'a> {
    /// At the schedule's rate.
    pub fn new(name: &'static str, network: &'a Network) -> Self {
        Self { name, network, lr_scale: 1.0, fixed_lr: false }
    }
}

/// A method with its networks.
pub trait Method: Send + Sync {
    /// Parts of the batch for the norms.
    fn splits(&self) -> usize;

    /// Whether steps of so many images can be.
    ///
    /// # Errors
    /// They cannot.
    fn check_batch(&self, batch: usize) -> Result<()> {
        let splits = self.splits();
        if splits > 1 && (!batch.is_multiple_of(splits) || batch / splits < 2) {
            let remedy = format!("the batch of {batch} in parts of one size, of at least 2 images");
            return Err(Error::value("splits", splits, remedy));
        }
        if batch < 2 {
            return Err(Error::value("batch_size", batch, "at least 2: batch norm and negatives take other images"));
        }
        Ok(())
    }

    /// What comes before all else in a step: momentum encoders follow, and make what has no gradient and is of all rows together.
    /// `m` is how far a momentum encoder, where there is one, stays what it is.
    ///
    /// # Errors
    /// A batch that does not fit, or candle's.
    fn begin(&mut self, _views: &ViewPairs, m: f64) -> Result<()>;

    /// What the loss is made of, a row for each pair of views: the left views' features first, and then their projections. These are
    /// all pairs of the step, or those from `first` on.
    ///
    /// # Errors
    /// candle's.
    fn represent(&self, views: &ViewPairs, first: usize) -> Result<Vec<Tensor>>;

    /// The loss of such rows.
    ///
    /// # Errors
    /// candle's.
    fn loss(&self, rows: &[Tensor]) -> Result<Forward>;

    /// Whether the loss is the mean of what each row has by itself.
    fn by_rows(&self) -> bool {
        true
    }

    /// What comes after the optimizers have updated the networks that learn, the last part of a step.
    ///
    /// # Errors
    /// candle's.
    fn after_update(&mut self) -> Result<()> {
        Ok(())
    }

    /// Networks that learn; the first is the backbone.
    fn learning(&self) -> Vec<Learning<'_>>;

    /// Networks that follow them, by name: the momentum encoder, where there is one.
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

/// Values between two layers of a head, at most: more is a mistake, and memory that no machine has.
const MOST: usize = 1 << 16;

/// Layers of a projector, at most; papers have 2 and 3.
const MOST_LAYERS: usize = 16;

/// Sizes of heads, from 1 to [`MOST`].
fn check_widths(widths: &[(&str, usize)]) -> Result<()> {
    widths.iter().try_for_each(|&(name, n)| check_count(name, n, MOST))
}

fn check_count(name: &str, n: usize, most: usize) -> Result<()> {
    match n {
        0 => Err(Error::value(name, n, "at least 1")),
        _ if n > most => Err(Error::value(name, n, format!("at most {most}"))),
        _ => Ok(()),
    }
}

/// A batch has its parts by its rows: [`Method::check_batch`].
fn check_splits(splits: usize) -> Result<()> {
    check_count("splits", splits, usize::MAX)
}

fn check_temperature(temperature: f64) -> Result<()> {
    match temperature > 0.0 && temperature.is_finite() {
        true => Ok(()),
        false => Err(Error::value("temperature", temperature, "a number above 0")),
    }
}

/// A backbone with its numbers.
fn backbone(materials: &mut Materials) -> Result<Network> {
    let mut layout = Layout::default();
    let body = materials.backbone.body(&mut layout, materials.engine);
    Network::new(body, layout, materials.generator)
}

/// A head with its numbers.
fn head(materials: &mut Materials, sizes: &[usize], hidden: Hidden, last: Last) -> Result<Network> {
    let mut layout = Layout::default();
    let body = Mlp::new(&mut layout, materials.engine, sizes, hidden, last);
    Network::new(Arc::new(body), layout, materials.generator)
}

/// Features, projections and predictions of backbone, projector and predictor.
fn predicted([backbone, projector, predictor]: &[Network; 3], x: &Tensor, mode: Mode) -> Result<[Tensor; 3]> {
    let features = backbone.forward(x, mode)?;
    let projections = projector.forward(&features, mode)?;
    let predictions = predictor.forward(&projections, mode)?;
    Ok([features, projections, predictions])
}
