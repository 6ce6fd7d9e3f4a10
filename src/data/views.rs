//! Two views of one image, the left one in another style: the only place where `image` and `style` meet.
//!
//! ```text
//! crop, [style], rotation, colour jitter, grayscale, blur, solarize, flip, normalize
//! ```
//!
//! A flip may stand anywhere after the rotation: all that follows treats left and right alike.
use crate::error::{Error, Result};
use crate::image::{
    BlurScratch, ColorFactors, ColorJitter, Crop, GaussianBlur, Interpolation, Output, Planes, RandomFlip,
    RandomGrayscale, RandomResizedCrop, RandomRotation, RandomSolarize, ResampleScratch, Resampled, RgbView, grayscale,
    resized_crop, rotate, solarize,
};
use crate::kernels::inference::pixels::{Pixels, PixelsMut};
use crate::kernels::isa::Isa;
use crate::kernels::threads::idle::{Idle, Reusable};
use crate::memory;
use crate::random::Key;
use crate::style::{Images, MIN_SIZE, Sassl, Strength, Style, StyleParams, Styles, Stylizer};
use std::sync::Arc;

/// What makes one view of an image.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// The part of the image.
    pub crop: RandomResizedCrop,
    /// How it is resized.
    pub interpolation: Interpolation,
    /// Brightness, contrast, saturation, hue.
    pub jitter: ColorJitter,
    /// To gray.
    pub grayscale: RandomGrayscale,
    /// Blur.
    pub blur: GaussianBlur,
    /// Bright bytes inverted.
    pub solarize: RandomSolarize,
    /// Left and right, top and bottom.
    pub flip: RandomFlip,
    /// A turn.
    pub rotation: RandomRotation,
}

/// What was drawn for one view.
#[derive(Clone, Debug, PartialEq)]
pub struct ViewParams {
    /// The part of the image.
    pub crop: Crop,
    /// The colour factors in their order, if any.
    pub jitter: Option<ColorFactors>,
    /// Whether it is gray.
    pub grayscale: bool,
    /// The blur's sigma, if any.
    pub sigma: Option<f32>,
    /// Whether it is solarized.
    pub solarize: bool,
    /// Whether it is flipped horizontally, and vertically.
    pub flip: (bool, bool),
    /// Degrees counter-clockwise, if it is turned.
    pub rotation: Option<f32>,
    /// Its style, if it is a view that may have one.
    pub style: Option<StyleParams>,
}

/// What was drawn for an image: left, right.
pub type ViewsParams = [ViewParams; 2];

/// What is stylized.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Position {
    /// The view: as small as it is, and styles of the batch come from its views.
    #[default]
    AfterCrop,
    /// The image, of which the view then is a part.
    BeforeCrop,
}

/// SASSL as a part of the views.
#[derive(Clone, Debug)]
pub struct Styling {
    /// F and T.
    pub stylizer: Arc<Stylizer>,
    /// Algorithm 1.
    pub sassl: Sassl,
    /// Whether the left view is stylized, and the right.
    pub styled: [bool; 2],
    /// What is stylized.
    pub position: Position,
}

/// Styles of a batch.
#[derive(Clone, Copy, Debug)]
pub struct BatchStyles<'a> {
    /// What [`TwoViews::encode`] gave for each of its images.
    pub z: &'a [f32],
    /// Which of them is the content.
    pub place: usize,
}

/// Two views with their settings.
#[derive(Debug)]
pub struct TwoViews {
    isa: Isa,
    /// Left, right.
    views: [View; 2],
    size: (usize, usize),
    styling: Option<Styling>,
    output: Output,
    idle: Idle<Workspace>,
}

/// The memory that a thread needs for one image.
#[derive(Debug, Default)]
struct Workspace {
    planes: Planes,
    turned: Planes,
    pixels: Vec<u8>,
    gray: Vec<u8>,
    resize: ResampleScratch,
    blur: BlurScratch,
}

impl Reusable for Workspace {
    fn bytes(&self) -> usize {
        let Self { planes, turned, pixels, .. } = self;
        planes.as_slice().len() + turned.as_slice().len() + pixels.capacity()
    }
}

impl View {
    fn sample(&self, key: Key, height: usize, width: usize) -> ViewParams {
        let generator = &mut key.generator();
        ViewParams {
            crop: self.crop.sample(generator, height, width),
            jitter: self.jitter.sample(generator),
            grayscale: self.grayscale.sample(generator),
            sigma: self.blur.sample(generator),
            solarize: self.solarize.sample(generator),
            flip: self.flip.sample(generator),
            rotation: self.rotation.sample(generator),
            style: None,
        }
    }

