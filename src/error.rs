//! The ways to be wrong: one variant each, and a message that names the value, the place and the remedy.
use std::any::Any;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// What every fallible function of this crate returns.
pub type Result<T> = std::result::Result<T, Error>;

/// A way to be wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An array of the wrong shape.
    #[error("{what}: expected {expected}, got {got}")]
    Shape {
        /// The array in question.
        what: String,
        /// What its shape must be.
        expected: String,
        /// What its shape is.
        got: String,
    },

    /// A value outside its range.
    #[error("{name} = {value}: {remedy}")]
    Value {
        /// The parameter's name.
        name: String,
        /// The value that was given.
        value: String,
        /// What would be right.
        remedy: String,
    },

    /// Style vectors of one predictor given to the transformer of another.
    #[error(
        "{what} is of style space {found}, but the model's space is {expected}: \
         style vectors fit only the model whose predictor made them; encode the styles again with this model: \
         their folder as styles, or a bank of `sassl bank FOLDER --model FILE`"
    )]
    Space {
        /// What carries the foreign vectors.
        what: String,
        /// The id it carries.
        found: String,
        /// The id that the model needs.
        expected: String,
    },

    /// A weight or bank file that is not what it claims to be.
    #[error("{}: {reason}", path.display())]
    Weights {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        reason: String,
    },

    /// An image that cannot be decoded.
    #[error("{}: {reason}", path.display())]
    Image {
        /// The file, or what else names the bytes.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// What a source of images that is not this crate's has raised.
    #[error("{}: {reason}", name.display())]
    Foreign {
        /// The image.
        name: PathBuf,
        /// Its words.
        reason: String,
        /// Whether it is no fault of the image: an interrupt, or memory that ran out.
        fatal: bool,
        /// What was raised.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// candle's word on tensors.
    #[error("{reason}")]
    Tensor {
        /// What candle says.
        reason: String,
    },

    /// No GPU to compute on, or one that fails.
    #[error("CUDA: {reason}")]
    Cuda {
        /// What is wrong, and what to do.
        reason: String,
    },

    /// More memory than the system gives.
    #[error("{what}: the system has not the {bytes} bytes of memory that this takes")]
    Memory {
        /// The argument or the file that asks for it.
        what: String,
        /// How much.
        bytes: usize,
    },

    /// A bug of this crate.
    #[error("{what}: sassl panicked: {message}; this is a bug of sassl, please report it")]
    Panic {
        /// What it was at.
        what: String,
        /// The panic's words.
        message: String,
    },

    /// The operating system's word on a file.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
}

impl Error {
    /// A shape that does not fit.
    pub fn shape(what: impl Into<String>, expected: impl ToString, got: impl ToString) -> Self {
        Self::Shape { what: what.into(), expected: expected.to_string(), got: got.to_string() }
    }

    /// A value outside its range.
    pub fn value(name: impl Into<String>, value: impl ToString, remedy: impl Into<String>) -> Self {
        Self::Value { name: name.into(), value: value.to_string(), remedy: remedy.into() }
    }

    /// A broken weight file.
    pub fn weights(path: impl AsRef<Path>, reason: impl Into<String>) -> Self {
        Self::Weights { path: path.as_ref().to_path_buf(), reason: reason.into() }
    }

    /// An image that cannot be read, or is none.
    pub fn image(path: impl AsRef<Path>, reason: impl Into<String>) -> Self {
        Self::Image { path: path.as_ref().to_path_buf(), reason: reason.into() }
    }

    /// Whether this is no fault of the image that was read, so that no other image may take its place.
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::Foreign { fatal, .. } => *fatal,
            Self::Memory { .. } => true,
            Self::Io { source, .. } => is_exhausted(source),
            _ => false,
        }
    }

    /// A panic that was caught, as it is told.
    pub fn panic(what: impl Into<String>, payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let message = text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default();
        Self::Panic { what: what.into(), message }
    }

    /// A file the system refused.
    pub fn io(path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Self::Io { path: path.as_ref().to_path_buf(), source }
    }
}

/// Whether the system has no memory or no descriptors left.
pub(crate) fn is_exhausted(error: &std::io::Error) -> bool {
    // ENFILE and EMFILE; ERROR_TOO_MANY_OPEN_FILES.
    let full = if cfg!(windows) { [4, 4] } else { [23, 24] };
    error.kind() == ErrorKind::OutOfMemory || error.raw_os_error().is_some_and(|number| full.contains(&number))
}

/// A probability as a user gives it.
///
/// # Errors
/// Outside [0, 1].
pub fn checked_probability(name: &str, p: f32) -> Result<f32> {
    match (0.0..=1.0).contains(&p) {
        true => Ok(p),
        false => Err(Error::value(name, p, "a probability lies between 0 and 1")),
    }
}

/// A range (low, high) as a user gives it.
///
/// # Errors
/// Ends that are reversed, or beyond the limits.
pub fn checked_range(name: &str, range: (f32, f32), limits: (f32, f32), remedy: &str) -> Result<(f32, f32)> {
    let (low, high) = range;
    match limits.0 <= low && low <= high && high <= limits.1 {
        true => Ok(range),
        false => Err(Error::value(name, format!("({low}, {high})"), remedy)),
    }
}
