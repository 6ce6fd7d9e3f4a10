//! Reasons for a failed decode: a bad file, or exhausted memory.
use crate::error::{Error, Result};
use crate::memory::{room, zeros};
use std::path::Path;

/// The message for an image that violates the rules of its container.
///
/// An image that can be decoded in part is only damaged. It is decoded with a warning.
pub(super) const BROKEN: &str = "it cannot be decoded; get a new copy of the file, or leave it out";

/// The reason for a failed decode.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The file is at fault, for this reason.
    File(String),
    /// The system cannot provide this many bytes; the file is not at fault.
    Memory(usize),
}

impl Refused {
    /// Returns `size` zero bytes, which take up no memory before they are written.
    pub(super) fn zeros(size: usize) -> std::result::Result<Vec<u8>, Self> {
        zeros("", size).map_err(|_| Self::Memory(size))
    }

    /// Checks that this many bytes can be allocated. Without the check, a decoder that fails to allocate them would abort the
    /// process.
    pub(super) fn check_memory(size: usize) -> std::result::Result<(), Self> {
        room::<u8>("", size).map(drop).map_err(|_| Self::Memory(size))
    }

    /// Converts the reason to an error that names this file.
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
