//! Applies the steps of the views to an image: operations of the module `image`, and stylizations of the module `style`.
use super::view::{Action, Drawn, Step, Styling, View, ViewParams};
use crate::error::{Error, Result};
use crate::image::{Crop, Interpolation, Planes, ResampleScratch, Resampled, RgbView, Room, resized_crop};
use crate::kernels::inference::pixels::{Pixels, PixelsMut};
use crate::kernels::isa::Isa;
use crate::kernels::threads::idle::{Idle, Lent, Reusable};
use crate::memory;
use crate::random::Key;
use crate::style::{Images, Strength, Style, StyleParams};
use std::ops::Range;

/// The style vectors of the images of a batch, for in-batch styles.
#[derive(Clone, Copy, Debug)]
pub struct BatchStyles<'a> {
    /// The output of [`Views::encode`] for each image of the batch, concatenated.
    pub z: &'a [f32],
    /// The index of the stylized image in the batch.
    pub place: usize,
}

/// Views with their settings. Of a pair of views, the first is called the left view.
#[derive(Debug)]
pub struct Views {
    isa: Isa,
    views: Vec<View>,
    idle: Idle<Workspace>,
}

/// Scratch memory of one thread for computing the views of an image.
#[derive(Debug, Default)]
pub(super) struct Workspace {
    /// The stylized image.
    whole: Vec<u8>,
    /// The view as interleaved pixels, for style steps.
    pixels: Vec<u8>,
    /// The view as planes.
    pub(super) planes: Planes,
    resize: ResampleScratch,
    room: Room,
}

impl Reusable for Workspace {
    fn bytes(&self) -> usize {
        let Self { planes, pixels, whole, room, .. } = self;
        planes.as_slice().len() + room.planes.as_slice().len() + pixels.capacity() + whole.capacity()
    }
}

/// The index of a view, and the index of a step in that view.
type Place = (usize, usize);

impl Views {
    /// Creates a list of views.
    ///
    /// # Errors
    /// The list is empty.
    pub fn new(isa: Isa, views: Vec<View>) -> Result<Self> {
        match views.is_empty() {
            true => Err(Error::value("views", "none", "must have a list of operations for each view")),
            false => Ok(Self { isa, views, idle: Idle::default() }),
        }
    }

    /// Returns the views.
    pub fn views(&self) -> &[View] {
        &self.views
    }

    /// Returns the first step with in-batch styles and its place. [`Views::encode`] encodes the input of this step.
    pub(super) fn of_batch(&self) -> Option<(Place, &Styling)> {
        let views = self.views.iter().enumerate();
        views.filter_map(|(which, view)| view.of_batch().map(|(i, styling)| ((which, i), styling))).next()
    }

    /// Returns the place of the step that [`Views::of_batch`] returns.
    pub(super) fn encoded(&self) -> Option<Place> {
        self.of_batch().map(|(place, _)| place)
    }

    /// Returns `true` if a view takes its style from another image of the batch.
    pub fn needs_batch(&self) -> bool {
        self.of_batch().is_some()
    }

    /// Returns the indices of the images that these parameters use as styles.
    pub(super) fn styles_of_batch(&self, params: &[ViewParams]) -> Vec<usize> {
        let of_view = |(view, params): (&View, &ViewParams)| {
            let index = |step: &Step| match (&step.action, params.of(&step.name)) {
                (Action::Style(styling), Some(Drawn::Style(style))) if styling.is_of_batch() && style.apply => {
                    style.index()
                }
                _ => None,
            };
            view.steps().iter().filter_map(index).collect::<Vec<_>>()
        };
        self.views.iter().zip(params).flat_map(of_view).collect()
    }

    /// Checks that the views of an image can be computed.
    ///
    /// # Errors
    /// The whole image is to be stylized, but is too small.
    pub fn check(&self, image: RgbView) -> Result<()> {
        match self.views.iter().any(View::styles_whole_image) {
            true => images(image).map(|_| ()),
            false => Ok(()),
        }
    }

    /// Draws the parameters of all views of an image. In the key, the index of each view replaces `view`.
    ///
    /// `size` is the image's (height, width). `place` is (index of the image in the batch, number of images in the batch).
    pub fn sample(&self, key: Key, size: (usize, usize), place: (usize, usize)) -> Vec<ViewParams> {
        let keys = (0..).map(|view| Key { view, ..key });
        self.views.iter().zip(keys).map(|(view, key)| view.sample(key, size, place)).collect()
    }

    /// Returns the region of an image of this size that its views read, given the draws of [`Views::sample`].
    ///
    /// The region is the smallest one that contains all crops. If a style precedes a crop, the region is the whole image.
    pub fn region(&self, key: Key, (height, width): (usize, usize)) -> Crop {
        let whole = Crop { top: 0, left: 0, height, width };
        if self.views.iter().any(View::styles_whole_image) {
            return whole;
        }
        let both = |a: Crop, b: Crop| {
            let (top, left) = (a.top.min(b.top), a.left.min(b.left));
            let (bottom, right) = ((a.top + a.height).max(b.top + b.height), (a.left + a.width).max(b.left + b.width));
            Crop { top, left, height: bottom - top, width: right - left }
        };
        let keys = (0..).map(|view| Key { view, ..key });
        let crops = self.views.iter().zip(keys).filter_map(|(view, key)| view.sample_crop(key, (height, width)));
        crops.reduce(both).unwrap_or(whole)
    }