    /// All that comes after the crop and the style.
    fn finish(&self, isa: Isa, params: &ViewParams, workspace: &mut Workspace) -> Result<()> {
        let Workspace { planes, turned, gray, blur, .. } = workspace;
        if let Some(degrees) = params.rotation {
            rotate(planes, f64::from(degrees), turned)?;
        }
        for factor in params.jitter.iter().flatten().filter(|factor| !factor.is_none()) {
            factor.apply(isa, planes, gray);
        }
        if params.grayscale {
            grayscale(isa, planes, gray);
        }
        if let Some(sigma) = params.sigma {
            self.blur.apply(isa, planes, sigma, blur)?;
        }
        if params.solarize {
            solarize(isa, planes.as_mut_slice(), self.solarize.threshold);
        }
        RandomFlip::apply(planes, params.flip);
        Ok(())
    }
}

impl TwoViews {
    /// The left and the right view, of `size` rows and columns.
    ///
    /// # Errors
    /// A size of 0, or one that is too small for the blur or for style.
    pub fn new(
        isa: Isa,
        views: [View; 2],
        size: (usize, usize),
        styling: Option<Styling>,
        output: Output,
    ) -> Result<Self> {
        let least = match &styling {
            Some(Styling { position: Position::AfterCrop, .. }) => MIN_SIZE,
            _ => 1,
        };
        let side = size.0.min(size.1);
        if side < least || size.0.max(size.1) > LARGEST {
            let remedy = format!("views are of {least} to {LARGEST} pixels a side");
            return Err(Error::value("input_size", format!("({}, {})", size.0, size.1), remedy));
        }
        if let Some(taps) = views.iter().filter_map(|view| view.blur.taps()).find(|taps| taps / 2 >= side) {
            let remedy = format!("at most {} taps for views of {}x{}", 2 * side - 1, size.0, size.1);
            return Err(Error::value("kernel_size", taps, remedy));
        }
        Ok(Self { isa, views, size, styling, output, idle: Idle::default() })
    }

    /// The left view's settings, or the right one's.
    pub fn view(&self, which: usize) -> &View {
        &self.views[which]
    }

    /// Rows and columns of a view.
    pub fn size(&self) -> (usize, usize) {
        self.size
    }

    /// How views leave.
    pub fn output(&self) -> &Output {
        &self.output
    }

    /// Bytes of a finished view.
    pub fn bytes(&self) -> usize {
        self.size.0 * self.size.1 * 3 * self.output.dtype().size()
    }

    /// How styles come in, if they do.
    pub fn styling(&self) -> Option<&Styling> {
        self.styling.as_ref()
    }

    /// Whether a view's style is another image of its batch.
    pub fn needs_batch(&self) -> bool {
        self.styling.as_ref().is_some_and(|styling| matches!(styling.sassl.styles(), Styles::Batch))
    }

    /// Whether an image can be made views of.
    ///
    /// # Errors
    /// One that is to be stylized as a whole, and is too small for that.
    pub fn check(&self, image: RgbView) -> Result<()> {
        let whole = |styling: &Styling| styling.position == Position::BeforeCrop;
        self.styling.as_ref().filter(|styling| whole(styling)).map_or(Ok(()), |_| images(image).map(|_| ()))
    }

    /// Draws for an image of this size, image `i` of a batch of `n`. The left view has the stream `key` with its view 0, the
    /// right one 1, and styles have their own.
    pub fn sample(&self, key: Key, (height, width): (usize, usize), (i, n): (usize, usize)) -> ViewsParams {
        std::array::from_fn(|view| {
            let key = Key { view: view as u64, ..key };
            let mut params = self.views[view].sample(key, height, width);
            let styling = self.styling.as_ref().filter(|styling| styling.styled[view]);
            params.style = styling.map(|styling| styling.sassl.sample_one(key.of_style(), i, n));
            params
        })
    }

    /// The part of an image of this size that [`TwoViews::apply`] and [`TwoViews::encode`] read with what [`TwoViews::sample`] draws:
    /// that of both crops, for nothing but a style before the crop looks beyond them.
    pub fn region(&self, key: Key, (height, width): (usize, usize)) -> Crop {
        if self.styling.as_ref().is_some_and(|styling| styling.position == Position::BeforeCrop) {
            return Crop { top: 0, left: 0, height, width };
        }
        let [a, b] = [0, 1].map(|view| self.views[view as usize].sample(Key { view, ..key }, height, width).crop);
        let (top, left) = (a.top.min(b.top), a.left.min(b.left));
        let (bottom, right) = ((a.top + a.height).max(b.top + b.height), (a.left + a.width).max(b.left + b.width));
        Crop { top, left, height: bottom - top, width: right - left }
    }

