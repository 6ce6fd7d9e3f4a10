//! Fine-tuning: a backbone and a linear classifier learn from labelled images together, or the classifier alone.
//!
//! ```text
//! loss = -log softmax(W f(x) + b)[class], on average over the rows        f: the backbone, by the batch's statistics
//! ```
//!
//! SGD moves every parameter, and weight decay holds for all of them, norms and biases too, as `torch.optim.SGD` has it. A frozen
//! backbone is used as after training: its running statistics stay, too.
use super::batch::tensor;
use super::state::{check_state, put_network, put_slots, save_network, save_slots, slot_shapes};
use super::{Batch, OptimizerSettings, State, check_process, update};
use crate::encoders::{self, Backbone};
use crate::error::{Error, Result};
use crate::memory;
use crate::nn::{Engine, Hidden, Last, Layout, Mlp, Mode, Network};
use crate::optim::Optimizer;
use crate::random::Key;
use candle_core::{Device, Tensor};
use candle_nn::loss::cross_entropy;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The settings.
#[derive(Clone, Debug, PartialEq)]
pub struct FineTuning {
    /// A backbone's name and its own settings: [`crate::encoders::build`].
    pub backbone: Value,
    /// How many classes the images have.
    pub classes: usize,
    /// mu.
    pub momentum: f64,
    /// Whether SGD looks one step ahead.
    pub nesterov: bool,
    /// lambda, of all parameters.
    pub weight_decay: f64,
    /// How much of their running statistics norms replace with a batch's; 0.1 in PyTorch.
    pub norm_momentum: f32,
    /// Whether the classifier alone learns.
    pub frozen: bool,
}

/// A network, and what moves it; none that is frozen.
struct Part {
    name: &'static str,
    network: Network,
    optimizer: Option<Optimizer>,
}

/// A backbone with its classifier.
pub struct FineTuner {
    settings: FineTuning,
    encoder: Box<dyn Backbone>,
    backbone: Part,
    head: Part,
    /// In the middle of a change; still so afterwards, if a panic, Ctrl-C or an error ended it there.
    changing: bool,
}

impl FineTuner {
    /// A fine-tuner with parameters as PyTorch's begin; those of a pretrained backbone come by [`FineTuner::load_state`].
    ///
    /// # Errors
    /// Settings that cannot be.
    pub fn new(settings: FineTuning, threads: usize) -> Result<Self> {
        let &FineTuning { classes, momentum, nesterov, weight_decay, norm_momentum, frozen, .. } = &settings;
        if classes < 2 {
            return Err(Error::value("classes", classes, "at least 2: a classifier tells classes apart"));
        }
        if !(norm_momentum > 0.0 && norm_momentum <= 1.0) {
            return Err(Error::value("norm_momentum", norm_momentum, "a number above 0, up to 1"));
        }
        let (engine, encoder) = (Engine::new(threads)?, encoders::build(&settings.backbone)?);
        // At once, so that the system can refuse it before anything is built.
        let weights = memory::count("classes", &[encoder.features(), classes])?;
        drop(memory::room::<f32>("the classifier", weights.saturating_mul(3))?);
        let generator = &mut Key { seed: 0, epoch: u64::MAX, index: u64::MAX, view: u64::MAX }.generator();
        let mut layout = Layout::with_norm_momentum(norm_momentum);
        let body = encoder.body(&mut layout, engine);
        let network = Network::new(body, layout, generator)?;
        let backbone = if frozen { network.frozen()? } else { network };
        let mut layout = Layout::default();
        let sizes = [encoder.features(), classes];
        let body = Mlp::new(&mut layout, engine, &sizes, Hidden::Relu, Last::Linear { bias: true });
        let head = Network::new(Arc::new(body), layout, generator)?;
        let sgd = OptimizerSettings::Sgd { momentum, nesterov, weight_decay, exclude_bias_and_norm: false };
        let part = |name, network: Network, learns: bool| {
            let optimizer = learns.then(|| sgd.optimizer(network.layout())).transpose()?;
            Ok::<_, Error>(Part { name, network, optimizer })
        };
        let (backbone, head) = (part("backbone", backbone, !frozen)?, part("head", head, true)?);
        Ok(Self { settings, encoder, backbone, head, changing: false })
    }

    fn parts(&self) -> [&Part; 2] {
        [&self.backbone, &self.head]
    }

    /// Checks that it is not left half changed.
    fn check_whole(&self) -> Result<()> {
        match self.changing {
            true => {
                let remedy = "an error or Ctrl-C ended a step in its middle; load the last checkpoint";
                Err(Error::value("fine-tuner", "half changed", remedy))
            }
            false => Ok(()),
        }
    }