    /// Computes the image's style vector for in-batch styles, from the input of the first step with in-batch styles.
    ///
    /// The result is empty if no step has in-batch styles.
    ///
    /// # Errors
    /// The image is too small, or the parameters do not match the views' steps.
    pub fn encode(&self, image: RgbView, params: &[ViewParams]) -> Result<Vec<f32>> {
        let Some(((which, step), styling)) = self.of_batch() else { return Ok(vec![]) };
        if step == 0 {
            return styling.stylizer.encode(images(image)?, 1);
        }
        let workspace = &mut *self.idle.take();
        self.making(which, Content::Image(image), params, None, workspace)?.encode(0..step, styling)
    }

    /// Computes all views of an image, each into its output memory.
    ///
    /// The result is a pure function of the image and the parameters. With in-batch styles, it also depends on the batch.
    ///
    /// # Errors
    /// The parameters do not match the views' steps, or the image is too small to be stylized.
    ///
    /// # Panics
    /// If `out` does not have one item per view, each of the right size.
    pub fn apply(
        &self,
        image: RgbView,
        params: &[ViewParams],
        batch: Option<BatchStyles>,
        out: Vec<&mut [u8]>,
    ) -> Result<()> {
        assert_eq!(out.len(), self.views.len(), "memory for each view");
        let workspace = &mut *self.idle.take();
        for (which, (view, out)) in self.views.iter().zip(out).enumerate() {
            let mut making = self.making(which, Content::Image(image), params, batch, workspace)?;
            making.steps(0..view.stages().0.len())?;
            making.leave(out)?;
        }
        Ok(())
    }

    /// Returns scratch memory for a thread.
    pub(super) fn workspace(&self) -> Lent<'_, Workspace> {
        self.idle.take()
    }

    /// Starts to compute the view with index `which` from `content`; no step is run yet.
    ///
    /// # Errors
    /// The parameters do not match the view's steps.
    pub(super) fn making<'a, 'w>(
        &'a self,
        which: usize,
        content: Content<'a>,
        params: &'a [ViewParams],
        batch: Option<BatchStyles<'a>>,
        workspace: &'w mut Workspace,
    ) -> Result<Making<'a, 'w>> {
        let (view, params) = (&self.views[which], of_view(params, which)?);
        view.check(params)?;
        let content = match content {
            Content::Crop(bytes) => {
                workspace.planes.reshape(view.size().0, view.size().1);
                workspace.planes.as_mut_slice().copy_from_slice(bytes);
                Content::Planes
            }
            other => other,
        };
        Ok(Making { views: self, which, params, batch, workspace, content })
    }
}

