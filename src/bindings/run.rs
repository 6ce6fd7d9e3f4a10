//! Calls from Python into the core: they release the GIL, convert errors and panics, handle Ctrl-C and choose the threads.
use crate::error::{Error, Result};
use crate::interrupt;
use crate::kernels::threads::pool::cores;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::any::Any;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};

/// Runs `work` without the GIL.
///
/// Ctrl-C ends `work` at its next [`interrupt::poll`]. A panic becomes an error that names the source line of the call to
/// `run`.
#[track_caller]
pub(super) fn run<T: Send>(py: Python<'_>, work: impl FnOnce() -> Result<T> + Send) -> PyResult<T> {
    run_on(py, Location::caller(), work)
}

/// Like [`run`], but the error after a panic names `what`: the file or the argument that is being processed.
pub(super) fn run_on<T: Send>(
    py: Python<'_>,
    what: impl Display + Send,
    work: impl FnOnce() -> Result<T> + Send,
) -> PyResult<T> {
    let done = py.detach(|| caught(what, || Ok(interrupt::watched(signals, work)?)))?;
    py.check_signals()?;
    Ok(done)
}

/// Runs `work` on this thread, and converts a panic to an error that names `what`. Unlike [`run`], this does not release the
/// GIL.
pub(super) fn caught<T>(what: impl Display, work: impl FnOnce() -> PyResult<T>) -> PyResult<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        let payload = match payload.downcast::<PyErr>() {
            Ok(signal) => return Err(*signal),
            Err(other) => other,
        };
        Err(match payload.downcast::<Error>() {
            Ok(error) => (*error).into(),
            Err(panic) => Error::panic(what.to_string(), &*panic).into(),
        })
    })
}

/// Runs Python's signal handlers if this is Python's main thread. An exception raised by a handler is returned as an error,
/// which cancels the current call (see [`interrupt::watched`]).
fn signals() -> std::result::Result<(), Box<dyn Any + Send>> {
    match Python::try_attach(|py| py.check_signals()) {
        Some(Err(raised)) => Err(Box::new(raised)),
        _ => Ok(()),
    }
}

/// Returns the number of threads for one call.
///
/// In order of precedence: the given number, the environment variable `SASSL_THREADS`, one thread in a DataLoader worker, the
/// number of cores. The number is determined anew for each call, because a process may become a worker after the model was
/// loaded.
pub(super) fn threads(py: Python<'_>, wanted: Option<usize>) -> PyResult<usize> {
    if let Some(threads) = wanted {
        return Ok(threads);
    }
    if let Some(text) = std::env::var_os("SASSL_THREADS").filter(|text| !text.is_empty()) {
        let text = text.to_string_lossy();
        return match text.trim().parse() {
            Ok(threads) if (1..=MOST_THREADS as usize).contains(&threads) => Ok(threads),
            _ => Err(Error::value(
                "SASSL_THREADS",
                &text,
                format!("must be an integer in [1, {MOST_THREADS}], or unset"),
            )
            .into()),
        };
    }
    let modules = py.import(intern!(py, "sys"))?.getattr(intern!(py, "modules"))?.cast_into::<PyDict>()?;
    if let Some(data) = modules.get_item(intern!(py, "torch.utils.data"))?
        && !data.call_method0(intern!(py, "get_worker_info"))?.is_none()
    {
        return Ok(1);
    }
    Ok(cores())
}

/// The largest accepted number of threads. It exceeds the number of cores of common machines, but a process can still start
/// that many threads.
const MOST_THREADS: isize = 1024;

/// Checks the argument `threads` passed by the user.
pub(super) fn checked_threads(threads: Option<isize>) -> Result<Option<usize>> {
    match threads {
        Some(n) if !(1..=MOST_THREADS).contains(&n) => {
            Err(Error::value("threads", n, format!("must be an integer in [1, {MOST_THREADS}], or None for all cores")))
        }
        Some(n) => Ok(Some(n.unsigned_abs())),
        None => Ok(None),
    }
}
