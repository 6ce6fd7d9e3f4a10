//! The mapping from this crate's errors to Python exceptions.
use crate::error::Error;
use pyo3::exceptions::{PyMemoryError, PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use std::io::ErrorKind;

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        let error = match foreign(error) {
            Ok(raised) => return raised,
            Err(error) => error,
        };
        match &error {
            Error::Io { source, .. } if source.kind() == ErrorKind::OutOfMemory => {
                PyMemoryError::new_err(error.to_string())
            }
            // With an errno, OSError becomes FileNotFoundError, PermissionError and so on.
            Error::Io { path, source } => match source.raw_os_error() {
                Some(number) => {
                    let message = source.to_string();
                    let message = message.split(" (os error").next().unwrap_or_default().to_owned();
                    PyOSError::new_err((number, message, path.clone().into_os_string()))
                }
                None => PyOSError::new_err(error.to_string()),
            },
            Error::Memory { .. } => PyMemoryError::new_err(error.to_string()),
            Error::Panic { .. } | Error::Cuda { .. } => PyRuntimeError::new_err(error.to_string()),
            _ => PyValueError::new_err(error.to_string()),
        }
    }
}

/// Restores an exception that Python code raised for an image, or in an operation.
///
/// A fatal exception is restored unchanged, with a note that names the image or the operation. Any other exception becomes the
/// cause of a ValueError that names the image.
fn foreign(error: Error) -> Result<PyErr, Error> {
    let text = error.to_string();
    match error {
        Error::Foreign { name, fatal, source, .. } => Ok(match source.downcast::<PyErr>() {
            Ok(raised) if fatal => {
                // Python before 3.11 has no notes.
                let note = format!("raised for {}", name.display());
                let _ = Python::attach(|py| raised.value(py).call_method1("add_note", (note,)).map(|_| ()));
                *raised
            }
            Ok(raised) => Python::attach(|py| {
                let named = PyValueError::new_err(text);
                named.set_cause(py, Some(*raised));
                named
            }),
            Err(_) => PyValueError::new_err(text),
        }),
        error => Err(error),
    }
}