/// The current location of a view's pixels.
#[derive(Clone, Copy)]
pub(super) enum Content<'a> {
    /// The source image.
    Image(RgbView<'a>),
    /// The source image after a style of the whole image, in the workspace.
    Styled { height: usize, width: usize },
    /// The view after the first half of its steps, as bytes of `[3][height][width]`.
    Crop(&'a [u8]),
    /// The view as interleaved pixels, in the workspace.
    Pixels,
    /// The view as planes, in the workspace.
    Planes,
}

/// A view being computed.
pub(super) struct Making<'a, 'w> {
    views: &'a Views,
    which: usize,
    params: &'a ViewParams,
    batch: Option<BatchStyles<'a>>,
    workspace: &'w mut Workspace,
    content: Content<'a>,
}

impl<'a> Making<'a, '_> {
    /// Runs these steps, all of which change bytes. The result is in `planes`, unless the last step is a style of the whole
    /// image.
    pub(super) fn steps(&mut self, steps: Range<usize>) -> Result<()> {
        let (views, end) = (self.views, steps.end);
        let all = views.views[self.which].steps();
        for i in steps {
            let next = i + 1 < end && self.style_of(&all[i + 1]).is_some();
            self.step(i, &all[i], next)?;
        }
        Ok(())
    }

    /// Runs these steps, and encodes the result with the predictor F of `next`, the following style step.
    pub(super) fn encode(&mut self, steps: Range<usize>, next: &Styling) -> Result<Vec<f32>> {
        let (views, end) = (self.views, steps.end);
        for i in steps {
            self.step(i, &views.views[self.which].steps()[i], i + 1 == end)?;
        }
        next.stylizer.encode(images(self.pixels()?)?, 1)
    }

    /// Writes the view to `out` in its output format. Then runs the operations on the finished view in `out`.
    pub(super) fn leave(&mut self, out: &mut [u8]) -> Result<()> {
        let (views, view) = (self.views, &self.views.views[self.which]);
        view.output().write(views.isa, &self.workspace.planes, out);
        let mut numbers = view.output().numbers_mut(view.size(), out);
        for step in view.stages().1 {
            if let (Action::Image(operation, _), Some(Drawn::Values(Some(values)))) =
                (&step.action, self.params.of(&step.name))
            {
                operation.apply_to_numbers(&mut numbers, values)?;
            }
        }
        Ok(())
    }

    /// Returns the view as planes.
    pub(super) fn planes(&mut self) -> &mut Planes {
        &mut self.workspace.planes
    }

    /// Returns the settings and the parameters of a style step; `None` if the step is no style or is not applied.
    fn style_of<'s>(&self, step: &'s Step) -> Option<(&'s Styling, &'a StyleParams)> {
        match (&step.action, self.params.of(&step.name)) {
            (Action::Style(styling), Some(Drawn::Style(style))) if style.apply => Some((styling, style)),
            _ => None,
        }
    }

    /// Runs step `i`. `pixels` is true if the next step is a style; a crop then writes interleaved pixels.
    fn step(&mut self, i: usize, step: &Step, pixels: bool) -> Result<()> {
        match (&step.action, self.params.of(&step.name)) {
            (Action::Crop(_, interpolation), _) => self.crop(View::crop_of(step, self.params)?, *interpolation, pixels),
            (Action::Style(_), _) => match self.style_of(step) {
                Some((styling, style)) => self.stylize((self.which, i), styling, style),
                None => Ok(()),
            },
            (Action::Image(operation, _), Some(Drawn::Values(Some(values)))) => {
                let Workspace { planes, room, .. } = &mut *self.workspace;
                operation.apply(self.views.isa, planes, values, room)
            }
            _ => Ok(()),
        }
    }

    fn crop(&mut self, crop: Crop, interpolation: Interpolation, to_pixels: bool) -> Result<()> {
        let size = self.views.views[self.which].size();
        let Workspace { whole, pixels, planes, resize, .. } = &mut *self.workspace;
        let image = match self.content {
            Content::Styled { height, width } => RgbView { height, width, bytes: whole },
            Content::Image(image) => image,
            Content::Crop(_) | Content::Pixels | Content::Planes => return Ok(()),
        };
        let out = match to_pixels {
            true => {
                resize_to(pixels, 3 * size.0 * size.1)?;
                self.content = Content::Pixels;
                Resampled::Pixels(pixels, size)
            }
            false => {
                planes.reshape(size.0, size.1);
                self.content = Content::Planes;
                Resampled::Planes(planes)
            }
        };
        resized_crop(self.views.isa, image, crop, interpolation, out, resize)
    }

    /// Returns the view as interleaved pixels.
    fn pixels(&mut self) -> Result<RgbView<'_>> {
        let (height, width) = self.views.views[self.which].size();
        let Workspace { pixels, planes, .. } = &mut *self.workspace;
        if matches!(self.content, Content::Planes) {
            resize_to(pixels, 3 * height * width)?;
            planes.write(self.views.isa, pixels);
            self.content = Content::Pixels;
        }
        Ok(RgbView { height, width, bytes: &self.workspace.pixels })
    }

    fn stylize(&mut self, place: Place, styling: &Styling, style: &StyleParams) -> Result<()> {
        let dim = styling.stylizer.dim();
        let z = styling.sassl.vectors(std::slice::from_ref(style), dim, self.batch.map(|batch| batch.z))?;
        // The input of the first in-batch style is already encoded; the encoding of a whole image is the same for all views.
        let encoded = self.views.encoded();
        let is_encoded = encoded == Some(place) || (place.1 == 0 && encoded.is_some_and(|(_, step)| step == 0));
        let known = self.batch.filter(|_| is_encoded);
        let z_content = known.map(|batch| &batch.z[batch.place * dim..][..dim]);
        let style =
            Style { z: &z, z_content, alpha: Strength::All(style.alpha), beta: Strength::All(style.beta), apply: None };
        if let Content::Image(image) = self.content {
            let whole = &mut self.workspace.whole;
            resize_to(whole, image.bytes.len())?;
            styling.stylizer.stylize(images(image)?, &style, PixelsMut::U8(whole), 1)?;
            self.content = Content::Styled { height: image.height, width: image.width };
            return Ok(());
        }
        self.pixels()?;
        let (height, width) = self.views.views[self.which].size();
        let Workspace { pixels, planes, .. } = &mut *self.workspace;
        planes.reshape(height, width);
        let content = images(RgbView { height, width, bytes: pixels })?;
        styling.stylizer.stylize(content, &style, PixelsMut::Planes(planes.colors_mut()), 1)?;
        self.content = Content::Planes;
        Ok(())
    }
}

/// Resizes to `n` bytes with unspecified contents.
fn resize_to(bytes: &mut Vec<u8>, n: usize) -> Result<()> {
    if n > bytes.capacity() {
        *bytes = memory::zeros("image", n)?;
    }
    bytes.resize(n, 0);
    Ok(())
}

fn of_view(params: &[ViewParams], which: usize) -> Result<&ViewParams> {
    params.get(which).ok_or_else(|| Error::shape("params", "must have those of each view", params.len()))
}

/// Wraps one image for the stylizer.
fn images(image: RgbView) -> Result<Images> {
    Images::new(Pixels::U8(image.bytes), &[1, image.height, image.width, 3])
}
