//! A run: a method, its optimizers, and everything that a later one needs to go on to the bit.
mod batch;
pub mod checkpoint;
mod config;
mod fine_tuner;
mod pieces;
mod state;

pub use batch::{Batch, ChannelOrder};
pub use config::{Config, OptimizerSettings};
pub use fine_tuner::{FineTuner, FineTuning};
pub use state::State;

use crate::encoders::{self, Backbone};
use crate::error::{Error, Result};
use crate::memory;
use crate::methods::{self, Forward, Materials, Method, ViewPairs, spread};
use crate::nn::{Engine, Mode, Network};
use crate::optim::Optimizer;
use crate::random::Key;
use batch::tensor;
use state::{check_network, check_numbers, check_state, put_network, put_slots, save_network, save_slots, slot_shapes};
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU32, Ordering};

/// What the schedules say of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// The learning rate.
    pub lr: f64,
    /// That of networks whose rate does not follow the schedule.
    pub fixed_lr: f64,
    /// How far a momentum encoder stays what it is, where there is one.
    pub momentum: f64,
}

/// What a step was.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Before the step.
    pub loss: f32,
    /// The left views' features, in training's norms: `[n, features]`.
    pub features: Vec<f32>,
    /// What else is watched, by name: the method's own, and how far projections spread ("feature_std").
    pub watched: Vec<(&'static str, f32)>,
}

/// A run.
pub struct Trainer {
    config: Config,
    encoder: Box<dyn Backbone>,
    method: Box<dyn Method>,
    optimizers: Vec<Optimizer>,
    /// In which the rows of a step come.
    pieces: usize,
    /// In the middle of a change; still so afterwards, if a panic, Ctrl-C or an error ended it there.
    changing: bool,
}

/// The process that trains. candle's threads live there alone: in one that was forked from it, a step would wait for them for ever.
static PROCESS: AtomicU32 = AtomicU32::new(0);

fn check_process() -> Result<()> {
    let here = std::process::id();
    match PROCESS.compare_exchange(0, here, Ordering::Relaxed, Ordering::Relaxed) {
        Err(other) if other != here => {
            let remedy = "it was forked from one that has trained, whose threads are not here; start it by spawn";
            Err(Error::value("process", here, remedy))
        }
        _ => Ok(()),
    }
}

impl Trainer {
    /// With parameters as they begin, a function of the configuration's seed.
    ///
    /// # Errors
    /// Settings that cannot be.
    pub fn new(config: Config, threads: usize) -> Result<Self> {
        let engine = Engine::new(threads)?;
        let generator = &mut Key { seed: config.seed, epoch: u64::MAX, index: u64::MAX, view: u64::MAX }.generator();
        let encoder = encoders::build(&config.backbone)?;
        let settings = methods::settings(&config.method)?;
        settings.check()?;
        // All of it at once, so that the system can refuse it before anything is built.
        drop(memory::room::<f32>("widths of the heads and the queue", settings.held()?)?);
        let method = settings.make(Materials { engine, backbone: &*encoder, seed: config.seed, generator })?;
        let learning = method.learning().into_iter();
        let optimizers = learning.map(|learning| config.optimizer.optimizer(learning.network.layout()));
        let optimizers = optimizers.collect::<Result<_>>()?;
        Ok(Self { config, encoder, method, optimizers, pieces: 1, changing: false })
    }

    /// The same, whose steps take so many pieces of their rows one after another, and keep what gradients need of one at a time.
    ///
    /// # Errors
    /// Pieces that do not consist of whole parts of the batch for the norms.
    pub fn accumulating(self, pieces: usize) -> Result<Self> {
        pieces::check(pieces, self.method.splits())?;
        Ok(Self { pieces, ..self })
    }

    /// Whether it is not left half changed.
    fn check_whole(&self) -> Result<()> {
        match self.changing {
            true => {
                let remedy = "an error or Ctrl-C ended a step in its middle; load the last checkpoint";
                Err(Error::value("trainer", "half changed", remedy))
            }
            false => Ok(()),
        }
    }

    /// Its settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Whether steps of so many images can be.
    ///
    /// # Errors
    /// What does not fit them.
    pub fn check_batch(&self, batch: usize) -> Result<()> {
        self.method.check_batch(batch)
    }

    /// One step on two views of a batch, the left one being the query's or the online network's.
    ///
    /// # Errors
    /// Views that differ in shape or are no images; a loss that is not finite, and then no weight has changed. After any other error,
    /// a panic or Ctrl-C in its middle, the trainer is of no use before a state is loaded.
    pub fn train_step(&mut self, left: Batch, right: Batch, rates: Rates) -> Result<Report> {
        self.check_whole()?;
        check_process()?;
        if left.shape != right.shape {
            return Err(Error::shape(
                "right views",
                format!("{:?}, as the left ones", left.shape),
                format!("{:?}", right.shape),
            ));
        }
        self.check_batch(left.shape[0])?;
        left.check_sides(&*self.encoder)?;
        let views = ViewPairs::new(tensor([("left views", left), ("right views", right)])?);
        self.changing = true;
        // What a step that an error ended has left.
        self.method.learning().into_iter().for_each(|learning| drop(learning.network.take_gradient()));
        let made = pieces::forward(&mut *self.method, &views, rates.momentum, self.pieces)?;
        let Forward { loss, features, projections, mut watched } = made;
        let value = loss.to_scalar::<f32>()?;
        if !value.is_finite() {
            self.changing = false;
            let remedy = "the run has diverged: lower the learning rate, and go on from the last checkpoint";
            return Err(Error::value("loss", value, remedy));
        }
        watched.push(("feature_std", spread(&projections)?));
        let features = features.detach().flatten_all()?.to_vec1()?;
        loss.backward()?;
        drop((loss, projections));
        for (learning, optimizer) in self.method.learning().into_iter().zip(&mut self.optimizers) {
            let (network, lr) = (learning.network, if learning.fixed_lr { rates.fixed_lr } else { rates.lr });
            let lr = lr * learning.lr_scale;
            update(network, optimizer, lr)?;
        }
        self.method.after_update()?;
        self.changing = false;
        Ok(Report { loss: value, features, watched })
    }

