//! Images as files: a list of paths, or a folder with one subfolder per class.
use super::listing::{Folder, Listing};
use super::names::relative;
use super::{Item, SUFFIXES, Source};
use crate::error::{Error, Result};
use crate::image::{DecodeOptions, read};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

/// Image files, each with a class.
#[derive(Debug, Default)]
pub struct Files {
    paths: Paths,
    targets: Vec<i64>,
}

/// Paths in one buffer, in the encoding of the operating system: they need not be Unicode.
#[derive(Debug, Default)]
struct Paths {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

/// A folder with one subfolder per class, `root/<class>/**/image.jpg`, as read by torchvision's `ImageFolder`.
///
/// If the folder has no subfolders, its images form a single class.
#[derive(Debug)]
pub struct ImageFolder {
    root: PathBuf,
    classes: Vec<OsString>,
    files: Files,
    /// The size of each file in bytes at the time of listing.
    sizes: Vec<u64>,
    hidden: usize,
    others: usize,
}

impl Files {
    /// Creates a source from paths, with a class for each.
    ///
    /// # Errors
    /// There is not exactly one class for each path.
    pub fn new(paths: impl IntoIterator<Item = PathBuf>, targets: Vec<i64>) -> Result<Self> {
        let mut files = Self { targets, ..Self::default() };
        paths.into_iter().for_each(|path| files.paths.push(&path));
        match files.targets.len() == files.len() {
            true => Ok(files),
            false => Err(Error::shape(
                "targets",
                format!("must have length {}, one for each file", files.len()),
                files.targets.len(),
            )),
        }
    }
}

impl Paths {
    fn push(&mut self, path: &Path) {
        self.bytes.extend(encoded(path.as_os_str()));
        self.ends.push(self.bytes.len());
    }

    fn get(&self, index: usize) -> OsString {
        let begin = if index == 0 { 0 } else { self.ends[index - 1] };
        decoded(&self.bytes[begin..self.ends[index]])
    }
}

#[cfg(unix)]
fn encoded(name: &OsStr) -> impl Iterator<Item = u8> {
    std::os::unix::ffi::OsStrExt::as_bytes(name).iter().copied()
}

#[cfg(unix)]
fn decoded(bytes: &[u8]) -> OsString {
    std::os::unix::ffi::OsStringExt::from_vec(bytes.to_vec())
}

#[cfg(windows)]
fn encoded(name: &OsStr) -> impl Iterator<Item = u8> {
    std::os::windows::ffi::OsStrExt::encode_wide(name).flat_map(u16::to_le_bytes)
}

#[cfg(windows)]
fn decoded(bytes: &[u8]) -> OsString {
    let wide: Vec<u16> = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    std::os::windows::ffi::OsStringExt::from_wide(&wide)
}

impl Source for Files {
    fn len(&self) -> usize {
        self.paths.ends.len()
    }

    /// Returns the path as given. A list of paths has no root that names could be relative to.
    fn name(&self, index: usize) -> OsString {
        relative(Path::new(&self.paths.get(index)), Path::new(""))
    }

    fn bytes(&self, index: usize) -> Option<u64> {
        fs::metadata(self.paths.get(index)).ok().map(|told| told.len())
    }

    fn target(&self, index: usize) -> Option<i64> {
        Some(self.targets[index])
    }

    fn get(&self, index: usize, options: &DecodeOptions<'_>) -> Result<Item> {
        Ok(Item { image: read(Path::new(&self.paths.get(index)), options)?, target: self.targets[index] })
    }
}

impl ImageFolder {
    /// Lists a folder. Classes and images are in the order of their names.
    ///
    /// # Errors
    /// A folder cannot be read or has no images; a class has no images; there are images next to the class folders; or two
    /// class names differ only in case.
    pub fn new(root: &Path) -> Result<Self> {
        let Folder { folders, listing: mut all } = Folder::list(root)?;
        let (mut targets, mut classes) = (vec![], vec![]);
        if folders.is_empty() {
            targets.resize(all.images.len(), 0);
            classes.push(OsString::new());
        } else if let Some((first, _)) = all.images.first() {
            return Err(Error::image(first, "an image beside the class folders; move it into one of them"));
        }
        check_names(root, &folders)?;
        for (class, folder) in folders.into_iter().enumerate() {
            let below = Listing::below(&folder)?;
            if below.images.is_empty() {
                return Err(Error::image(folder, format!("a class without images ({})", SUFFIXES.join(", "))));
            }
            all.add(below);
            targets.resize(all.images.len(), class as i64);
            classes.push(folder.file_name().unwrap_or_default().to_owned());
        }
        if all.images.is_empty() {
            return Err(Error::image(root, format!("no image in this folder ({})", SUFFIXES.join(", "))));
        }
        let Listing { images, hidden, others } = all;
        let (paths, sizes): (Vec<_>, Vec<_>) = images.into_iter().unzip();
        Ok(Self { root: root.to_owned(), classes, files: Files::new(paths, targets)?, sizes, hidden, others })
    }

    /// Returns the names of the classes, in the order of their indices.
    pub fn classes(&self) -> &[OsString] {
        &self.classes
    }

    /// Returns the number of hidden files and folders, which are ignored.
    pub fn hidden(&self) -> usize {
        self.hidden
    }

    /// Returns the number of files without an image suffix.
    pub fn others(&self) -> usize {
        self.others
    }
}

/// Checks that no two class names differ only in case. On some operating systems, such folders would be a single class.
fn check_names(root: &Path, folders: &[PathBuf]) -> Result<()> {
    let mut seen: BTreeMap<Vec<u8>, &OsStr> = BTreeMap::new();
    for name in folders.iter().filter_map(|folder| folder.file_name()) {
        let folded = match name.to_str() {
            Some(text) => text.to_lowercase().into_bytes(),
            None => name.as_encoded_bytes().to_ascii_lowercase(),
        };
        if let Some(other) = seen.insert(folded, name) {
            let reason = format!("the classes {other:?} and {name:?} differ only in case; rename one of them");
            return Err(Error::image(root, reason));
        }
    }
    Ok(())
}

impl Source for ImageFolder {
    fn len(&self) -> usize {
        self.files.len()
    }

    fn name(&self, index: usize) -> OsString {
        relative(Path::new(&self.files.paths.get(index)), &self.root)
    }

    fn bytes(&self, index: usize) -> Option<u64> {
        Some(self.sizes[index])
    }

    fn target(&self, index: usize) -> Option<i64> {
        self.files.target(index)
    }

    fn get(&self, index: usize, options: &DecodeOptions<'_>) -> Result<Item> {
        self.files.get(index, options)
    }
}
