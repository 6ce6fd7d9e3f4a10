//! Options for reading images, and the handling of unreadable and damaged images.
use crate::error::{Error, Result};
use crate::kernels::threads::lock::locked;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Mutex;

/// The handling of an image that cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// Return an error for the batch.
    #[default]
    Raise,
    /// Replace it with the next readable image, and record the fault.
    Report,
}

/// The handling of an image for which the decoder issued a warning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDamage {
    /// Use the pixels that could be decoded, and record the fault.
    #[default]
    Use,
    /// Replace it with the next readable image, and record the fault.
    Replace,
    /// Return an error for the batch.
    Raise,
}

/// Options of a loader for reading images.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// The minimum side of a reduced JPEG, as in [`crate::image::DecodeOptions`].
    pub least: Option<u16>,
    /// True rotates images upright according to their EXIF orientation.
    pub exif: bool,
    /// The handling of unreadable images.
    pub on_error: OnError,
    /// The handling of damaged images.
    pub on_damage: OnDamage,
}

impl Default for Reading {
    /// Images are rotated upright and decoded at full size; unreadable images are errors, and damaged ones are used.
    fn default() -> Self {
        Self { least: None, exif: true, on_error: OnError::default(), on_damage: OnDamage::default() }
    }
}

/// The record of an unreadable or damaged image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The reason.
    pub reason: String,
    /// The number of occurrences.
    pub count: usize,
    /// True if the image was only damaged, and was used; false if it was replaced.
    pub used: bool,
}

/// Unreadable and damaged images, by name.
#[derive(Debug, Default)]
pub(super) struct Faults(Mutex<BTreeMap<OsString, Fault>>);

impl Faults {
    pub(super) fn count(&self, name: OsString, reason: String, used: bool) {
        let mut faults = locked(&self.0);
        faults.entry(name).or_insert(Fault { reason, count: 0, used }).count += 1;
    }

    pub(super) fn all(&self) -> BTreeMap<OsString, Fault> {
        locked(&self.0).clone()
    }
}

impl OnError {
    /// Returns `Ok(error)` if another image may replace the one that caused the error, and `Err(error)` otherwise.
    pub(super) fn replaces(self, error: Error) -> Result<Error> {
        match self == Self::Report && !error.is_fatal() {
            true => Ok(error),
            false => Err(error),
        }
    }
}
