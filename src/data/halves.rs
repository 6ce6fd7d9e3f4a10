//! Computation of views in two halves. The first half consists of the steps up to the crop, which need the source image. The
//! second half consists of all other steps. The second half starts from the crops, which are bytes.
//!
//! ```text
//! image -- [style], crop --> crops, bytes of [3][height][width] -- all other steps --> view
//! ```
//!
//! The first half runs on the threads that decode. The second half may run on a GPU, a batch at a time. The draws are those of
//! undivided views, so the two halves in sequence give bit-identical views.
use super::view::ViewParams;
use super::views::{BatchStyles, Content, Views};
use crate::error::{Error, Result};
use crate::image::RgbView;
use crate::kernels::threads::lock::locked;
use crate::kernels::threads::pool;
use std::sync::{Mutex, PoisonError};

/// Alignment of each view's crops in bytes, the same as that of CUDA's own allocations.
const ALIGN: usize = 256;

impl Views {
    /// Returns the byte offset of each view's crops for `n` images, and the total size in bytes.
    ///
    /// The layout is `[view][image][3][height][width]`.
    pub fn crops(&self, n: usize) -> (Vec<usize>, usize) {
        let mut end = 0;
        let begin = |view: &super::View| {
            let begin = end;
            end += (n * crop_bytes(view)).next_multiple_of(ALIGN);
            begin
        };
        (self.views().iter().map(begin).collect(), end)
    }

    /// Returns `true` if the first half needs the other images of the batch, i.e. if whole images get in-batch styles.
    pub fn crops_need_batch(&self) -> bool {
        self.encoded().is_some_and(|(_, step)| step == 0)
    }

    /// Checks that views can be computed in two halves if each batch is divided among `ranks` ranks.
    ///
    /// # Errors
    /// - Both halves have in-batch styles. The style vectors of the first half are not available in the second half.
    /// - The second half has in-batch styles, and there are several ranks. A rank does not have the images of other ranks.
    pub fn check_halves(&self, ranks: usize) -> Result<()> {
        let after = |view: &super::View| view.steps()[view.crop_at()..].iter().any(super::Step::is_of_batch);
        if !self.views().iter().any(after) {
            return Ok(());
        }
        if self.crops_need_batch() {
            let requirement = "must have styles of the batch only before or only after the crops in two halves";
            return Err(Error::value("views", "both", requirement));
        }
        match ranks {
            1 => Ok(()),
            _ => {
                let requirement = "must be 1 for views whose second half takes styles of the batch; it has only this rank's \
                                   images: take whole views, or a bank";
                Err(Error::value("world_size", ranks, requirement))
            }
        }
    }

    /// Computes the first half of all views of an image: their crops as `[3][height][width]`.
    ///
    /// # Errors
    /// Those of [`Views::apply`].
    ///
    /// # Panics
    /// If `out` does not have one item per view, each of the right size.
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

    /// Computes the second half of all views of a batch of `params.len()` images, into `out`.
    ///
    /// `crops` has the layout of [`Views::crops`]; `out` has one item per view.
    ///
    /// # Errors
    /// Those of [`Views::apply`], or `crops` has the wrong size in bytes.
    ///
    /// # Panics
    /// If `out` does not have one item per view, each of the right size.
    pub fn finish(&self, crops: &[u8], params: &[Vec<ViewParams>], threads: usize, out: Vec<&mut [u8]>) -> Result<()> {
        let n = params.len();
        let (begins, bytes) = self.crops(n);
        if crops.len() != bytes {
            return Err(Error::shape("crops", format!("must have {bytes} bytes for {n} images"), crops.len()));
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

/// Applies `work` to all items. Returns the results in the order of the items, or the first error.
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
