//! `write_file`: what Python writes, whole or not at all.
use super::run::run;
use crate::files;
use pyo3::prelude::*;
use std::path::PathBuf;

/// Writes a file: all of it, on the disk, or nothing.
///
/// Args:
///     path: where; a link that stands there is replaced, not followed.
///     data: all of its bytes.
///
/// Raises:
///     OSError: the system refuses, or a folder, a device or a pipe has the name; what stood there is what it was.
#[pyfunction]
#[pyo3(signature = (path: "str | os.PathLike[str]", data: "bytes") -> "None")]
pub(super) fn write_file(py: Python<'_>, path: PathBuf, data: &[u8]) -> PyResult<()> {
    run(py, || files::write(&path, &[data]))
}
