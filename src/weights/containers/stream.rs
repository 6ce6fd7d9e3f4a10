//! A bounded, forward-only reader of a member of a folder or of an archive.
use crate::error::{Error, Result};
use crate::interrupt::poll;
use crate::memory;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// Number of bytes read between two checks for Ctrl-C.
const PART: usize = 4 << 20;

/// A member that is being read.
pub struct Stream<'a> {
    origin: &'a Path,
    name: &'a str,
    size: u64,
    at: u64,
    body: Body<'a>,
}

/// The source of a member's bytes.
pub(super) enum Body<'a> {
    /// A separate file.
    File(File),
    /// An archive, at the member's first byte.
    Archived(&'a mut dyn Read),
}

impl<'a> Stream<'a> {
    /// Creates a stream of a member of `origin`, at its first byte.
    pub(super) fn new(origin: &'a Path, name: &'a str, size: u64, body: Body<'a>) -> Self {
        Self { origin, name, size, at: 0, body }
    }

    /// Returns the member's name.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Returns the member's size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Creates an error about this member.
    pub fn wrong(&self, what: &str) -> Error {
        Error::weights(self.origin, format!("{} {what}", self.name))
    }

    /// Skips the bytes before `to`.
    ///
    /// # Errors
    /// The member ends before `to`, or was already read beyond it.
    pub fn skip_to(&mut self, to: u64) -> Result<()> {
        let ahead = to.checked_sub(self.at).filter(|_| to <= self.size);
        let ahead = ahead.ok_or_else(|| {
            self.wrong(&format!(
                "has overlapping entries, or is truncated: byte {to} of {} was expected after byte {}",
                self.size, self.at
            ))
        })?;
        let skipped = match &mut self.body {
            Body::File(file) => file.seek(SeekFrom::Start(to)).map(|_| ahead),
            Body::Archived(body) => io::copy(&mut body.take(ahead), &mut io::sink()),
        };
        self.advance(skipped, ahead)
    }

    /// Fills `out` with the next bytes.
    ///
    /// # Errors
    /// The member has fewer bytes left than `out` has room for.
    pub fn fill(&mut self, out: &mut [u8]) -> Result<()> {
        for part in out.chunks_mut(PART) {
            poll();
            let read = match &mut self.body {
                Body::File(file) => file.read_exact(part),
                Body::Archived(body) => body.read_exact(part),
            };
            self.advance(read.map(|()| part.len() as u64), part.len() as u64)?;
        }
        Ok(())
    }

    /// Reads the next `size` bytes.
    ///
    /// # Errors
    /// The member has fewer than `size` bytes left, or there is not enough memory.
    pub fn bytes(&mut self, size: usize) -> Result<Vec<u8>> {
        if size as u64 > self.size.saturating_sub(self.at) {
            return Err(self.wrong(&format!("ends at byte {}, before the {size} after byte {}", self.size, self.at)));
        }
        let mut bytes = memory::zeros(self.name, size)?;
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// Advances by `wanted` bytes, after a check that `wanted` bytes were read.
    fn advance(&mut self, read: io::Result<u64>, wanted: u64) -> Result<()> {
        match read {
            Ok(count) if count == wanted => {
                self.at += count;
                Ok(())
            }
            Ok(_) => Err(self.wrong(&format!("ends before byte {}; is the file truncated?", self.at + wanted))),
            Err(error) => {
                Err(self.wrong(&format!("cannot be read after byte {} ({error}); is the file truncated?", self.at)))
            }
        }
    }
}