    /// F of what a batch's styles come from: the left view's part of an image, or all of it.
    ///
    /// # Errors
    /// An image that is too small, parameters that do not fit.
    pub fn encode(&self, image: RgbView, params: &ViewsParams) -> Result<Vec<f32>> {
        let Some(styling) = &self.styling else { return Ok(vec![]) };
        if styling.position == Position::BeforeCrop {
            return styling.stylizer.encode(images(image)?, 1);
        }
        let mut workspace = self.idle.take();
        let Workspace { pixels, resize, .. } = &mut *workspace;
        styling.stylizer.encode(images(self.crop_to_pixels(0, image, &params[0], pixels, resize)?)?, 1)
    }

    /// Both views of an image, each into the memory of its numbers: a pure function of image and parameters, and of the batch
    /// where its styles come from there.
    ///
    /// # Errors
    /// Parameters that do not fit; an image that is too small for style.
    pub fn apply(
        &self,
        image: RgbView,
        params: &ViewsParams,
        batch: Option<BatchStyles>,
        out: [&mut [u8]; 2],
    ) -> Result<()> {
        let workspace = &mut *self.idle.take();
        for (view, out) in out.into_iter().enumerate() {
            let params = &params[view];
            let style = params.style.as_ref().filter(|style| style.apply);
            match (&self.styling, style) {
                (Some(styling), Some(style)) => {
                    self.styled(view, image, params, (styling, style, batch), workspace)?;
                }
                (None, Some(_)) => {
                    return Err(Error::value("params.style", "drawn", "these views have no style; make them with one"));
                }
                _ => {
                    let Workspace { planes, resize, .. } = &mut *workspace;
                    self.crop_to_planes(view, image, params, planes, resize)?;
                }
            }
            self.views[view].finish(self.isa, params, workspace)?;
            self.output.write(self.isa, &workspace.planes, out);
        }
        Ok(())
    }

    /// Crop and style, in either order.
    fn styled(
        &self,
        view: usize,
        image: RgbView,
        params: &ViewParams,
        (styling, style, batch): (&Styling, &StyleParams, Option<BatchStyles>),
        workspace: &mut Workspace,
    ) -> Result<()> {
        let dim = styling.stylizer.dim();
        let z = styling.sassl.vectors(std::slice::from_ref(style), dim, batch.map(|batch| batch.z))?;
        // Encoded already: the left view, or the image.
        let known = batch.filter(|_| view == 0 || styling.position == Position::BeforeCrop);
        let z_content = known.map(|batch| &batch.z[batch.place * dim..][..dim]);
        let style =
            Style { z: &z, z_content, alpha: Strength::All(style.alpha), beta: Strength::All(style.beta), apply: None };
        let Workspace { planes, pixels, resize, .. } = workspace;
        match styling.position {
            Position::BeforeCrop => {
                let RgbView { height, width, bytes } = image;
                resize_to(pixels, bytes.len())?;
                styling.stylizer.stylize(images(image)?, &style, PixelsMut::U8(pixels), 1)?;
                let styled = RgbView { height, width, bytes: pixels };
                self.crop_to_planes(view, styled, params, planes, resize)
            }
            Position::AfterCrop => {
                let content = self.crop_to_pixels(view, image, params, pixels, resize)?;
                planes.reshape(self.size.0, self.size.1);
                styling.stylizer.stylize(images(content)?, &style, PixelsMut::Planes(planes.colors_mut()), 1)
            }
        }
    }

    fn crop_to_planes(
        &self,
        view: usize,
        image: RgbView,
        params: &ViewParams,
        planes: &mut Planes,
        scratch: &mut ResampleScratch,
    ) -> Result<()> {
        planes.reshape(self.size.0, self.size.1);
        let interpolation = self.views[view].interpolation;
        resized_crop(self.isa, image, params.crop, interpolation, Resampled::Planes(planes), scratch)
    }

    fn crop_to_pixels<'a>(
        &self,
        view: usize,
        image: RgbView,
        params: &ViewParams,
        pixels: &'a mut Vec<u8>,
        scratch: &mut ResampleScratch,
    ) -> Result<RgbView<'a>> {
        let (height, width) = self.size;
        resize_to(pixels, 3 * height * width)?;
        let interpolation = self.views[view].interpolation;
        resized_crop(self.isa, image, params.crop, interpolation, Resampled::Pixels(pixels, self.size), scratch)?;
        Ok(RgbView { height, width, bytes: pixels })
    }
}

/// Makes room for so many bytes, whatever is in them.
fn resize_to(bytes: &mut Vec<u8>, n: usize) -> Result<()> {
    if n > bytes.capacity() {
        *bytes = memory::zeros("image", n)?;
    }
    bytes.resize(n, 0);
    Ok(())
}

/// The longest side of a view.
const LARGEST: usize = 8192;

/// One image as the stylizer takes it.
fn images(image: RgbView) -> Result<Images> {
    Images::new(Pixels::U8(image.bytes), &[1, image.height, image.width, 3])
}