    /// Features of images by the backbone that learns, as it would be used after training: `[n, features]`.
    ///
    /// # Errors
    /// No images, or numbers that are not finite.
    pub fn encode(&self, images: Batch) -> Result<Vec<f32>> {
        self.check_whole()?;
        images.check_sides(&*self.encoder)?;
        Ok(self.backbone().forward(&tensor([("images", images)])?, Mode::Eval)?.detach().flatten_all()?.to_vec1()?)
    }

    fn backbone(&self) -> &Network {
        self.method.learning()[0].network
    }

    /// Numbers of a feature.
    pub fn features(&self) -> usize {
        self.encoder.features()
    }

    /// The backbone's tensors under torchvision's names.
    ///
    /// # Errors
    /// candle's.
    pub fn backbone_state(&self) -> Result<State> {
        self.check_whole()?;
        let mut state = State::new();
        save_network("", self.backbone(), &mut state)?;
        Ok(state)
    }

    /// Takes the backbone's tensors from those of torchvision; `fc.*` are left out, and counts of batches may be missing.
    ///
    /// # Errors
    /// A tensor that is missing, unknown or of another shape; nothing is changed then.
    pub fn load_backbone(&self, state: &State) -> Result<()> {
        self.check_whole()?;
        state.iter().try_for_each(|(name, (_, numbers))| check_numbers(name, numbers))?;
        let backbone = self.backbone();
        let known: HashSet<&str> = backbone.layout().shapes().map(|(name, _)| name).collect();
        if let Some(unknown) = state.keys().find(|name| !name.starts_with("fc.") && !known.contains(&name[..])) {
            return Err(Error::value(
                "tensor",
                format!("{unknown:?}"),
                "this backbone has none of this name; is it of another backbone?",
            ));
        }
        check_network(backbone.layout(), state)?;
        put_network("", backbone, state)
    }

    /// Everything: networks, optimizers, the method's own.
    ///
    /// # Errors
    /// candle's.
    pub fn state(&self) -> Result<State> {
        self.check_whole()?;
        let mut state = State::new();
        for (name, network) in self.networks() {
            save_network(&format!("{name}."), network, &mut state)?;
        }
        for (learning, optimizer) in self.method.learning().into_iter().zip(&self.optimizers) {
            save_slots(&format!("optimizer.{}.", learning.name), learning.network.layout(), optimizer, &mut state);
        }
        for ((name, shape), numbers) in self.method.entries().into_iter().zip(self.method.state()?) {
            state.insert(format!("method.{name}"), (shape, numbers));
        }
        Ok(state)
    }

    /// Names and shapes of what [`Trainer::state`] gives.
    pub fn entries(&self) -> BTreeMap<String, Vec<usize>> {
        let networks = self.networks().flat_map(|(name, network)| {
            network.layout().shapes().map(move |(entry, shape)| (format!("{name}.{entry}"), shape))
        });
        let optimizers = self.method.learning().into_iter().zip(&self.optimizers).flat_map(|(learning, optimizer)| {
            let shapes = slot_shapes(learning.network.layout(), optimizer).into_iter();
            shapes.map(move |(entry, shape)| (format!("optimizer.{}.{entry}", learning.name), shape))
        });
        let method = self.method.entries().into_iter().map(|(name, shape)| (format!("method.{name}"), shape));
        networks.chain(optimizers).chain(method).collect()
    }

    /// Goes on from such a state.
    ///
    /// # Errors
    /// A state of another run: a tensor that is missing, unknown or of another shape; numbers that no run has, as weights that are
    /// not finite or a count that is not whole. Nothing is changed then.
    pub fn load_state(&mut self, state: &State) -> Result<()> {
        check_state(&self.entries(), state)?;
        let numbers = |name: String| &state[&name].1[..];
        let own: Vec<&[f32]> =
            self.method.entries().into_iter().map(|(name, _)| numbers(format!("method.{name}"))).collect();
        self.method.load_state(&own)?;
        // What is checked here was checked above for all but the optimizers, whose first error leaves the others as they were.
        self.changing = true;
        for (learning, optimizer) in self.method.learning().into_iter().zip(&mut self.optimizers) {
            put_slots(&format!("optimizer.{}.", learning.name), learning.network.layout(), optimizer, state)?;
        }
        for (name, network) in self.networks() {
            put_network(&format!("{name}."), network, state)?;
        }
        self.changing = false;
        Ok(())
    }

    fn networks(&self) -> impl Iterator<Item = (&'static str, &Network)> {
        let learning = self.method.learning().into_iter().map(|learning| (learning.name, learning.network));
        learning.chain(self.method.following())
    }
}

/// One step of an optimizer by the gradient that has come together in a network, if any has.
fn update(network: &Network, optimizer: &mut Optimizer, lr: f64) -> Result<()> {
    let Some(gradient) = network.take_gradient() else { return Ok(()) };
    network.change(|params| {
        for (n, parameter) in network.layout().parameters().iter().enumerate() {
            let range = parameter.range.clone();
            optimizer.update(n, lr, &mut params[range.clone()], &gradient[range]);
        }
    })
}
