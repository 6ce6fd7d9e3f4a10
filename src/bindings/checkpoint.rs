//! Checkpoints and files of tensors, for the native engine and for the engines written in Python.
use super::arrays::{floats, into_array};
use super::run::run_on;
use crate::error::{Error, Result};
use crate::methods;
use crate::train::checkpoint::{self, Metadata};
use crate::train::{Config, State, Trainer};
use crate::weights::safetensors::{Dtype, write};
use numpy::{IntoPyArray, PyArray1, PyArrayDyn};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Write a checkpoint file, atomically and with a checksum: the state and the metadata of a run of any engine.
///
/// Raises:
///     OSError: the file cannot be written.
#[pyfunction]
#[pyo3(signature = (
    path: "str | os.PathLike[str]", state: "dict[str, numpy.typing.NDArray[numpy.float32]]", metadata
) -> "None")]
pub(super) fn save_checkpoint(
    py: Python<'_>,
    path: PathBuf,
    state: &Bound<'_, PyDict>,
    metadata: Metadata,
) -> PyResult<()> {
    let state = from_dict(state)?;
    run_on(py, path.display(), || checkpoint::save(&path, &state, &metadata))
}

/// Return the state and the metadata of a checkpoint.
///
/// Raises:
///     OSError: the file cannot be read.
///     ValueError: the file is not a checkpoint, is damaged, or has an unsupported version.
#[pyfunction]
#[pyo3(signature = (path: "str | os.PathLike[str]") -> "tuple[dict[str, numpy.typing.NDArray[numpy.float32]], dict[str, str]]")]
pub(super) fn load_checkpoint(py: Python<'_>, path: PathBuf) -> PyResult<(Bound<'_, PyDict>, Metadata)> {
    let (state, metadata) = run_on(py, path.display(), || checkpoint::load(&path))?;
    Ok((into_dict(py, state)?, metadata))
}

/// Return the initial state of a run of the native engine: networks, optimizer state (zeros), and the method's other tensors.
///
/// Args:
///     config: JSON of a `sassl.pretraining.Config`.
///
/// Raises:
///     ValueError: an invalid setting.
#[pyfunction]
#[pyo3(signature = (config) -> "dict[str, numpy.typing.NDArray[numpy.float32]]")]
pub(super) fn initial_state<'py>(py: Python<'py>, config: &str) -> PyResult<Bound<'py, PyDict>> {
    let config = read_config(config)?;
    into_dict(py, run_on(py, "config", || Trainer::new(config, 1)?.state())?)
}

/// Return the shapes of the tensors in the initial state, by name.
///
/// Args:
///     config: JSON of a `sassl.pretraining.Config`.
///
/// Raises:
///     ValueError: an invalid setting.
#[pyfunction]
pub(super) fn describe_state(py: Python<'_>, config: &str) -> PyResult<BTreeMap<String, Vec<usize>>> {
    let config = read_config(config)?;
    run_on(py, "config", || Ok(Trainer::new(config, 1)?.entries()))
}

/// Return the random permutation that MoCo applies to a batch before it computes the keys (shuffling batch norm).
///
/// Args:
///     seed: the seed of the run.
///     step: the step, counted from 0.
///     view: the view that the keys are computed from: 0 for the left one, 1 for the right one.
///     n: number of images in the batch.
#[pyfunction]
#[pyo3(signature = (seed, step, view, n) -> "numpy.typing.NDArray[numpy.uint32]")]
pub(super) fn key_order(py: Python<'_>, seed: u64, step: u64, view: u64, n: usize) -> Bound<'_, PyArray1<u32>> {
    methods::key_order(seed, step, view, n).into_pyarray(py)
}

/// Parses the settings of a run from JSON.
pub(super) fn read_config(json: &str) -> Result<Config> {
    serde_json::from_str(json)
        .map_err(|error| Error::invalid(format!("config is invalid: {error}; give a sassl.pretraining.Config")))
}

/// Return the metadata of a checkpoint without reading its tensors.
///
/// Raises:
///     OSError: the file cannot be read.
///     ValueError: the file is not a checkpoint, or its metadata is damaged.
#[pyfunction]
#[pyo3(signature = (path: "str | os.PathLike[str]"))]
pub(super) fn checkpoint_metadata(py: Python<'_>, path: PathBuf) -> PyResult<Metadata> {
    run_on(py, path.display(), || checkpoint::metadata(&path))
}

/// Write tensors to a .safetensors file, atomically.
///
/// int64 tensors are written as int64; their values are exact up to 2**24. All other tensors are written as float32.
///
/// Raises:
///     OSError: the file cannot be written.
#[pyfunction]
#[pyo3(signature = (
    path: "str | os.PathLike[str]", tensors: "dict[str, numpy.typing.NDArray[typing.Any]]", metadata
) -> "None")]
pub(super) fn write_tensors(
    py: Python<'_>,
    path: PathBuf,
    tensors: &Bound<'_, PyDict>,
    metadata: Metadata,
) -> PyResult<()> {
    let state = from_dict(tensors)?;
    let mut counts = BTreeSet::new();
    for (name, tensor) in tensors {
        if tensor.cast::<PyArrayDyn<i64>>().is_ok() {
            counts.insert(name.extract::<String>()?);
        }
    }
    run_on(py, path.display(), || {
        let tensors: Vec<_> = state
            .iter()
            .map(|(name, (shape, numbers))| {
                let dtype = if counts.contains(name) { Dtype::I64 } else { Dtype::F32 };
                (&name[..], dtype, &shape[..], &numbers[..])
            })
            .collect();
        write(&path, &metadata, &tensors)
    })
}

pub(super) fn into_dict(py: Python<'_>, state: State) -> PyResult<Bound<'_, PyDict>> {
    let dict = PyDict::new(py);
    for (name, (shape, numbers)) in state {
        dict.set_item(name, into_array(py, numbers, &shape)?)?;
    }
    Ok(dict)
}

pub(super) fn from_dict(dict: &Bound<'_, PyDict>) -> PyResult<State> {
    let mut state = State::new();
    for (name, tensor) in dict {
        let name: String = name.extract()?;
        let held = floats(&name, &tensor)?;
        state.insert(name, (held.shape().to_vec(), held.slice()?.to_vec()));
    }
    Ok(state)
}
