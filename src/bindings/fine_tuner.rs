//! `FineTuner`, the trainer of `sassl.evaluation.finetune` that does not need torch.
use super::arrays::{floats, into_array, wrong_type};
use super::checkpoint::{from_dict, into_dict};
use super::run::{checked_threads, run_on, threads};
use super::shared::Shared;
use super::trainer::images;
use crate::error::Error;
use crate::train::{self, FineTuning};
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// A backbone and a linear classifier, trained on labelled images with SGD.
#[pyclass(frozen, module = "sassl._sassl")]
pub(super) struct FineTuner {
    core: Shared<train::FineTuner>,
    threads: usize,
    classes: usize,
    features: usize,
}

#[pymethods]
impl FineTuner {
    /// Args:
    ///     backbone: JSON with the backbone's name and settings, as in `backbone_info`.
    ///     classes: number of classes, at least 2.
    ///     momentum, nesterov, weight_decay: settings of SGD; weight decay applies to all parameters.
    ///     norm_momentum: weight of the current batch in the running batch-norm statistics, like `momentum` in torch's
    ///         `BatchNorm2d`.
    ///     frozen: True trains only the classifier; the backbone is then used in eval mode.
    ///     threads: number of threads; None: the environment variable SASSL_THREADS, else all cores.
    ///
    /// Raises:
    ///     ValueError: an invalid setting.
    #[new]
    #[pyo3(signature = (
        backbone, classes, *, momentum = 0.9, nesterov = true, weight_decay = 0.0, norm_momentum = 0.1, frozen = false,
        threads: "int | None" = None
    ))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        backbone: &str,
        classes: usize,
        momentum: f64,
        nesterov: bool,
        weight_decay: f64,
        norm_momentum: f32,
        frozen: bool,
        threads: Option<isize>,
    ) -> PyResult<Self> {
        let backbone = serde_json::from_str(backbone)
            .map_err(|error| Error::invalid(format!("backbone is not JSON: {error}, got {backbone}")))?;
        let settings = FineTuning { backbone, classes, momentum, nesterov, weight_decay, norm_momentum, frozen };
        let count = self::threads(py, checked_threads(threads)?)?;
        let core = run_on(py, "classes", || train::FineTuner::new(settings, count))?;
        let features = core.features();
        Ok(Self { core: Shared::new("fine-tuner", core), threads: count, classes, features })
    }

    /// Number of threads.
    #[getter]
    fn threads(&self) -> usize {
        self.threads
    }

    /// Dimension of the features.
    #[getter]
    fn features(&self) -> usize {
        self.features
    }

    /// Take one training step.
    ///
    /// Args:
    ///     images: (N, H, W, 3) or (N, 3, H, W) float32.
    ///     targets: N class indices in [0, classes).
    ///     lr: the learning rate.
    ///
    /// Returns:
    ///     The loss before the step. If the loss is not finite, the weights are left unchanged.
    ///
    /// Raises:
    ///     ValueError: images of an unsupported shape, or class indices out of range.
    #[pyo3(signature = (
        images: "numpy.typing.NDArray[numpy.float32]", targets: "numpy.typing.NDArray[numpy.int64]", lr
    ))]
    fn step(&self, py: Python<'_>, images: &Bound<'_, PyAny>, targets: &Bound<'_, PyAny>, lr: f64) -> PyResult<f32> {
        let held = floats("images", images)?;
        let images = self::images("images", &held)?;
        let list = targets.call_method0("tolist").unwrap_or_else(|_| targets.clone());
        let classes: Vec<i64> = list.extract().map_err(|_| wrong_type("targets", targets, "a class for each image"))?;
        run_on(py, "images", || self.core.lend()?.step(images, &classes, lr))
    }

    /// Compute the logits of images in eval mode. Their softmax gives the class probabilities.
    ///
    /// Args:
    ///     images: (N, H, W, 3) or (N, 3, H, W) float32.
    ///
    /// Returns:
    ///     (N, classes) float32.
    #[pyo3(signature = (images: "numpy.typing.NDArray[numpy.float32]") -> "numpy.typing.NDArray[numpy.float32]")]
    fn scores<'py>(&self, py: Python<'py>, images: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let held = floats("images", images)?;
        let images = self::images("images", &held)?;
        let made = run_on(py, "images", || self.core.lend()?.scores(images))?;
        let n = made.len() / self.classes;
        into_array(py, made, &[n, self.classes])
    }

    /// Return the state as tensors by name.
    ///
    /// The prefixes of the names are `backbone.`, `head.` for the classifier, and `optimizer.` for SGD.
    #[pyo3(signature = () -> "dict[str, numpy.typing.NDArray[numpy.float32]]")]
    fn state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        into_dict(py, run_on(py, "state", || self.core.lend()?.state())?)
    }

    /// Load a state returned by `state`.
    ///
    /// Raises:
    ///     ValueError: a tensor that is missing, unknown or of another shape. The current state is then left unchanged.
    #[pyo3(signature = (state: "dict[str, numpy.typing.NDArray[numpy.float32]]") -> "None")]
    fn load_state(&self, py: Python<'_>, state: &Bound<'_, PyDict>) -> PyResult<()> {
        let state = from_dict(state)?;
        run_on(py, "state", || self.core.lend()?.load_state(&state))
    }
}
