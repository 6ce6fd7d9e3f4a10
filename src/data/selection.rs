//! Images selected from several sources, in a given order and with new classes. Examples: the union of the train and val sets,
//! or a subset of one set.
use super::{Item, Source};
use crate::error::{Error, Result};
use crate::image::DecodeOptions;
use std::ffi::OsString;
use std::sync::Arc;

/// Selected images of concatenated sources.
pub struct Selection {
    sources: Vec<Arc<dyn Source>>,
    /// The end of each source in the concatenation, exclusive.
    ends: Vec<usize>,
    rows: Vec<usize>,
    targets: Vec<i64>,
}

impl Selection {
    /// Selects images from the concatenation of the sources. `rows` are indices in the concatenation; `targets` are the classes
    /// of the selected images.
    ///
    /// # Errors
    /// There is not exactly one class for each index, or an index is out of range.
    pub fn new(sources: Vec<Arc<dyn Source>>, rows: Vec<usize>, targets: Vec<i64>) -> Result<Self> {
        let lengths = sources.iter().map(|source| source.len());
        let ends: Vec<usize> = lengths.scan(0, |end, len| Some(std::mem::replace(end, *end + len) + len)).collect();
        let all = ends.last().copied().unwrap_or(0);
        if rows.len() != targets.len() {
            return Err(Error::shape(
                "targets",
                format!("must have length {}, one for each image", rows.len()),
                targets.len(),
            ));
        }
        match rows.iter().position(|&row| row >= all) {
            Some(at) => Err(Error::value(
                format!("rows[{at}]"),
                rows[at],
                format!("must be in [0, {all}), the range of the images"),
            )),
            None => Ok(Self { sources, ends, rows, targets }),
        }
    }

    /// Returns the source of a selected image, and the index of the image in that source.
    fn place(&self, index: usize) -> (&dyn Source, usize) {
        let row = self.rows[index];
        let at = self.ends.partition_point(|&end| end <= row);
        let begin = if at == 0 { 0 } else { self.ends[at - 1] };
        (&*self.sources[at], row - begin)
    }
}

impl Source for Selection {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn name(&self, index: usize) -> OsString {
        let (source, row) = self.place(index);
        source.name(row)
    }

    fn bytes(&self, index: usize) -> Option<u64> {
        let (source, row) = self.place(index);
        source.bytes(row)
    }

    fn target(&self, index: usize) -> Option<i64> {
        Some(self.targets[index])
    }

    fn get(&self, index: usize, options: &DecodeOptions<'_>) -> Result<Item> {
        let (source, row) = self.place(index);
        Ok(Item { target: self.targets[index], ..source.get(row, options)? })
    }
}
