//! CIFAR-10, CIFAR-100 and STL-10 in their original binary formats: records of equal size, with pixels as planes.
use super::names::{numbered, relative, root};
use super::{Item, Source};
use crate::error::{Error, Result};
use crate::image::{DecodeOptions, Decoded, RgbImage};
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

/// The layout of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Number of bytes before the pixels.
    pub header: usize,
    /// The position of the class among the bytes of the header, and the number of classes; `None` if records have no class.
    pub target: Option<(usize, u8)>,
    /// Height and width of an image in pixels.
    pub side: usize,
    /// True if each plane is stored column by column, false if row by row.
    pub columns_first: bool,
}

impl Layout {
    /// `data_batch_1.bin` and so on: a class and 32x32 pixels.
    pub const CIFAR10: Self = Self { header: 1, target: Some((0, 10)), side: 32, columns_first: false };
    /// `train.bin` and `test.bin`: a coarse class, a fine one and 32x32 pixels.
    pub const CIFAR100: Self = Self { header: 2, target: Some((1, 100)), side: 32, columns_first: false };
    /// `train_X.bin`, `test_X.bin` and `unlabeled_X.bin`: 96x96 pixels, column by column.
    pub const STL10: Self = Self { header: 0, target: None, side: 96, columns_first: true };

    /// Returns the size of a record in bytes.
    pub fn bytes(&self) -> usize {
        self.header + 3 * self.side * self.side
    }
}

/// Files of records, read on demand.
#[derive(Debug)]
pub struct Records {
    layout: Layout,
    /// The files, each with the index of its first record.
    files: Vec<(usize, PathBuf)>,
    root: PathBuf,
    len: usize,
    /// The classes of the records, if passed by the user.
    targets: Option<Vec<i64>>,
}

impl Records {
    /// Opens files of records and concatenates them. `targets` are the classes, if the records contain none.
    ///
    /// # Errors
    /// A file cannot be read; its size is not a positive multiple of the record size; or `targets` does not have exactly
    /// one class for each record.
    pub fn new(layout: Layout, paths: Vec<PathBuf>, targets: Option<Vec<i64>>) -> Result<Self> {
        let root = root(paths.iter().map(PathBuf::as_path));
        let mut records = Self { layout, files: vec![], root, len: 0, targets };
        for path in paths {
            let bytes = std::fs::metadata(&path).map_err(|e| Error::io(&path, e))?.len() as usize;
            if bytes == 0 || !bytes.is_multiple_of(layout.bytes()) {
                let reason = format!(
                    "{bytes} bytes are not a multiple of the record size, {}; it is truncated, or another file",
                    layout.bytes()
                );
                return Err(Error::image(path, reason));
            }
            records.files.push((records.len, path));
            records.len += bytes / layout.bytes();
        }
        match &records.targets {
            Some(targets) if targets.len() != records.len => Err(Error::shape(
                "targets",
                format!("must have length {}, one for each image", records.len),
                targets.len(),
            )),
            _ => Ok(records),
        }
    }

    /// Returns the file that contains a record, and the index of the record in that file.
    fn place(&self, index: usize) -> (&PathBuf, usize) {
        let file = self.files.partition_point(|(first, _)| *first <= index) - 1;
        let (first, path) = &self.files[file];
        (path, index - first)
    }
}

impl Source for Records {
    fn len(&self) -> usize {
        self.len
    }

    fn name(&self, index: usize) -> OsString {
        let (path, record) = self.place(index);
        numbered(relative(path, &self.root), record)
    }

    fn bytes(&self, _: usize) -> Option<u64> {
        Some(self.layout.bytes() as u64)
    }

    fn get(&self, index: usize, _: &DecodeOptions<'_>) -> Result<Item> {
        let (path, record) = self.place(index);
        let Layout { header, target, side, columns_first } = self.layout;
        let mut bytes = vec![0; self.layout.bytes()];
        let read = File::open(path).and_then(|mut file| {
            file.seek(SeekFrom::Start((record * bytes.len()) as u64))?;
            file.read_exact(&mut bytes)
        });
        read.map_err(|e| Error::io(path, e))?;
        if let Some((at, classes)) = target
            && bytes[at] >= classes
        {
            let reason = format!(
                "class {} of {classes}, counted from 0; it is another file, or its bytes are shifted",
                bytes[at]
            );
            return Err(Error::image(numbered(path, record), reason));
        }
        let own = target.map(|(at, _)| i64::from(bytes[at]));
        let target = self.targets.as_ref().map(|targets| targets[index]).or(own).unwrap_or(0);
        Ok(Item { image: interleaved(&bytes[header..], side, columns_first), target })
    }
}

/// Converts planes, stored row by row or column by column, to an interleaved image.
pub(super) fn interleaved(colors: &[u8], side: usize, columns_first: bool) -> Decoded {
    let size = side * side;
    let mut bytes = Vec::with_capacity(3 * size);
    for i in 0..size {
        let at = if columns_first { i % side * side + i / side } else { i };
        bytes.extend([colors[at], colors[size + at], colors[2 * size + at]]);
    }
    Decoded { pixels: RgbImage { height: side, width: side, bytes }, damage: None }
}
