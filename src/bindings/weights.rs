//! `convert` and `info`: files of weights, and what this installation is.
use super::run::run_on;
use crate::kernels::isa::Isa;
use crate::kernels::threads::pool::cores;
use crate::weights::magenta;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::path::PathBuf;

/// Converts Magenta's TFLite pair to one .safetensors file, written atomically.
///
/// Args:
///     predictor: F, a MobileNetV2 (`style_predict`).
///     transformer: T (`style_transfer`), of any width and precision.
///     out: the file to write.
///     name: the model's name, kept in the file.
///
/// Raises:
///     ValueError: a file that is not such a network.
///     OSError: a file cannot be read or written.
#[pyfunction]
#[pyo3(signature = (
    predictor: "str | os.PathLike[str]", transformer: "str | os.PathLike[str]", out: "str | os.PathLike[str]",
    name: "str" = "mobile",
) -> "None")]
pub(super) fn convert(
    py: Python<'_>,
    predictor: PathBuf,
    transformer: PathBuf,
    out: PathBuf,
    name: &str,
) -> PyResult<()> {
    run_on(py, predictor.display(), || magenta::mobile_pair(&predictor, &transformer, name)?.save(&out))
}

/// The version of the package.
#[pyfunction]
#[pyo3(signature = () -> "str")]
pub(super) fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// The version, the instruction sets of this machine, the one in use and whether it multiplies bytes, the cores, the
/// threads of a call here, the embedded models.
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
