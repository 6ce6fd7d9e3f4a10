//! Files as the system has them: read where they are regular ones, written whole or not at all.
use crate::error::{Error, Result};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// What the system says of a file that holds images, asked before it is opened: opening a pipe would wait for its writer.
///
/// # Errors
/// The system refuses; there is a pipe or a device of this name. A folder is an error when it is read.
pub fn regular(path: &Path) -> Result<Metadata> {
    let found = fs::metadata(path).map_err(|error| Error::io(path, error))?;
    match found.is_file() || found.is_dir() {
        true => Ok(found),
        false => Err(Error::image(path, "no regular file; leave it out")),
    }
}

/// Writes these bytes, one part after the other: beside the file, to the disk, and then in its place. Where a link stands, the
/// file takes its place, and what the link leads to stays as it is.
///
/// # Errors
/// The system refuses, or a folder, a device or a pipe has the name; what stood there is what it was, and nothing is left behind.
pub fn write(path: &Path, parts: &[&[u8]]) -> Result<()> {
    replace(path, parts).map_err(|error| Error::io(path, error))
}

fn replace(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(io::Error::other("a folder, a device or a pipe has this name; give that of a file"));
    }
    let (part, mut file) = beside(path)?;
    let written = parts.iter().try_for_each(|bytes| file.write_all(bytes));
    // A disk that is full may say so only now.
    let kept = written.and_then(|()| file.sync_all());
    drop(file);
    let renamed = kept.and_then(|()| fs::rename(&part, path));
    if renamed.is_err() {
        // Best effort: the first error is the one to tell.
        let _ = fs::remove_file(&part);
    }
    renamed
}

/// A new file in the same folder. Its name is short, whatever that of `path`, and nobody can foresee it or lay a link there.
/// A killed process leaves it behind; `sassl.pretraining.folder` knows such names.
fn beside(path: &Path) -> io::Result<(PathBuf, File)> {
    loop {
        let part = path.with_file_name(format!(".sassl-{:016x}.part", rand::random::<u64>()));
        match OpenOptions::new().write(true).create_new(true).open(&part) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            opened => return Ok((part, opened?)),
        }
    }
}
