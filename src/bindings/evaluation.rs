//! `knn` and `linear_probe`: what `sassl.evaluation` calls.
use super::arrays::{floats, into_array, wrong_type};
use super::run::{checked_threads, run, threads};
use crate::error::Error;
use crate::eval::{self, Features, Knn, Probe, ProbeSettings};
use crate::kernels::{Isa, Precision};
use pyo3::prelude::*;

/// Classes of `queries` by their nearest neighbours in `bank` (Wu et al. 2018, section 3.4), the likeliest first.
///
/// Args:
///     bank: (N, dim) features.
///     targets: N classes, from 0.
///     queries: (M, dim) features.
///     k: neighbours.
///     temperature: of their weights, exp(cosine / temperature).
///     top: how many classes to give.
///     threads: how many; None: the environment variable SASSL_THREADS, else all cores.
///
/// Returns:
///     (M, top) int64; fewer where there are fewer classes.
///
/// Raises:
///     ValueError: arrays that do not fit, one class only, more neighbours than the bank has.
#[pyfunction]
#[pyo3(signature = (
    bank: "numpy.typing.NDArray[numpy.float32]", targets: "numpy.typing.NDArray[numpy.int64]",
    queries: "numpy.typing.NDArray[numpy.float32]", *, k = 200, temperature = 0.1, top = 1, threads: "int | None" = None
) -> "numpy.typing.NDArray[numpy.int64]")]
#[allow(clippy::too_many_arguments)]
pub(super) fn knn<'py>(
    py: Python<'py>,
    bank: &Bound<'py, PyAny>,
    targets: &Bound<'py, PyAny>,
    queries: &Bound<'py, PyAny>,
    k: usize,
    temperature: f32,
    top: usize,
    threads: Option<isize>,
) -> PyResult<Bound<'py, PyAny>> {
    let (known, asked) = (floats("bank", bank)?, floats("queries", queries)?);
    let targets = classes(targets)?;
    let (dim, width) = (columns("bank", known.shape())?, columns("queries", asked.shape())?);
    let unknown = vec![0; asked.shape()[0]];
    let (known, asked) = (known.slice()?, asked.slice()?);
    let threads = self::threads(py, checked_threads(threads)?)?;
    let ranked = run(py, || {
        let bank = Features::new(known, dim, &targets)?;
        let queries = Features::new(asked, width, &unknown)?;
        eval::knn(Isa::detect(Precision::Exact)?, threads, Knn { k, temperature }, &bank, &queries, top)
    })?;
    ranks(py, ranked)
}

/// Classes of `queries` by softmax regression on `features`, the likeliest first.
///
/// Args:
///     features: (N, dim).
///     targets: N classes, from 0.
///     queries: (M, dim).
///     lr: the largest learning rate, for a batch of 256; it falls to 0 by a cosine.
///     epochs, batch_size, momentum, nesterov: of SGD.
///     seed: of the first weights and the order.
///     top: how many classes to give.
///
/// Returns:
///     (M, top) int64; fewer where there are fewer classes.
///
/// Raises:
///     ValueError: arrays that do not fit, one class only, a setting that cannot be.
#[pyfunction]
#[pyo3(signature = (
    features: "numpy.typing.NDArray[numpy.float32]", targets: "numpy.typing.NDArray[numpy.int64]",
    queries: "numpy.typing.NDArray[numpy.float32]", *, lr = 0.1, epochs = 90, batch_size = 256, momentum = 0.9,
    nesterov = true, seed = 0, top = 1
) -> "numpy.typing.NDArray[numpy.int64]")]
#[allow(clippy::too_many_arguments)]
pub(super) fn linear_probe<'py>(
    py: Python<'py>,
    features: &Bound<'py, PyAny>,
    targets: &Bound<'py, PyAny>,
    queries: &Bound<'py, PyAny>,
    lr: f64,
    epochs: usize,
    batch_size: usize,
    momentum: f64,
    nesterov: bool,
    seed: u64,
    top: usize,
) -> PyResult<Bound<'py, PyAny>> {
    let (known, asked) = (floats("features", features)?, floats("queries", queries)?);
    let targets = classes(targets)?;
    let (dim, width) = (columns("features", known.shape())?, columns("queries", asked.shape())?);
    let unknown = vec![0; asked.shape()[0]];
    let (known, asked) = (known.slice()?, asked.slice()?);
    let ranked = run(py, || {
        let settings = ProbeSettings { lr, epochs, batch_size, momentum, nesterov, seed };
        let probe = Probe::new(settings, &Features::new(known, dim, &targets)?)?;
        probe.rank(&Features::new(asked, width, &unknown)?, top)
    })?;
    ranks(py, ranked)
}

fn classes(targets: &Bound<'_, PyAny>) -> PyResult<Vec<i64>> {
    let list = targets.call_method0("tolist").unwrap_or_else(|_| targets.clone());
    list.extract().map_err(|_| wrong_type("targets", targets, "whole numbers, a class for each row"))
}

fn columns(name: &str, shape: &[usize]) -> PyResult<usize> {
    match *shape {
        [_, dim] => Ok(dim),
        ref other => Err(Error::shape(name, "(rows, numbers)", format!("{other:?}")).into()),
    }
}

fn ranks(py: Python<'_>, ranked: Vec<Vec<i64>>) -> PyResult<Bound<'_, PyAny>> {
    let (rows, columns) = (ranked.len(), ranked.first().map_or(0, Vec::len));
    into_array(py, ranked.concat(), &[rows, columns])
}
