//! A check of files before they are read, and atomic writing.
use crate::error::{Error, Result};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Returns the metadata of a file that is about to be read. Call this before opening the file, because opening a pipe would
/// block until the pipe has a writer.
///
/// # Errors
/// The file cannot be accessed, or is a pipe or a device. A folder is accepted here; reading it fails later.
pub fn regular(path: &Path) -> Result<Metadata> {
    let found = fs::metadata(path).map_err(|error| Error::io(path, error))?;
    match found.is_file() || found.is_dir() {
        true => Ok(found),
        false => Err(Error::image(path, "not a regular file; leave it out")),
    }
}

/// Writes a file atomically, with the concatenated `parts` as contents. The parts are written to a temporary file in the folder
/// of `path`. This file is synced to disk, then renamed to `path`. If `path` is a symbolic link, the new file replaces the link
/// itself; the link's target is unchanged.
///
/// # Errors
/// The write fails, or `path` is a folder, a device or a pipe. An existing file is then unchanged, and no temporary file is
/// left behind.
pub fn write(path: &Path, parts: &[&[u8]]) -> Result<()> {
    replace(path, parts).map_err(|error| Error::io(path, error))
}

fn replace(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(io::Error::other("exists and is a folder, a device or a pipe; give the path of a file"));
    }
    let (part, mut file) = beside(path)?;
    let written = parts.iter().try_for_each(|bytes| file.write_all(bytes));
    // A full disk may be reported only here.
    let kept = written.and_then(|()| file.sync_all());
    drop(file);
    let renamed = kept.and_then(|()| fs::rename(&part, path));
    if renamed.is_err() {
        // Best effort: the first error is the one to report.
        let _ = fs::remove_file(&part);
    }
    renamed
}

/// Creates a temporary file in the folder of `path`. The temporary file's name is short, even if `path` is long. The name is
/// also unpredictable, so that nobody can create a link under the name in advance. A killed process leaves the file behind;
/// `sassl.pretraining.folder` recognizes the file by its name.
fn beside(path: &Path) -> io::Result<(PathBuf, File)> {
    loop {
        let part = path.with_file_name(format!(".sassl-{:016x}.part", rand::random::<u64>()));
        match OpenOptions::new().write(true).create_new(true).open(&part) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            opened => return Ok((part, opened?)),
        }
    }
}
