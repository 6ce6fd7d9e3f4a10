//! How images are read, and what becomes of those that cannot be, or that are damaged.
use crate::error::{Error, Result};
use crate::kernels::threads::lock::locked;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Mutex;

/// What to do about an image that cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// The batch is an error.
    #[default]
    Raise,
    /// The next good one takes its place, and it is written down.
    Report,
}

/// What to do about an image that the decoder warned of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDamage {
    /// It is taken as far as it could be decoded, and written down.
    #[default]
    Use,
    /// The next good one takes its place, and it is written down.
    Replace,
    /// The batch is an error.
    Raise,
}

/// How a loader reads.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// That of [`crate::image::DecodeOptions`].
    pub least: Option<u16>,
    /// Whether images are turned upright, as their EXIF orientation says.
    pub exif: bool,
    /// Of what cannot be read.
    pub on_error: OnError,
    /// Of what is damaged.
    pub on_damage: OnDamage,
}

impl Default for Reading {
    /// Upright, in their own size; what cannot be read is an error, what is damaged is used.
    fn default() -> Self {
        Self { least: None, exif: true, on_error: OnError::default(), on_damage: OnDamage::default() }
    }
}

/// An image that was bad.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Why.
    pub reason: String,
    /// How often.
    pub count: usize,
    /// Whether it was used all the same, being damaged only; else another took its place.
    pub used: bool,
}

/// Images that were bad, by name.
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
    /// Whether another image may take the place of one with this error; else the error.
    pub(super) fn replaces(self, error: Error) -> Result<Error> {
        match self == Self::Report && !error.is_fatal() {
            true => Ok(error),
            false => Err(error),
        }
    }
}
