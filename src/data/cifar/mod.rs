//! The Python version of CIFAR: pickled batches, read without Python.
mod pickle;

use self::pickle::{Parsed, Reader, Value};
use super::names::{numbered, relative, root};
use super::records::interleaved;
use super::{Item, Layout, Source};
use crate::error::{Error, Result};
use crate::files;
use crate::image::DecodeOptions;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Limit of the file size in bytes: about twice the size of CIFAR-100 in the least compact encoding.
const MOST_BYTES: u64 = 1 << 29;

/// The images of one or more batches, in memory.
#[derive(Debug)]
pub struct Cifar {
    layout: Layout,
    /// The files, each with the index of its first image.
    files: Vec<(usize, PathBuf)>,
    /// The pixels of all images; each image is stored as planes.
    colors: Vec<u8>,
    targets: Vec<i64>,
}

impl Cifar {
    /// Reads batch files and concatenates their images. The layout is [`Layout::CIFAR10`] or [`Layout::CIFAR100`].
    ///
    /// The classes of CIFAR-100 are the fine ones.
    ///
    /// # Errors
    /// A file cannot be read or is not a complete batch of this layout, or a class is outside the layout's range.
    pub fn new(layout: Layout, paths: Vec<PathBuf>) -> Result<Self> {
        let mut batches = Self { layout, files: vec![], colors: vec![], targets: vec![] };
        for path in paths {
            let data = contents(&path)?;
            let read = Reader::new(&data).read().and_then(|read| batches.add(&read));
            let first = read.map_err(|what| Error::image(&path, format!("not a readable batch of CIFAR: {what}")))?;
            batches.files.push((first, path));
        }
        Ok(batches)
    }

    /// Adds the contents of a file, and returns the index of its first image.
    fn add(&mut self, read: &Reader) -> Parsed<usize> {
        let classes = self.layout.target.map_or(0, |(_, classes)| classes);
        let labels: &[u8] = if classes == 100 { b"fine_labels" } else { b"labels" };
        let Some(&Value::Array { shape: Some((rows, columns)), bytes, latin, by_columns }) = read.value(b"data") else {
            return Err("there is no array under \"data\"".into());
        };
        let Some(Value::List(list)) = read.value(labels) else {
            return Err(format!("there is no list under {:?}", String::from_utf8_lossy(labels)));
        };
        let each = 3 * self.layout.side * self.layout.side;
        let found = if latin { from_latin(bytes)? } else { bytes.to_vec() };
        if columns != each || rows.checked_mul(each) != Some(found.len()) || list.len() != rows {
            let got = format!("{rows}x{columns} of {} bytes, and {} classes", found.len(), list.len());
            return Err(format!("the array is {got}; expected rows of {each}, and a class for each"));
        }
        let first = self.targets.len();
        for &value in list {
            match read.values[value as usize] {
                Value::Int(class) if (0..i64::from(classes)).contains(&class) => self.targets.push(class),
                Value::Int(class) => return Err(format!("class {class} of {classes}, counted from 0")),
                _ => return Err("a class that is not an integer".into()),
            }
        }
        match by_columns {
            false => self.colors.extend(found),
            true => self.colors.extend((0..rows * each).map(|i| found[i % each * rows + i / each])),
        }
        Ok(first)
    }
}

impl Source for Cifar {
    fn len(&self) -> usize {
        self.targets.len()
    }

    fn name(&self, index: usize) -> OsString {
        let (first, path) = &self.files[self.files.partition_point(|(first, _)| *first <= index) - 1];
        let root = root(self.files.iter().map(|(_, path)| path.as_path()));
        numbered(relative(path, &root), index - first)
    }

    fn bytes(&self, _: usize) -> Option<u64> {
        Some(3 * (self.layout.side * self.layout.side) as u64)
    }

    fn get(&self, index: usize, _: &DecodeOptions<'_>) -> Result<Item> {
        let side = self.layout.side;
        let each = 3 * side * side;
        let image = interleaved(&self.colors[index * each..(index + 1) * each], side, false);
        Ok(Item { image, target: self.targets[index] })
    }
}

fn contents(path: &Path) -> Result<Vec<u8>> {
    let io = |e| Error::io(path, e);
    files::regular(path)?;
    let file = File::open(path).map_err(io)?;
    let len = file.metadata().map_err(io)?.len();
    if len > MOST_BYTES {
        return Err(Error::image(path, format!("{len} bytes are more than a batch of CIFAR has; it is another file")));
    }
    let mut data = vec![];
    file.take(MOST_BYTES).read_to_end(&mut data).map_err(io)?;
    Ok(data)
}

/// Converts Latin-1 text, encoded in UTF-8, to bytes.
fn from_latin(text: &[u8]) -> Parsed<Vec<u8>> {
    let wrong = "bytes that are not text of 8-bit characters";
    let text = std::str::from_utf8(text).map_err(|_| wrong)?;
    text.chars().map(|character| u8::try_from(character).map_err(|_| wrong.to_owned())).collect()
}
