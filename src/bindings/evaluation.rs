//! `knn` and `linear_probe`, which `sassl.evaluation` calls.
use super::arrays::{Held, floats, into_array, wrong_type};
use super::run::{checked_threads, run, threads};
use crate::error::{Error, tuple};
use crate::eval::{self, Features, Knn, LinearSettings};
use crate::nn::Engine;
use pyo3::prelude::*;

/// Rank the classes for each query, best first, by a vote of its nearest neighbours in `bank` (Wu et al. 2018, section 3.4).
///
/// Args:
///     bank: (N, dim) features.
///     targets: N labels, integers >= 0.
///     queries: (M, dim) features.
///     k: number of neighbours.
///     temperature: the weight of a neighbour's vote is exp(cosine similarity / temperature).
///     top: number of labels to return per query.
///     threads: number of threads; None: the environment variable SASSL_THREADS, else all cores.
///
/// Returns:
///     Labels, (M, top) int64; fewer columns if there are fewer than `top` classes. If the neighbours of a query belong to
///     fewer classes than there are columns, the end of the query's row is filled with -1.
///
/// Raises:
///     ValueError: arrays of incompatible shapes, values that are not finite, only one class, a k outside [1, N], or a
///         temperature that is not positive.
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
    temperature: f64,
    top: usize,
    threads: Option<isize>,
) -> PyResult<Bound<'py, PyAny>> {
    let sets = Sets::new(("bank", bank), targets, queries)?;
    let (known, asked) = sets.features()?;
    let engine = engine(py, threads)?;
    let ranked = run(py, || eval::knn(engine, Knn { k, temperature }, &known, &asked, top))?;
    ranks(py, ranked)
}

/// Rank the classes for each query, best first, by softmax regression trained on `features` with SGD.
///
/// Args:
///     features: (N, dim) features.
///     targets: N labels, integers >= 0.
///     queries: (M, dim) features.
///     lr: the initial learning rate for a batch size of 256. The rate is scaled linearly to other batch sizes, and decays to 0
///         along a cosine.
///     epochs, batch_size, momentum, nesterov: settings of SGD.
///     seed: seed of the initial weights and of the shuffling in each epoch.
///     top: number of labels to return per query.
///     threads: number of threads; None: the environment variable SASSL_THREADS, else all cores.
///
/// Returns:
///     Labels, (M, top) int64; fewer columns if there are fewer than `top` classes.
///
/// Raises:
///     ValueError: arrays of incompatible shapes, values that are not finite, only one class, or an invalid setting.
#[pyfunction]
#[pyo3(signature = (
    features: "numpy.typing.NDArray[numpy.float32]", targets: "numpy.typing.NDArray[numpy.int64]",
    queries: "numpy.typing.NDArray[numpy.float32]", *, lr = 0.1, epochs = 90, batch_size = 256, momentum = 0.9,
    nesterov = true, seed = 0, top = 1, threads: "int | None" = None
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
    threads: Option<isize>,
) -> PyResult<Bound<'py, PyAny>> {
    let sets = Sets::new(("features", features), targets, queries)?;
    let (known, asked) = sets.features()?;
    let engine = engine(py, threads)?;
    let settings = LinearSettings { lr, epochs, batch_size, momentum, nesterov, seed };
    let ranked = run(py, || eval::linear_probe(engine, settings, &known)?.rank(engine, &asked, top))?;
    ranks(py, ranked)
}

/// Labelled features, and the queries to classify.
struct Sets<'py> {
    known: Held<'py, f32>,
    targets: Vec<i64>,
    asked: Held<'py, f32>,
    unknown: Vec<i64>,
    widths: [usize; 2],
}

impl<'py> Sets<'py> {
    fn new(
        (name, known): (&str, &Bound<'py, PyAny>),
        targets: &Bound<'py, PyAny>,
        queries: &Bound<'py, PyAny>,
    ) -> PyResult<Self> {
        let (known, asked) = (floats(name, known)?, floats("queries", queries)?);
        let widths = [columns(name, known.shape())?, columns("queries", asked.shape())?];
        let unknown = vec![0; asked.shape()[0]];
        Ok(Self { known, targets: classes(targets)?, asked, unknown, widths })
    }

    fn features(&self) -> PyResult<(Features<'_>, Features<'_>)> {
        let known = Features::new("features", self.known.slice()?, self.widths[0], &self.targets)?;
        Ok((known, Features::new("queries", self.asked.slice()?, self.widths[1], &self.unknown)?))
    }
}

fn engine(py: Python<'_>, threads: Option<isize>) -> PyResult<Engine> {
    Ok(Engine::new(self::threads(py, checked_threads(threads)?)?)?)
}

fn classes(targets: &Bound<'_, PyAny>) -> PyResult<Vec<i64>> {
    let list = targets.call_method0("tolist").unwrap_or_else(|_| targets.clone());
    list.extract().map_err(|_| wrong_type("targets", targets, "integers, a class for each row"))
}

fn columns(name: &str, shape: &[usize]) -> PyResult<usize> {
    match *shape {
        [_, dim] => Ok(dim),
        ref other => Err(Error::shape(name, "must have shape (rows, features)", tuple(other)).into()),
    }
}

fn ranks(py: Python<'_>, ranked: Vec<Vec<i64>>) -> PyResult<Bound<'_, PyAny>> {
    let (rows, columns) = (ranked.len(), ranked.first().map_or(0, Vec::len));
    into_array(py, ranked.concat(), &[rows, columns])
}
