//! Training runs: a method, its optimizers, and the complete state that is needed to resume bit-exactly.
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
use crate::error::{Error, Result, tuple};
use crate::memory;
use crate::methods::{self, Forward, Materials, Method, ViewPairs, spread};
use crate::nn::{Engine, Mode, Network};
use crate::optim::Optimizer;
use crate::random::Key;
use batch::tensor;
use state::{check_network, check_numbers, check_state, put_network, put_slots, save_network, save_slots, slot_shapes};
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU32, Ordering};

/// The scheduled values of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// The learning rate of networks that follow the schedule.
    pub lr: f64,
    /// The learning rate of networks that do not follow the schedule.
    pub fixed_lr: f64,
    /// The EMA coefficient of a momentum encoder, if there is one.
    pub momentum: f64,
}

/// The result of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The loss before the update.
    pub loss: f32,
    /// The features of the left views, computed in training mode, `[n, features]`.
    pub features: Vec<f32>,
    /// Other metrics by name: those of the method, and the spread of projections (`feature_std`, see [`spread`]).
    pub watched: Vec<(&'static str, f32)>,
}

/// A training run.
pub struct Trainer {
    config: Config,
    encoder: Box<dyn Backbone>,
    method: Box<dyn Method>,
    optimizers: Vec<Optimizer>,
    /// The number of pieces in which a step processes its batch (gradient accumulation).
    pieces: usize,
    /// Set while the state changes. It stays set if a panic, Ctrl-C or an error interrupts the change.
    changing: bool,
}

/// The ID of the process that trains, or 0 before the first step. candle's threads exist only in this process. In a process
/// forked from it, a step would wait for them forever.
static PROCESS: AtomicU32 = AtomicU32::new(0);

fn check_process() -> Result<()> {
    let here = std::process::id();
    match PROCESS.compare_exchange(0, here, Ordering::Relaxed, Ordering::Relaxed) {
        Err(other) if other != here => Err(Error::invalid(format!(
            "process {here} was forked from one that has trained, whose threads do not exist here; start it by spawn"
        ))),
        _ => Ok(()),
    }
}

impl Trainer {
    /// Creates a trainer with initial parameters, which depend on the configuration alone.
    ///
    /// # Errors
    /// A setting is invalid, `SASSL_ISA` names an unsupported instruction set, or there is not enough memory.
    pub fn new(config: Config, threads: usize) -> Result<Self> {
        let engine = Engine::new(threads)?;
        let generator = &mut Key { seed: config.seed, epoch: u64::MAX, index: u64::MAX, view: u64::MAX }.generator();
        let encoder = encoders::build(&config.backbone)?;
        let settings = methods::settings(&config.method)?;
        settings.check()?;
        // Allocated in one piece, so that the system can refuse it before anything is built.
        drop(memory::room::<f32>("widths of the heads and the queue", settings.held()?)?);
        let method = settings.make(Materials { engine, backbone: &*encoder, seed: config.seed, generator })?;
        let learning = method.learning().into_iter();
        let optimizers = learning.map(|learning| config.optimizer.optimizer(learning.network.layout()));
        let optimizers = optimizers.collect::<Result<_>>()?;
        Ok(Self { config, encoder, method, optimizers, pieces: 1, changing: false })
    }

    /// Returns the trainer with gradient accumulation. Each step processes its batch in `pieces` pieces, one after another.
    /// Only the activations of one piece are in memory at a time.
    ///
    /// # Errors
    /// `pieces` is 0 or does not divide the method's `splits`. A piece must consist of whole parts of the batch, because each
    /// part has its own batch-norm statistics.
    pub fn accumulating(self, pieces: usize) -> Result<Self> {
        pieces::check(pieces, self.method.splits())?;
        Ok(Self { pieces, ..self })
    }

