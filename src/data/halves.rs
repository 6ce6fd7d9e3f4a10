//! Views in two halves: what needs the image that they are made of, and what works on bytes in the size of the view.
//!
//! ```text
//! image -- [style], crop --> crops, bytes of [3][height][width] -- all other steps --> view
//! ```
//!
//! The first half is that of threads which decode; the second may be a GPU's, a batch at a time. Draws are those of the whole views,
//! so that both halves after each other are the views to the bit.
use super::view::ViewParams;
use super::views::{BatchStyles, Content, Views};
use crate::error::{Error, Result};
use crate::image::RgbView;
use crate::kernels::threads::lock::locked;
use crate::kernels::threads::pool;
use std::sync::{Mutex, PoisonError};

/// Where the crops of a view begin: as the caching allocators of frameworks have it.
const ALIGN: usize = 256;

impl Views {
    /// Where each view's crops begin in the memory of those of `n` images, `[view][image][3][height][width]`, and its bytes.
    pub fn crops(&self, n: usize) -> (Vec<usize>, usize) {
        let mut end = 0;
        let begin = |view: &super::View| {
            let begin = end;
            end += (n * crop_bytes(view)).next_multiple_of(ALIGN);
            begin
        };
        (self.views().iter().map(begin).collect(), end)
    }

    /// Whether the first half needs the other images of the batch: where whole images have styles of it.
    pub fn crops_need_batch(&self) -> bool {
        self.encoded().is_some_and(|(_, step)| step == 0)
    }

    /// Whether they can be made in two halves, of batches that so many ranks share.
    ///
    /// # Errors
    /// Styles of the batch in the second half, where the first has them too, whose encodings are not kept for it, or where there
    /// are others in the batch than this rank's.
    pub fn check_halves(&self, ranks: usize) -> Result<()> {
        let after = |view: &super::View| view.steps()[view.crop_at()..].iter().any(super::Step::is_of_batch);
        if !self.views().iter().any(after) {
            return Ok(());
        }
        if self.crops_need_batch() {
            let remedy = "styles of the batch are on one side of the crops, where views are made in two halves";
            return Err(Error::value("views", "styles of the batch before a crop and after one", remedy));
        }
        match ranks {
            1 => Ok(()),
            _ => {
                let remedy = "the second half of views sees this rank's images alone, and not all that styles of the batch are of; \
                              take whole views, or a bank";
                Err(Error::value("world_size", ranks, remedy))
            }
        }
    }

    /// The first half of all views of an image: their crops as `[3][height][width]`.
    ///
    /// # Errors
    /// As [`Views::apply`].
    ///
    /// # Panics
    /// If there is not just the memory for each view.
    pub fn crop(
        &self,
        image: RgbView,
        params: &[ViewParams],
        batch: Option<BatchStyles>,
        out: Vec<&mut [u8]>,
    ) -> Result<()> {
        assert_eq!(out.len(), self.views().len(), "memory for each view");
        let workspace = &mut *self.workspace();
        for (which, (view, out)) in self.views().iter().zip(out).enumerate() {
            let mut making = self.making(which, Content::Image(image), params, batch, workspace)?;
            making.steps(0..view.crop_at() + 1)?;
            out.copy_from_slice(making.planes().as_slice());
        }
        Ok(())
    }

    /// The second half of all views of a batch of `params.len()` images, of crops as [`Views::crops`] tells, into `out`, of each view.
    ///
    /// # Errors
    /// Crops of another number of bytes; as [`Views::apply`].
    ///
    /// # Panics
    /// If there is not just the memory for each view.
    pub fn finish(&self, crops: &[u8], params: &[Vec<ViewParams>], threads: usize, out: Vec<&mut [u8]>) -> Result<()> {
        let n = params.len();
        let (begins, bytes) = self.crops(n);
        if crops.len() != bytes {
            return Err(Error::shape("crops", format!("{bytes} bytes, those of {n} images"), crops.len()));
        }
        assert_eq!(out.len(), self.views().len(), "memory for each view");
        let crop = |which: usize, image: usize| {
            let bytes = crop_bytes(&self.views()[which]);
            &crops[begins[which] + image * bytes..][..bytes]
        };
        let z = match self.of_batch().filter(|((_, step), _)| *step > 0) {
            None => None,
            Some(((which, step), styling)) => {
                let encode = |image: usize| {
                    let workspace = &mut *self.workspace();
                    let crop = Content::Crop(crop(which, image));
                    let mut making = self.making(which, crop, &params[image], None, workspace)?;
                    making.encode(self.views()[which].crop_at() + 1..step, styling)
                };
                Some(collected(threads, 0..n, encode)?.concat())
            }
        };
        let mut rows: Vec<Vec<&mut [u8]>> = params.iter().map(|_| vec![]).collect();
        for (view, out) in self.views().iter().zip(out) {
            assert_eq!(out.len(), n * view.bytes(), "memory for a view of each image");
            rows.iter_mut().zip(out.chunks_exact_mut(view.bytes())).for_each(|(row, own)| row.push(own));
        }
        let finish = |(place, row): (usize, Vec<&mut [u8]>)| {
            let batch = z.as_ref().map(|z| BatchStyles { z, place });
            let workspace = &mut *self.workspace();
            for (which, (view, out)) in self.views().iter().zip(row).enumerate() {
                let content = Content::Crop(crop(which, place));
                let mut making = self.making(which, content, &params[place], batch, workspace)?;
                making.steps(view.crop_at() + 1..view.stages().0.len())?;
                making.leave(out)?;
            }
            Ok(())
        };
        collected(threads, rows.into_iter().enumerate(), finish).map(|_| ())
    }
}

fn crop_bytes(view: &super::View) -> usize {
    3 * view.size().0 * view.size().1
}

/// What `work` makes of each item, in their order, or the error of the first that has one.
pub(super) fn collected<I: Send, T: Send>(
    threads: usize,
    items: impl ExactSizeIterator<Item = I> + Send,
    work: impl Fn(I) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let made: Mutex<Vec<Option<Result<T>>>> = Mutex::new((0..items.len()).map(|_| None).collect());
    pool::each(threads, items.enumerate(), |(i, item)| {
        let one = work(item);
        locked(&made)[i] = Some(one);
    });
    made.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().flatten().collect()
}
