//! `convert`, `version` and `info`: conversion of weight files, and information about this installation.
use super::run::run_on;
use crate::error::Error;
use crate::kernels::isa::Isa;
use crate::kernels::threads::pool::cores;
use crate::weights::convert::Conversion;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::path::PathBuf;

/// Convert a third-party style network to one .safetensors file, which is written atomically.
///
/// A style network consists of a style predictor F and a transformer T. Magenta's networks are read from a TensorFlow
/// checkpoint, a SavedModel, TFLite, ONNX or TensorFlow.js files. AdaIN and styleaug are read from PyTorch's .pth files; code
/// in these files is never executed.
///
/// Args:
///     paths: files, folders or archives that hold F and T, together or separately.
///     out: the file to write.
///     name: the model's name, stored in the file.
///     as_is: for Magenta's InceptionV3 only. True encodes style images at their original size; their sides must then have at
///         least 43 pixels. False resizes them to a shorter side of 256.
///     any_pair: True accepts F and T that were not trained together.
///
/// Raises:
///     ValueError: a file is not part of such a network, or F or T is missing.
///     OSError: a file cannot be read or written.
#[pyfunction]
#[pyo3(signature = (
    paths: "list[str | os.PathLike[str]]", out: "str | os.PathLike[str]", name: "str", *, as_is: "bool" = false,
    any_pair: "bool" = false,
) -> "None")]
pub(super) fn convert(
    py: Python<'_>,
    paths: Vec<PathBuf>,
    out: PathBuf,
    name: &str,
    as_is: bool,
    any_pair: bool,
) -> PyResult<()> {
    let Some(first) = paths.first() else {
        return Err(Error::value("paths", "[]", "must name the files of a style network").into());
    };
    run_on(py, first.display(), || Conversion { paths: &paths, name, as_is, any_pair }.run()?.save(&out))
}

/// Return the version of the package.
#[pyfunction]
#[pyo3(signature = () -> "str")]
pub(super) fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Return information about this installation:
///
/// - "version": the version of the package.
/// - "supported": the instruction sets that this machine supports.
/// - "isa": the instruction set in use.
/// - "multiplies_bytes": True if "isa" has instructions for products of 8-bit integers.
/// - "cores": the number of cores.
/// - "threads": the default number of threads.
/// - "models": the names of the embedded models.
#[pyfunction]
#[pyo3(signature = () -> "dict[str, typing.Any]")]
pub(super) fn info(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let info = PyDict::new(py);
    info.set_item("version", version())?;
    let isa = Isa::detect()?;
    info.set_item("isa", isa.name())?;
    info.set_item("multiplies_bytes", isa.multiplies_bytes())?;
    info.set_item("supported", Isa::supported().map(Isa::name).collect::<Vec<_>>())?;
    info.set_item("cores", cores())?;
    info.set_item("threads", super::run::threads(py, None)?)?;
    info.set_item("models", ["lite"])?;
    Ok(info)
}
