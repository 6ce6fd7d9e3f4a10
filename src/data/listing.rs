//! Selects the images among the files of a folder or an archive, with one rule for all readers.
//!
//! Files and folders with a leading dot in their names are hidden. So is `__MACOSX`, where macOS stores metadata in archives.
//! Among the other files, the suffix decides which are images.
use super::SUFFIXES;
use crate::error::{Error, Result};
use crate::interrupt::poll;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

/// The contents of a folder and its subfolders.
#[derive(Debug, Default)]
pub struct Listing {
    /// The images, each with its size in bytes.
    pub images: Vec<(PathBuf, u64)>,
    /// The number of hidden files and folders, which are ignored.
    pub hidden: usize,
    /// The number of files without an image suffix.
    pub others: usize,
}

/// A folder, without the contents of its subfolders.
pub(super) struct Folder {
    pub folders: Vec<PathBuf>,
    pub listing: Listing,
}

impl Listing {
    /// Lists all images below a folder: first the images directly in the folder, then the images below each subfolder.
    ///
    /// Images and subfolders are in the order of their names. Links are followed. Each folder is read only once, so that cycles
    /// end.
    ///
    /// # Errors
    /// A folder cannot be read.
    pub fn below(folder: &Path) -> Result<Self> {
        let mut found = Self::default();
        found.walk(folder, &mut HashSet::new())?;
        Ok(found)
    }

    fn walk(&mut self, folder: &Path, seen: &mut HashSet<PathBuf>) -> Result<()> {
        if !seen.insert(fs::canonicalize(folder).map_err(|e| Error::io(folder, e))?) {
            return Ok(());
        }
        let Folder { folders, listing } = Folder::list(folder)?;
        self.add(listing);
        folders.iter().try_for_each(|folder| self.walk(folder, seen))
    }

    /// Appends the contents of another listing.
    pub(super) fn add(&mut self, other: Self) {
        self.images.extend(other.images);
        self.hidden += other.hidden;
        self.others += other.others;
    }
}

impl Folder {
    /// Lists the contents of a folder in the order of the names, without the contents of its subfolders.
    pub fn list(folder: &Path) -> Result<Self> {
        let (mut folders, mut listing) = (vec![], Listing::default());
        for entry in fs::read_dir(folder).map_err(|e| Error::io(folder, e))? {
            poll();
            let path = entry.map_err(|e| Error::io(folder, e))?.path();
            if path.file_name().is_some_and(is_hidden) {
                listing.hidden += 1;
                continue;
            }
            let told = fs::metadata(&path).ok();
            if told.as_ref().is_some_and(fs::Metadata::is_dir) {
                folders.push(path);
            } else if is_image(&path) {
                // A broken link is listed as an image, which then cannot be read.
                listing.images.push((path, told.map_or(0, |told| told.len())));
            } else {
                listing.others += 1;
            }
        }
        folders.sort_unstable();
        listing.images.sort_unstable();
        Ok(Self { folders, listing })
    }
}

/// Returns `true` if a file or a folder of this name is hidden.
pub(super) fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".") || name == "__MACOSX"
}

/// Returns `true` if a file has an image suffix.
pub(super) fn is_image(path: &Path) -> bool {
    let suffix = path.extension().and_then(OsStr::to_str).map(str::to_lowercase);
    suffix.is_some_and(|suffix| SUFFIXES.contains(&suffix.as_str()))
}
