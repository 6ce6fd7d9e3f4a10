//! `Trainer`, the native engine of `sassl.pretraining`.
use super::arrays::{Held, floats, into_array};
use super::checkpoint::{from_dict, into_dict, read_config};
use super::run::{checked_threads, run_on, threads};
use super::shared::Shared;
use crate::encoders;
use crate::error::{Error, Result, tuple};
use crate::optim::{Momentum, Schedule};
use crate::train::checkpoint::{self, Metadata};
use crate::train::{self, Batch, ChannelOrder, Rates};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use serde_json::{Value, json};
use std::path::PathBuf;

/// A pretraining method with its networks and optimizers.
#[pyclass(frozen, module = "sassl._sassl")]
pub(super) struct Trainer {
    core: Shared<train::Trainer>,
    threads: usize,
    features: usize,
}

#[pymethods]
impl Trainer {
    /// Args:
    ///     config: JSON of a `sassl.pretraining.Config`; settings that only the training loop reads may be omitted.
    ///     threads: number of threads; None: the environment variable SASSL_THREADS, else all cores.
    ///     accumulate: number of pieces into which a step divides a batch, to process them one after another (gradient
    ///         accumulation). The number must divide the method's setting `splits`, the number of parts of a batch with
    ///         separate batch-norm statistics; these statistics are then the same as without accumulation.
    ///
    /// Raises:
    ///     ValueError: an invalid setting.
    #[new]
    #[pyo3(signature = (config, *, threads: "int | None" = None, accumulate=1))]
    fn new(py: Python<'_>, config: &str, threads: Option<isize>, accumulate: usize) -> PyResult<Self> {
        let config = read_config(config)?;
        let count = self::threads(py, checked_threads(threads)?)?;
        let core = run_on(py, "config", || train::Trainer::new(config, count)?.accumulating(accumulate))?;
        let features = core.features();
        Ok(Self { core: Shared::new("trainer", core), threads: count, features })
    }

    /// Number of threads.
    #[getter]
    fn threads(&self) -> usize {
        self.threads
    }

    /// Check that this batch size is supported.
    ///
    /// Raises:
    ///     ValueError: the batch size is not supported.
    fn check_batch(&self, py: Python<'_>, batch: usize) -> PyResult<()> {
        // Without the GIL: the thread that holds the lock may wait for it.
        run_on(py, "batch", || self.core.lend()?.check_batch(batch))
    }

    /// Take one step on two views of a batch.
    ///
    /// Args:
    ///     left, right: (N, H, W, 3) or (N, 3, H, W) float32. MoCo's asymmetric loss takes its queries from the left views and
    ///         its keys from the right ones; all other losses are symmetric.
    ///     lr: the learning rate.
    ///     momentum: the EMA coefficient of a momentum encoder, in [0, 1]; ignored by methods without one.
    ///     fixed_lr: the learning rate of networks that do not follow the schedule; None: `lr`.
    ///
    /// Returns:
    ///     The loss before the step, a dict of other metrics, and the features that the backbone computes from the left views,
    ///     (N, features) float32.
    ///
    /// Raises:
    ///     ValueError: views of an unsupported shape, or a loss that is not finite. The trained weights are then left
    ///         unchanged.
    #[pyo3(signature = (
        left: "numpy.typing.NDArray[numpy.float32]", right: "numpy.typing.NDArray[numpy.float32]", lr, momentum,
        fixed_lr=None
    ) -> "tuple[float, dict[str, float], numpy.typing.NDArray[numpy.float32]]")]
    fn step<'py>(
        &self,
        py: Python<'py>,
        left: &Bound<'py, PyAny>,
        right: &Bound<'py, PyAny>,
        lr: f64,
        momentum: f64,
        fixed_lr: Option<f64>,
    ) -> PyResult<(f32, Bound<'py, PyDict>, Bound<'py, PyAny>)> {
        let (left, right) = (floats("left", left)?, floats("right", right)?);
        let (left, right) = (images("left", &left)?, images("right", &right)?);
        let rates = Rates { lr, fixed_lr: fixed_lr.unwrap_or(lr), momentum };
        let report = run_on(py, "left, right", || self.core.lend()?.train_step(left, right, rates))?;
        let watched = PyDict::new(py);
        report.watched.into_iter().try_for_each(|(name, x)| watched.set_item(name, x))?;
        let n = report.features.len() / self.features;
        Ok((report.loss, watched, into_array(py, report.features, &[n, self.features])?))
    }

    /// Compute features of images with the backbone in eval mode.
    ///
    /// Args:
    ///     images: (N, H, W, 3) or (N, 3, H, W) float32.
    ///
    /// Returns:
    ///     (N, features) float32.
    #[pyo3(signature = (images: "numpy.typing.NDArray[numpy.float32]") -> "numpy.typing.NDArray[numpy.float32]")]
    fn encode<'py>(&self, py: Python<'py>, images: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let held = floats("images", images)?;
        let images = self::images("images", &held)?;
        let made = run_on(py, "images", || self.core.lend()?.encode(images))?;
        let n = made.len() / self.features;
        into_array(py, made, &[n, self.features])
    }

    /// Dimension of the features.
    #[getter]
    fn features(&self) -> usize {
        self.features
    }

    /// Return all tensors that are needed to resume bit-exactly, by name.
    #[pyo3(signature = () -> "dict[str, numpy.typing.NDArray[numpy.float32]]")]
    fn state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        into_dict(py, run_on(py, "state", || self.core.lend()?.state())?)
    }

    /// Load a state returned by `state`.
    ///
    /// Raises:
    ///     ValueError: the state of a run with other networks or another method. The current state is then left unchanged.
    #[pyo3(signature = (state: "dict[str, numpy.typing.NDArray[numpy.float32]]") -> "None")]
    fn load_state(&self, py: Python<'_>, state: &Bound<'_, PyDict>) -> PyResult<()> {
        let state = from_dict(state)?;
        run_on(py, "state", || self.core.lend()?.load_state(&state))
    }

    /// Write the state and metadata to a .safetensors file with a checksum, atomically.
    ///
    /// Raises:
    ///     OSError: the file cannot be written.
    #[pyo3(signature = (path: "str | os.PathLike[str]", metadata) -> "None")]
    fn save(&self, py: Python<'_>, path: PathBuf, metadata: Metadata) -> PyResult<()> {
        run_on(py, path.display(), || {
            let state = self.core.lend()?.state()?;
            checkpoint::save(&path, &state, &metadata)
        })
    }

    /// Load the state from a file written by `save`, and return the file's metadata.
    ///
    /// Raises:
    ///     OSError: the file cannot be read.
    ///     ValueError: the file is not a checkpoint, is damaged, or belongs to a run with other networks or another method. The
    ///         current state is then left unchanged.
    #[pyo3(signature = (path: "str | os.PathLike[str]"))]
    fn load(&self, py: Python<'_>, path: PathBuf) -> PyResult<Metadata> {
        run_on(py, path.display(), || {
            let (state, metadata) = checkpoint::load(&path)?;
            let named = |error: Error| Error::weights(&path, error.to_string());
            self.core.lend()?.load_state(&state).map_err(named)?;
            Ok(metadata)
        })
    }

    /// Return the backbone's tensors, with names and axes as in torchvision.
    #[pyo3(signature = () -> "dict[str, numpy.typing.NDArray[numpy.float32]]")]
    fn backbone<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        into_dict(py, run_on(py, "state", || self.core.lend()?.backbone_state())?)
    }

    /// Load the backbone from tensors with the names of torchvision or timm. Classifier tensors, `fc.*`, are ignored.
    ///
    /// Raises:
    ///     ValueError: a tensor that is missing, unknown or of another shape. The backbone is then left unchanged.
    #[pyo3(signature = (state: "dict[str, numpy.typing.NDArray[numpy.float32]]") -> "None")]
    fn load_backbone(&self, py: Python<'_>, state: &Bound<'_, PyDict>) -> PyResult<()> {
        let state = from_dict(state)?;
        run_on(py, "state", || self.core.lend()?.load_backbone(&state))
    }
}

