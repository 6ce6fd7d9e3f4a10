//! Why there is no image: the file is at fault, or the system, which has no memory left.
use crate::error::{Error, Result};
use crate::memory::{room, zeros};
use std::path::Path;

/// The remedy for an image that breaks the rules of its container. (One that is called damaged is decoded, with a warning.)
pub(super) const BROKEN: &str = "it cannot be decoded; get the file anew, or leave it out";

/// Why there is no image.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The file is at fault, for this reason.
    File(String),
    /// The system has not so many bytes, which is no fault of the file.
    Memory(usize),
}

impl Refused {
    /// Zeros that take no memory before they are written.
    pub(super) fn zeros(size: usize) -> std::result::Result<Vec<u8>, Self> {
        zeros("", size).map_err(|_| Self::Memory(size))
    }

    /// Checks that there is memory for so many bytes, before a decoder reserves them itself and would end the process.
    pub(super) fn check_memory(size: usize) -> std::result::Result<(), Self> {
        room::<u8>("", size).map(drop).map_err(|_| Self::Memory(size))
    }

    /// The error that names this file.
    pub(super) fn named<T>(self, name: &Path) -> Result<T> {
        Err(match self {
            Self::File(reason) => Error::image(name, reason),
            Self::Memory(bytes) => Error::Memory { what: name.display().to_string(), bytes },
        })
    }
}

impl From<String> for Refused {
    fn from(reason: String) -> Self {
        Self::File(reason)
    }
}

impl From<&str> for Refused {
    fn from(reason: &str) -> Self {
        Self::File(reason.into())
    }
}
