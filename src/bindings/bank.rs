//! `Bank` and `Gaussian`: the sources of styles.
use super::arrays::{floats, into_array};
use super::run::{run, run_on};
use crate::error::{Error, tuple};
use crate::style;
use crate::style::Styles;
use crate::weights::safetensors::Dtype;
use pyo3::prelude::*;
use std::path::PathBuf;
use std::sync::Arc;

/// Style vectors of one space, in memory. `sassl.StyleBank` is the public class.
#[pyclass(frozen, module = "sassl._sassl")]
pub(super) struct Bank(pub(super) Arc<style::Bank>);

#[pymethods]
impl Bank {
    /// Args:
    ///     vectors: (n, dim) floats.
    ///     space: id of the style space of the vectors. Each predictor has its own space.
    ///     names: a name for each vector, e.g. of the image it was computed from; or None.
    #[new]
    #[pyo3(signature = (vectors: "numpy.typing.ArrayLike", space: "str", names: "list[str] | None" = None))]
    fn new(vectors: &Bound<'_, PyAny>, space: &str, names: Option<Vec<String>>) -> PyResult<Self> {
        let vectors = floats("vectors", vectors)?;
        let &[_, dim] = vectors.shape() else {
            return Err(Error::shape("vectors", "must have shape (n, dim)", tuple(vectors.shape())).into());
        };
        Ok(Self(Arc::new(style::Bank::new(vectors.slice()?.to_vec(), dim, space, names)?)))
    }

    /// Return the bank that ships with the package, in the style space of the model "lite".
    #[staticmethod]
    fn default(py: Python<'_>) -> PyResult<Self> {
        Ok(Self(Arc::new(run(py, style::Bank::embedded)?)))
    }

    /// Read a bank file into memory; later changes to the file have no effect on the bank.
    #[staticmethod]
    #[pyo3(signature = (path: "str | os.PathLike[str]"))]
    fn load(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        Ok(Self(Arc::new(run_on(py, path.display(), || style::Bank::load(&path))?)))
    }

    /// Write the bank to a .safetensors file, atomically: as float16, or as float32 if `exact`.
    #[pyo3(signature = (path: "str | os.PathLike[str]", exact = false) -> "None")]
    fn save(&self, py: Python<'_>, path: PathBuf, exact: bool) -> PyResult<()> {
        let dtype = if exact { Dtype::F32 } else { Dtype::F16 };
        run_on(py, path.display(), || self.0.save(&path, dtype))
    }

    /// A copy of all vectors, (n, dim) float32.
    #[getter]
    fn vectors<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        into_array(py, self.0.vectors(), &[self.0.len(), self.0.dim()])
    }

    /// Length of a vector.
    #[getter]
    fn dim(&self) -> usize {
        self.0.dim()
    }

    /// Id of the style space of the vectors. Each predictor has its own space.
    #[getter]
    fn space(&self) -> &str {
        self.0.space()
    }

    /// A name for each vector, e.g. of the image it was computed from; None if the bank has no names.
    #[getter]
    fn names(&self) -> Option<Vec<String>> {
        self.0.names().map(<[String]>::to_vec)
    }

    /// Fit a Gaussian to the vectors: their mean and their first `rank` principal axes.
    #[pyo3(signature = (rank = 20))]
    fn gaussian(&self, py: Python<'_>, rank: usize) -> PyResult<Gaussian> {
        Ok(Gaussian(Arc::new(run_on(py, "gaussian", || self.0.gaussian(rank))?)))
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }

    fn __getnewargs__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, String, Option<Vec<String>>)> {
        Ok((self.vectors(py)?, self.space().to_owned(), self.names()))
    }
}

/// A low-rank Gaussian fitted to the style vectors of a bank; see `Bank.gaussian`.
#[pyclass(frozen, module = "sassl._sassl")]
pub(super) struct Gaussian(pub(super) Arc<style::Gaussian>);

#[pymethods]
impl Gaussian {
    /// Args:
    ///     mean: (dim,) floats.
    ///     axes: (rank, dim) floats, the principal axes; the length of an axis is the standard deviation along that axis.
    ///     space: id of the style space of the mean and the axes. Each predictor has its own space.
    #[new]
    #[pyo3(signature = (mean: "numpy.typing.ArrayLike", axes: "numpy.typing.ArrayLike", space: "str"))]
    fn new(mean: &Bound<'_, PyAny>, axes: &Bound<'_, PyAny>, space: &str) -> PyResult<Self> {
        let (mean, axes) = (floats("mean", mean)?, floats("axes", axes)?);
        let (mean, axes) = (mean.slice()?.to_vec(), axes.slice()?.to_vec());
        Ok(Self(Arc::new(style::Gaussian::from_parts(mean, axes, space)?)))
    }

    /// Number of principal axes.
    #[getter]
    fn rank(&self) -> usize {
        self.0.rank()
    }

    /// Length of a vector.
    #[getter]
    fn dim(&self) -> usize {
        self.0.dim()
    }

    /// Id of the style space of the mean and the axes. Each predictor has its own space.
    #[getter]
    fn space(&self) -> &str {
        self.0.space()
    }

    /// The mean style, (dim,) float32.
    #[getter]
    fn mean<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        into_array(py, self.0.mean().to_vec(), &[self.0.dim()])
    }

    /// The principal axes, (rank, dim) float32; the length of an axis is the standard deviation along that axis.
    #[getter]
    fn axes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        into_array(py, self.0.axes().to_vec(), &[self.0.rank(), self.0.dim()])
    }

    /// Write the Gaussian to a .safetensors file of float32, atomically.
    #[pyo3(signature = (path: "str | os.PathLike[str]") -> "None")]
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        run_on(py, path.display(), || self.0.save(&path))
    }

    fn __repr__(&self) -> String {
        format!("Gaussian(rank={}, dim={}, space={:?})", self.0.rank(), self.0.dim(), self.0.space())
    }

    fn __getnewargs__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>, String)> {
        Ok((self.mean(py)?, self.axes(py)?, self.space().to_owned()))
    }
}

/// Load a bank or a Gaussian from a file.
///
/// Raises:
///     OSError: the file cannot be read.
///     ValueError: the file is neither a bank nor a Gaussian.
#[pyfunction]
#[pyo3(signature = (path: "str | os.PathLike[str]") -> "Bank | Gaussian")]
pub(super) fn load_styles(py: Python<'_>, path: PathBuf) -> PyResult<Bound<'_, PyAny>> {
    match run_on(py, path.display(), || Styles::load(&path))? {
        Styles::Bank(bank) => Ok(Bound::new(py, Bank(bank))?.into_any()),
        Styles::Gaussian(gaussian) => Ok(Bound::new(py, Gaussian(gaussian))?.into_any()),
        Styles::Batch => unreachable!("no file is a batch"),
    }
}