    /// Checks that no change of the state was interrupted.
    fn check_whole(&self) -> Result<()> {
        match self.changing {
            true => {
                let reason =
                    "the trainer is half changed: an error or Ctrl-C interrupted a step; load the last checkpoint";
                Err(Error::invalid(reason))
            }
            false => Ok(()),
        }
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Checks that this batch size is supported.
    ///
    /// # Errors
    /// The batch has fewer than 2 images, or cannot be split into equal parts of at least 2 images.
    pub fn check_batch(&self, batch: usize) -> Result<()> {
        self.method.check_batch(batch)
    }

    /// Takes one optimizer step on two views of each image in a batch. MoCo's asymmetric loss takes its queries from the left
    /// views and its keys from the right ones; all other losses are symmetric.
    ///
    /// # Errors
    /// - The views differ in shape, are not images, are too small or have values that are not finite.
    /// - The batch size is not supported.
    /// - This process was forked from one that has trained.
    /// - An earlier step was interrupted.
    /// - The loss is not finite. The trained weights are then unchanged, but running statistics and momentum encoders may have
    ///   changed.
    ///
    /// Any other error, a panic or Ctrl-C interrupts the step. The trainer can then only be used again after loading a state.
    pub fn train_step(&mut self, left: Batch, right: Batch, rates: Rates) -> Result<Report> {
        self.check_whole()?;
        check_process()?;
        if left.shape != right.shape {
            let requirement = format!("must have shape {}, as the left ones", tuple(&left.shape));
            return Err(Error::shape("right views", requirement, tuple(&right.shape)));
        }
        self.check_batch(left.shape[0])?;
        left.check_sides(&*self.encoder)?;
        let views = ViewPairs::new(tensor([("left views", left), ("right views", right)])?);
        self.changing = true;
        // Discards the gradient of an interrupted step.
        self.method.learning().into_iter().for_each(|learning| drop(learning.network.take_gradient()));
        let made = pieces::forward(&mut *self.method, &views, rates.momentum, self.pieces)?;
        let Forward { loss, features, projections, mut watched } = made;
        let value = loss.to_scalar::<f32>()?;
        if !value.is_finite() {
            self.changing = false;
            let requirement =
                "must be finite; the run has diverged: lower the learning rate, and resume from the last checkpoint";
            return Err(Error::value("loss", value, requirement));
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

    /// Computes the features of images with the trained backbone in eval mode, `[n, features]`.
    ///
    /// # Errors
    /// The batch is empty, its images are too small or have values that are not finite, or a step was interrupted.
    pub fn encode(&self, images: Batch) -> Result<Vec<f32>> {
        self.check_whole()?;
        images.check_sides(&*self.encoder)?;
        Ok(self.backbone().forward(&tensor([("images", images)])?, Mode::Eval)?.detach().flatten_all()?.to_vec1()?)
    }

    fn backbone(&self) -> &Network {
        self.method.learning()[0].network
    }

    /// The dimension of the features.
    pub fn features(&self) -> usize {
        self.encoder.features()
    }

    /// The tensors of the backbone under torchvision's names.
    ///
    /// # Errors
    /// A step was interrupted, or a candle operation fails.
    pub fn backbone_state(&self) -> Result<State> {
        self.check_whole()?;
        let mut state = State::new();
        save_network("", self.backbone(), &mut state)?;
        Ok(state)
    }

    /// Loads the tensors of the backbone under torchvision's names; `fc.*` is ignored, and `num_batches_tracked` may be
    /// missing.
    ///
    /// # Errors
    /// A step was interrupted; or a tensor is missing, unknown or of another shape, or has invalid values. The backbone is
    /// unchanged in that case.
    pub fn load_backbone(&self, state: &State) -> Result<()> {
        self.check_whole()?;
        state.iter().try_for_each(|(name, (_, numbers))| check_numbers(name, numbers))?;
        let backbone = self.backbone();
        let known: HashSet<&str> = backbone.layout().shapes().map(|(name, _)| name).collect();
        if let Some(unknown) = state.keys().find(|name| !name.starts_with("fc.") && !known.contains(&name[..])) {
            return Err(Error::invalid(format!(
                "tensor {unknown:?} does not belong to this backbone; is it of another backbone?"
            )));
        }
        check_network(backbone.layout(), state)?;
        put_network("", backbone, state)
    }

    /// The complete state: the tensors of the networks, of the optimizers, and of the method itself.
    ///
    /// # Errors
    /// A step was interrupted, or a candle operation fails.
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

    /// Names and shapes of the tensors in [`Trainer::state`].
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

    /// Loads a state returned by [`Trainer::state`].
    ///
    /// # Errors
    /// - The state belongs to a run with other settings: a tensor is missing, unknown or of another shape. The trainer is then
    ///   unchanged.
    /// - A value is invalid, such as a weight that is not finite or a count that is not a whole number. The trainer is then
    ///   unchanged, or cannot be used until another state has been loaded.
    pub fn load_state(&mut self, state: &State) -> Result<()> {
        check_state(&self.entries(), state)?;
        let numbers = |name: String| &state[&name].1[..];
        let own: Vec<&[f32]> =
            self.method.entries().into_iter().map(|(name, _)| numbers(format!("method.{name}"))).collect();
        self.method.load_state(&own)?;
        // Only an optimizer can still fail here; those before it have then been loaded.
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

/// Takes one optimizer step with a network's accumulated gradient, if there is one.
fn update(network: &Network, optimizer: &mut Optimizer, lr: f64) -> Result<()> {
    let Some(gradient) = network.take_gradient() else { return Ok(()) };
    network.change(|params| {
        for (n, parameter) in network.layout().parameters().iter().enumerate() {
            let range = parameter.range.clone();
            optimizer.update(n, lr, &mut params[range.clone()], &gradient[range]);
        }
    })
}
