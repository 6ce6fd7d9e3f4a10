//! Some images of several sources, in a given order and under classes of their own: train and val as one set, or a part of one.
use super::{Item, Source};
use crate::error::{Error, Result};
use crate::image::DecodeOptions;
use std::ffi::OsString;
use std::sync::Arc;

/// Rows of sources that follow one another.
pub struct Selection {
    sources: Vec<Arc<dyn Source>>,
    /// Images of the sources up to each, itself included.
    ends: Vec<usize>,
    rows: Vec<usize>,
    targets: Vec<i64>,
}

impl Selection {
    /// The images of these numbers, counted through all sources, each with a class.
    ///
    /// # Errors
    /// Not one class for each image; a number that no image has.
    pub fn new(sources: Vec<Arc<dyn Source>>, rows: Vec<usize>, targets: Vec<i64>) -> Result<Self> {
        let lengths = sources.iter().map(|source| source.len());
        let ends: Vec<usize> = lengths.scan(0, |end, len| Some(std::mem::replace(end, *end + len) + len)).collect();
        let all = ends.last().copied().unwrap_or(0);
        if rows.len() != targets.len() {
            return Err(Error::shape("targets", format!("one for each of {} images", rows.len()), targets.len()));
        }
        match rows.iter().position(|&row| row >= all) {
            Some(at) => Err(Error::value(format!("rows[{at}]"), rows[at], format!("there are {all} images, from 0"))),
            None => Ok(Self { sources, ends, rows, targets }),
        }
    }

    /// A source, and the number that an image has there.
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
