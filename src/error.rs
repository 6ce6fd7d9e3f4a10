//! Errors: one variant per kind, with messages that name the value, its location and the remedy.
use std::any::Any;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The result of every fallible function of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An array has the wrong shape.
    #[error("{}", sentence(what, requirement, got))]
    Shape {
        /// The name of the array.
        what: String,
        /// The requirement, such as "must have shape (n, 3)"; a remedy may follow it after "; ".
        requirement: String,
        /// The actual shape.
        got: String,
    },

    /// A value is outside its range.
    #[error("{}", sentence(name, requirement, value))]
    Value {
        /// The parameter's name.
        name: String,
        /// The value that was passed.
        value: String,
        /// The requirement, such as "must be in [0, 1]"; a remedy may follow it after "; ".
        requirement: String,
    },

    /// Arguments are incompatible, or the state of an object does not allow the call.
    #[error("{reason}")]
    Invalid {
        /// The fault, and the remedy.
        reason: String,
    },

    /// Style vectors were passed to a model of another style space.
    #[error(
        "{what} is of style space {found}, but the model's space is {expected}: \
         style vectors work only with the model whose predictor computed them; encode the styles again with this model: \
         pass their folder as styles, or a bank from `sassl bank FOLDER --model FILE`"
    )]
    Space {
        /// The array or file that holds the style vectors.
        what: String,
        /// The id of the vectors' style space.
        found: String,
        /// The id of the model's style space.
        expected: String,
    },

    /// A weight or bank file is invalid.
    #[error("{}: {reason}", path.display())]
    Weights {
        /// The file.
        path: PathBuf,
        /// The defect of the file, and the remedy.
        reason: String,
    },

    /// An image cannot be read or decoded.
    #[error("{}: {reason}", path.display())]
    Image {
        /// The path of the file, or a name for bytes in memory.
        path: PathBuf,
        /// The defect of the image.
        reason: String,
    },

    /// An error raised by a third-party source of images.
    #[error("{}: {reason}", name.display())]
    Foreign {
        /// The name of the image.
        name: PathBuf,
        /// The error message.
        reason: String,
        /// True if the image is not at fault, e.g. if there was an interrupt or memory is exhausted.
        fatal: bool,
        /// The original error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// An error from candle, the tensor library.
    #[error("{reason}")]
    Tensor {
        /// candle's message.
        reason: String,
    },

    /// No GPU is available, or a GPU failed.
    #[error("CUDA: {reason}")]
    Cuda {
        /// The fault, and the remedy.
        reason: String,
    },

    /// The system cannot provide enough memory.
    #[error("{what}: not enough memory: {bytes} bytes are needed")]
    Memory {
        /// The argument or the file that needs the memory.
        what: String,
        /// The number of bytes.
        bytes: usize,
    },

    /// A bug in this crate.
    #[error("{what}: sassl panicked: {message}; this is a bug of sassl, please report it")]
    Panic {
        /// The operation that panicked.
        what: String,
        /// The panic message.
        message: String,
    },

    /// A file operation failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
}

impl Error {
    /// Creates an error for a wrong shape.
    pub fn shape(what: impl Into<String>, requirement: impl Into<String>, got: impl ToString) -> Self {
        Self::Shape { what: what.into(), requirement: requirement.into(), got: got.to_string() }
    }

    /// Creates an error for a value outside its range.
    pub fn value(name: impl Into<String>, value: impl ToString, requirement: impl Into<String>) -> Self {
        Self::Value { name: name.into(), value: value.to_string(), requirement: requirement.into() }
    }

    /// Creates an error for incompatible arguments, or for a call that the state of an object does not allow.
    pub fn invalid(reason: impl Into<String>) -> Self {
        Self::Invalid { reason: reason.into() }
    }

    /// Creates an error for an invalid weight file.
    pub fn weights(path: impl AsRef<Path>, reason: impl Into<String>) -> Self {
        Self::Weights { path: path.as_ref().to_path_buf(), reason: reason.into() }
    }

    /// Creates an error for an image that cannot be read.
    pub fn image(path: impl AsRef<Path>, reason: impl Into<String>) -> Self {
        Self::Image { path: path.as_ref().to_path_buf(), reason: reason.into() }
    }

    /// Returns `true` if the error is known to have a cause other than the image that was being read, e.g. exhausted memory. A
    /// loader must then report the error, not substitute another image.
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::Foreign { fatal, .. } => *fatal,
            Self::Memory { .. } => true,
            Self::Io { source, .. } => is_exhausted(source),
            _ => false,
        }
    }

    /// Creates an error from the payload of a caught panic.
    pub fn panic(what: impl Into<String>, payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let message = text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default();
        Self::Panic { what: what.into(), message }
    }

    /// Creates an error for a failed file operation.
    pub fn io(path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Self::Io { path: path.as_ref().to_path_buf(), source }
    }
}

/// Returns `true` if the system has run out of memory or file descriptors.
pub(crate) fn is_exhausted(error: &std::io::Error) -> bool {
    // ENFILE and EMFILE; ERROR_TOO_MANY_OPEN_FILES.
    let full = if cfg!(windows) { [4, 4] } else { [23, 24] };
    error.kind() == ErrorKind::OutOfMemory || error.raw_os_error().is_some_and(|number| full.contains(&number))
}

/// Returns "{name} {requirement}, got {value}". A remedy that follows "; " in `requirement` is moved to the end.
fn sentence(name: &str, requirement: &str, value: &str) -> String {
    match requirement.split_once("; ") {
        Some((requirement, remedy)) => format!("{name} {requirement}, got {value}; {remedy}"),
        None => format!("{name} {requirement}, got {value}"),
    }
}

/// Formats a shape as Python does: `(2, 3)`, or `(2,)` for one axis.
pub fn tuple(shape: &[usize]) -> String {
    match shape {
        [side] => format!("({side},)"),
        sides => format!("({})", sides.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    }
}

/// Checks a probability passed by the user.
///
/// # Errors
/// The value is outside [0, 1].
pub fn checked_probability(name: &str, p: f32) -> Result<f32> {
    match (0.0..=1.0).contains(&p) {
        true => Ok(p),
        false => Err(Error::value(name, p, "must be in [0, 1]")),
    }
}

/// Checks a range (low, high) passed by the user. The error quotes `requirement`.
///
/// # Errors
/// The range is reversed, exceeds the limits, or contains NaN.
pub fn checked_range(name: &str, range: (f32, f32), limits: (f32, f32), requirement: &str) -> Result<(f32, f32)> {
    let (low, high) = range;
    match limits.0 <= low && low <= high && high <= limits.1 {
        true => Ok(range),
        false => Err(Error::value(name, format!("({low}, {high})"), requirement)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Error, tuple};

    #[test]
    fn messages_are_sentences_and_remedies_come_last() {
        assert_eq!(Error::value("p", 1.5, "must be in [0, 1]").to_string(), "p must be in [0, 1], got 1.5");
        let error = Error::shape("images", "must have shape (N, 3); reshape them", tuple(&[2]));
        assert_eq!(error.to_string(), "images must have shape (N, 3), got (2,); reshape them");
        assert_eq!(tuple(&[2, 3]), "(2, 3)");
    }
}
