//! Fine-tuning of a backbone and a linear classifier, or of the classifier alone, on labelled images.
//!
//! ```text
//! loss = -log softmax(W f(x) + b)[class], averaged over the rows        f: the backbone, with the batch's statistics
//! ```
//! SGD updates every parameter, except those of a frozen backbone. Weight decay applies to all updated parameters, including
//! norms and biases, as in `torch.optim.SGD`. A frozen backbone runs in eval mode, so that its running statistics do not change
//! either.
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

/// The settings of fine-tuning.
#[derive(Clone, Debug, PartialEq)]
pub struct FineTuning {
    /// The backbone's name and settings; see [`crate::encoders::build`].
    pub backbone: Value,
    /// The number of classes.
    pub classes: usize,
    /// The momentum of SGD, mu.
    pub momentum: f64,
    /// Whether to use Nesterov momentum.
    pub nesterov: bool,
    /// The weight decay, lambda, which applies to all parameters.
    pub weight_decay: f64,
    /// The weight of a batch's statistics in the update of the running statistics; 0.1 in PyTorch.
    pub norm_momentum: f32,
    /// Whether only the classifier is trained.
    pub frozen: bool,
}

/// A network with its optimizer, which is `None` for a frozen network.
struct Part {
    name: &'static str,
    network: Network,
    optimizer: Option<Optimizer>,
}

/// A backbone and a classifier in fine-tuning.
pub struct FineTuner {
    settings: FineTuning,
    encoder: Box<dyn Backbone>,
    backbone: Part,
    head: Part,
    /// Set while the state changes. It stays set if a panic, Ctrl-C or an error interrupts the change.
    changing: bool,
}

impl FineTuner {
    /// Creates a fine-tuner with parameters initialized as in PyTorch. To start from a pretrained backbone, replace
    /// the tensors `backbone.*` of [`FineTuner::state`], and pass the result to [`FineTuner::load_state`].
    ///
    /// # Errors
    /// A setting is invalid, `SASSL_ISA` names an unsupported instruction set, or there is not enough memory.
    pub fn new(settings: FineTuning, threads: usize) -> Result<Self> {
        let &FineTuning { classes, momentum, nesterov, weight_decay, norm_momentum, frozen, .. } = &settings;
        if classes < 2 {
            return Err(Error::value("classes", classes, "must be an integer >= 2"));
        }
        if !(norm_momentum > 0.0 && norm_momentum <= 1.0) {
            return Err(Error::value("norm_momentum", norm_momentum, "must be > 0 and <= 1"));
        }
        let (engine, encoder) = (Engine::new(threads)?, encoders::build(&settings.backbone)?);
        // Allocated in one piece, so that the system can refuse it before anything is built.
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

    /// Checks that no change of the state was interrupted.
    fn check_whole(&self) -> Result<()> {
        match self.changing {
            true => {
                let reason =
                    "the fine-tuner is half changed: an error or Ctrl-C interrupted a step; load the last checkpoint";
                Err(Error::invalid(reason))
            }
            false => Ok(()),
        }
    }

    /// Takes one optimizer step on images and their class indices; returns the loss before the update. If the loss is not
    /// finite, no weight is changed, but running statistics may be.
    ///
    /// # Errors
    /// The images or class indices are invalid, this process was forked from one that has trained, or an earlier step was
    /// interrupted.
    ///
    /// Any other error, a panic or Ctrl-C interrupts the step. The fine-tuner can then only be used again after loading a
    /// state.
    pub fn step(&mut self, images: Batch, targets: &[i64], lr: f64) -> Result<f32> {
        self.check_whole()?;
        check_process()?;
        images.check_sides(&*self.encoder)?;
        let targets = self.targets(images.shape[0], targets)?;
        let x = tensor([("images", images)])?;
        self.changing = true;
        // Discards the gradient of an interrupted step.
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

    /// Checks the class indices, one for each image, and converts them to a candle tensor.
    fn targets(&self, images: usize, targets: &[i64]) -> Result<Tensor> {
        if targets.len() != images {
            return Err(Error::shape(
                "targets",
                format!("must have length {images}, a class for each image"),
                targets.len(),
            ));
        }
        if images < 2 && !self.settings.frozen {
            return Err(Error::value(
                "batch_size",
                images,
                "must be an integer >= 2, as batch norm needs other images",
            ));
        }
        let classes = self.settings.classes;
        let place = |&target: &i64| usize::try_from(target).ok().filter(|&target| target < classes);
        if let Some(at) = targets.iter().position(|target| place(target).is_none()) {
            let requirement = format!("must be a class index in [0, {}]", classes - 1);
            return Err(Error::value(format!("targets[{at}]"), targets[at], requirement));
        }
        let places = targets.iter().filter_map(|target| u32::try_from(*target).ok()).collect();
        Ok(Tensor::from_vec(places, images, &Device::Cpu)?)
    }

    fn logits(&self, x: &Tensor, learns: bool) -> Result<Tensor> {
        let mode = if learns { Mode::Train { splits: 1 } } else { Mode::Eval };
        let features = self.backbone.network.forward(x, if self.settings.frozen { Mode::Eval } else { mode })?;
        self.head.network.forward(&features, mode)
    }

    /// Computes the logits of images in eval mode: `[n, classes]`.
    ///
    /// # Errors
    /// The batch is empty, its images are too small or have values that are not finite, or a step was interrupted.
    pub fn scores(&self, images: Batch) -> Result<Vec<f32>> {
        self.check_whole()?;
        images.check_sides(&*self.encoder)?;
        Ok(self.logits(&tensor([("images", images)])?, false)?.detach().flatten_all()?.to_vec1()?)
    }

    /// The settings.
    pub fn settings(&self) -> &FineTuning {
        &self.settings
    }

    /// The dimension of the features.
    pub fn features(&self) -> usize {
        self.encoder.features()
    }

    /// The state of both networks and of their optimizers. Names start with `backbone.`, `head.` or `optimizer.`.
    ///
    /// # Errors
    /// A step was interrupted, or a candle operation fails.
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

    /// Names and shapes of the tensors in [`FineTuner::state`].
    pub fn entries(&self) -> BTreeMap<String, Vec<usize>> {
        let mut entries = BTreeMap::new();
        for Part { name, network, optimizer } in self.parts() {
            entries.extend(network.layout().shapes().map(|(entry, shape)| (format!("{name}.{entry}"), shape)));
            let slots = optimizer.iter().flat_map(|optimizer| slot_shapes(network.layout(), optimizer));
            entries.extend(slots.map(|(entry, shape)| (format!("optimizer.{name}.{entry}"), shape)));
        }
        entries
    }

    /// Loads a state returned by [`FineTuner::state`].
    ///
    /// # Errors
    /// A tensor is missing, unknown, of another shape, or has invalid values. The fine-tuner is unchanged in that case.
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