    /// One step on images and their classes; gives the loss before it. Where that is not finite, no weight has changed.
    ///
    /// # Errors
    /// Images or classes that do not fit. After any other error, a panic or Ctrl-C in its middle, the fine-tuner is of no use before
    /// a state is loaded.
    pub fn step(&mut self, images: Batch, targets: &[i64], lr: f64) -> Result<f32> {
        self.check_whole()?;
        check_process()?;
        images.check_sides(&*self.encoder)?;
        let targets = self.targets(images.shape[0], targets)?;
        let x = tensor([("images", images)])?;
        self.changing = true;
        // What a step that an error ended has left.
        self.parts().into_iter().for_each(|part| drop(part.network.take_gradient()));
        let loss = cross_entropy(&self.logits(&x, true)?, &targets)?;
        let value = loss.to_scalar::<f32>()?;
        if !value.is_finite() {
            self.changing = false;
            return Ok(value);
        }
        loss.backward()?;
        drop((loss, x));
        for part in [&mut self.backbone, &mut self.head] {
            part.optimizer.as_mut().map_or(Ok(()), |optimizer| update(&part.network, optimizer, lr))?;
        }
        self.changing = false;
        Ok(value)
    }

    /// Classes as candle has them, one for each image.
    fn targets(&self, images: usize, targets: &[i64]) -> Result<Tensor> {
        if targets.len() != images {
            return Err(Error::shape("targets", format!("a class for each of {images} images"), targets.len()));
        }
        if images < 2 && !self.settings.frozen {
            return Err(Error::value("batch_size", images, "at least 2: batch norm takes other images"));
        }
        let classes = self.settings.classes;
        let place = |&target: &i64| usize::try_from(target).ok().filter(|&target| target < classes);
        if let Some(at) = targets.iter().position(|target| place(target).is_none()) {
            let remedy = format!("one of {classes} classes, 0 to {}", classes - 1);
            return Err(Error::value(format!("targets[{at}]"), targets[at], remedy));
        }
        let places = targets.iter().filter_map(|target| u32::try_from(*target).ok()).collect();
        Ok(Tensor::from_vec(places, images, &Device::Cpu)?)
    }

    fn logits(&self, x: &Tensor, learns: bool) -> Result<Tensor> {
        let mode = if learns { Mode::Train { splits: 1 } } else { Mode::Eval };
        let features = self.backbone.network.forward(x, if self.settings.frozen { Mode::Eval } else { mode })?;
        self.head.network.forward(&features, mode)
    }

    /// Scores of images' classes, whose softmax is their probabilities, by the networks as they are used after training: `[n, classes]`.
    ///
    /// # Errors
    /// No images, or numbers that are not finite.
    pub fn scores(&self, images: Batch) -> Result<Vec<f32>> {
        self.check_whole()?;
        images.check_sides(&*self.encoder)?;
        Ok(self.logits(&tensor([("images", images)])?, false)?.detach().flatten_all()?.to_vec1()?)
    }

    /// Its settings.
    pub fn settings(&self) -> &FineTuning {
        &self.settings
    }

    /// Numbers of a feature.
    pub fn features(&self) -> usize {
        self.encoder.features()
    }

    /// Both networks under `backbone.` and `head.`, and what their optimizers remember under `optimizer.`.
    ///
    /// # Errors
    /// candle's.
    pub fn state(&self) -> Result<State> {
        self.check_whole()?;
        let mut state = State::new();
        for Part { name, network, optimizer } in self.parts() {
            save_network(&format!("{name}."), network, &mut state)?;
            if let Some(optimizer) = optimizer {
                save_slots(&format!("optimizer.{name}."), network.layout(), optimizer, &mut state);
            }
        }
        Ok(state)
    }

    /// Names and shapes of what [`FineTuner::state`] gives.
    pub fn entries(&self) -> BTreeMap<String, Vec<usize>> {
        let mut entries = BTreeMap::new();
        for Part { name, network, optimizer } in self.parts() {
            entries.extend(network.layout().shapes().map(|(entry, shape)| (format!("{name}.{entry}"), shape)));
            let slots = optimizer.iter().flat_map(|optimizer| slot_shapes(network.layout(), optimizer));
            entries.extend(slots.map(|(entry, shape)| (format!("optimizer.{name}.{entry}"), shape)));
        }
        entries
    }

    /// Goes on from such a state.
    ///
    /// # Errors
    /// A tensor that is missing, unknown or of another shape; numbers that no run has. Nothing is changed then.
    pub fn load_state(&mut self, state: &State) -> Result<()> {
        check_state(&self.entries(), state)?;
        self.changing = true;
        for Part { name, network, optimizer } in [&mut self.backbone, &mut self.head] {
            put_network(&format!("{name}."), network, state)?;
            if let Some(optimizer) = optimizer {
                put_slots(&format!("optimizer.{name}."), network.layout(), optimizer, state)?;
            }
        }
        self.changing = false;
        Ok(())
    }
}
