//! `write_file`: atomic writing of files for Python.
use super::run::run;
use crate::files;
use pyo3::prelude::*;
use std::path::PathBuf;

/// Write a file atomically, and sync it to disk.
///
/// Args:
///     path: the file to write; an existing link is replaced, not followed.
///     data: the contents of the file.
///
/// Raises:
///     OSError: the write fails, or the path is a folder, a device or a pipe. An existing file is then left unchanged.
#[pyfunction]
#[pyo3(signature = (path: "str | os.PathLike[str]", data: "bytes") -> "None")]
pub(super) fn write_file(py: Python<'_>, path: PathBuf, data: &[u8]) -> PyResult<()> {
    run(py, || files::write(&path, &[data]))
}
