//! The one table from this crate's errors to Python's classes.
use crate::error::Error;
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        match &error {
            // With its number, OSError becomes FileNotFoundError, PermissionError and so on.
            Error::Io { path, source } => match source.raw_os_error() {
                Some(number) => {
                    let message = source.to_string();
                    let message = message.split(" (os error").next().unwrap_or_default().to_owned();
                    PyOSError::new_err((number, message, path.as_os_str().to_owned()))
                }
                None => PyOSError::new_err(error.to_string()),
            },
            Error::Panic { .. } | Error::Cuda { .. } => PyRuntimeError::new_err(error.to_string()),
            _ => PyValueError::new_err(error.to_string()),
        }
    }
}
