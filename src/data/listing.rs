//! Which files of a folder or an archive are images: one rule for all that reads them. What a dot begins is hidden, and so is
//! `__MACOSX`, where macOS keeps what its archives hold beside the files; the rest is told apart by its suffix.
use super::SUFFIXES;
use crate::error::{Error, Result};
use crate::interrupt::poll;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

/// What is below a folder.
#[derive(Debug, Default)]
pub struct Listing {
    /// The images, each with its bytes.
    pub images: Vec<(PathBuf, u64)>,
    /// How many files and folders were left out because they are hidden.
    pub hidden: usize,
    /// How many files are no images by their suffix.
    pub others: usize,
}

/// A folder, without what is below its subfolders.
pub(super) struct Folder {
    pub folders: Vec<PathBuf>,
    pub listing: Listing,
}

impl Listing {
    /// All images below a folder: its own, then those of one subfolder after the other, each in the order of their names.
    ///
    /// Links are followed, and each folder is read once, so that a loop ends.
    ///
    /// # Errors
    /// A folder that cannot be read.
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

    /// What another one holds, after what this one does.
    pub(super) fn add(&mut self, other: Self) {
        self.images.extend(other.images);
        self.hidden += other.hidden;
        self.others += other.others;
    }
}

impl Folder {
    /// What is in a folder, in the order of the names.
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
                // A link to nowhere is an image that cannot be read.
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

/// Whether this part of a path hides what it names.
pub(super) fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".") || name == "__MACOSX"
}

/// Whether a file is an image by its suffix.
pub(super) fn is_image(path: &Path) -> bool {
    let suffix = path.extension().and_then(OsStr::to_str).map(str::to_lowercase);
    suffix.is_some_and(|suffix| SUFFIXES.contains(&suffix.as_str()))
}