/// Return the names of the backbones.
#[pyfunction]
pub(super) fn backbone_names() -> Vec<&'static str> {
    encoders::BACKBONES.iter().map(|row| row.name).collect()
}

/// Describe a backbone as a JSON object:
///
/// - "features": the dimension of the features.
/// - "stem_stride": the stride of the stem.
/// - "least_side": the minimum side of an image in pixels.
/// - "settings": all settings, including defaults.
///
/// Args:
///     json: the backbone's name and the settings that differ from torchvision's: `{"name": "resnet18", "small_stem": true}`.
///
/// Raises:
///     ValueError: an unknown backbone, or an unknown or invalid setting.
#[pyfunction]
pub(super) fn backbone_info(json: &str) -> Result<String> {
    let json: Value = serde_json::from_str(json)
        .map_err(|error| Error::invalid(format!("backbone is not JSON: {error}, got {json}")))?;
    let made = encoders::build(&json)?;
    let (features, stride, least) = (made.features(), made.stem_stride(), made.least_side());
    let told = json!({"features": features, "stem_stride": stride, "least_side": least, "settings": made.settings()});
    Ok(told.to_string())
}

/// Return the learning rate of a linear warm-up to `lr` over `warmup` steps, followed by cosine decay to 0.
///
/// `k` is the step, counted from 0, and `total` the number of steps. MoCo passes epochs in place of steps.
///
/// Raises:
///     ValueError: a negative rate, or a warm-up that is not shorter than the schedule.
#[pyfunction]
pub(super) fn cosine_rate(lr: f64, warmup: u64, total: u64, k: u64) -> Result<f64> {
    Ok(Schedule::new(lr, warmup, total)?.at(k))
}

/// Return BYOL's EMA coefficient, which increases from `tau` to 1 along a cosine.
///
/// `k` is the step, counted from 0, and `total` the number of steps.
///
/// Raises:
///     ValueError: tau outside [0, 1], or no steps.
#[pyfunction]
pub(super) fn cosine_momentum(tau: f64, total: u64, k: u64) -> Result<f64> {
    Ok(Momentum::cosine(tau, total)?.at(k))
}

/// Wraps images from Python without copying them.
pub(super) fn images<'a>(name: &str, held: &'a Held<f32>) -> PyResult<Batch<'a>> {
    let (shape, order) = match *held.shape() {
        [n, height, width, 3] => ([n, height, width, 3], ChannelOrder::Last),
        [n, 3, height, width] => ([n, height, width, 3], ChannelOrder::First),
        ref other => {
            return Err(Error::shape(name, "must have shape (N, H, W, 3) or (N, 3, H, W)", tuple(other)).into());
        }
    };
    Ok(Batch { shape, numbers: held.slice()?, order })
}
