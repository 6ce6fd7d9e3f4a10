//! `View` and `TwoViews`: what the recipes of `sassl.transforms` and the loader run.
use super::arrays::into_array;
use super::image::{InterpolationMode, held_image};
use super::run::run;
use super::style::Block;
use super::view_params::ViewParams;
use crate::data;
use crate::data::{Position, Styling};
use crate::error::{Error, Result};
use crate::image::{
    BlurKernel, ColorJitter, Dtype, GaussianBlur, Interpolation, JitterForm, Normalize, Output, RandomFlip,
    RandomGrayscale, RandomResizedCrop, RandomRotation, RandomSolarize, RgbView,
};
use crate::kernels::isa::Isa;
use crate::random::Key;
use half::f16;
use pyo3::prelude::*;
use std::sync::Arc;

/// What makes one view of an image: torchvision's operations under lightly's names.
///
/// Raises:
///     ValueError: a probability outside [0, 1], a reversed range, an even number of taps.
#[pyclass(frozen, module = "sassl._sassl")]
pub(super) struct View(data::View);

#[pymethods]
impl View {
    #[new]
    #[pyo3(signature = (
        *, min_scale, ratio, interpolation: "typing.Any", hf_prob, vf_prob, rr_prob, rr_degrees, cj_prob, cj_bright, cj_contrast, cj_sat, cj_hue, byol_jitter,
        random_gray_scale, gaussian_blur, sigmas, kernel_size: "int | None", solarization_prob, threshold
    ))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        min_scale: f32,
        ratio: (f32, f32),
        interpolation: InterpolationMode,
        hf_prob: f32,
        vf_prob: f32,
        rr_prob: f32,
        rr_degrees: (f32, f32),
        cj_prob: f32,
        cj_bright: f32,
        cj_contrast: f32,
        cj_sat: f32,
        cj_hue: f32,
        byol_jitter: bool,
        random_gray_scale: f32,
        gaussian_blur: f32,
        sigmas: (f32, f32),
        kernel_size: Option<usize>,
        solarization_prob: f32,
        threshold: u8,
    ) -> Result<Self> {
        if !(0.0..=1.0).contains(&min_scale) {
            return Err(Error::value("min_scale", min_scale, "a part of the image's area, from 0 to 1"));
        }
        let form = if byol_jitter { JitterForm::Byol } else { JitterForm::Torchvision };
        Ok(Self(data::View {
            crop: RandomResizedCrop::new((min_scale, 1.0), ratio)?,
            interpolation: interpolation.0,
            jitter: ColorJitter::new(cj_prob, cj_bright, cj_contrast, cj_sat, cj_hue, form)?,
            grayscale: RandomGrayscale::new(random_gray_scale)?,
            blur: GaussianBlur::new(gaussian_blur, sigmas, kernel_size.map_or(BlurKernel::Boxes, BlurKernel::Taps))?,
            solarize: RandomSolarize::new(solarization_prob, threshold)?,
            flip: RandomFlip::new(hf_prob, vf_prob)?,
            rotation: RandomRotation::new(rr_prob, rr_degrees)?,
        }))
    }

    /// "bilinear" or "bicubic".
    #[getter]
    fn interpolation(&self) -> &'static str {
        match self.0.interpolation {
            Interpolation::Bilinear => "bilinear",
            Interpolation::Bicubic => "bicubic",
        }
    }
}

/// Two views of an image, the left one in another style.
///
/// Args:
///     left, right: what makes each.
///     size: (height, width) of both.
///     block: SASSL, or None.
///     styled_view: "left", "right" or "both".
///     style_position: "after_crop" or "before_crop".
///     dtype: "uint8", "float16" or "float32".
///     normalize: mean and standard deviation of each colour, in [0, 1]; None: 0 and 1.
///     channels_last: (H, W, 3) instead of (3, H, W).
///
/// Raises:
///     ValueError: views too small for the blur or for style, another name, bytes that are to be normalized.
#[pyclass(frozen, module = "sassl._sassl")]
pub(super) struct TwoViews(pub(super) Arc<data::TwoViews>);

#[pymethods]
impl TwoViews {
    #[new]
    #[pyo3(signature = (
        left, right, size, block=None, *, styled_view, style_position, dtype, normalize, channels_last
    ))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        left: &View,
        right: &View,
        size: (usize, usize),
        block: Option<&Block>,
        styled_view: &str,
        style_position: &str,
        dtype: &str,
        normalize: Option<([f32; 3], [f32; 3])>,
        channels_last: bool,
    ) -> Result<Self> {
        let styled = match styled_view {
            "left" => [true, false],
            "right" => [false, true],
            "both" => [true, true],
            other => {
                let remedy = "there are \"left\" (the paper's), \"right\" and \"both\"";
                return Err(Error::value("styled_view", format!("{other:?}"), remedy));
            }
        };
        let position = match style_position {
            "after_crop" => Position::AfterCrop,
            "before_crop" => Position::BeforeCrop,
            other => {
                let remedy = "there are \"after_crop\" and \"before_crop\"";
                return Err(Error::value("style_position", format!("{other:?}"), remedy));
            }
        };
        let normalize = normalize.map_or(Normalize::NONE, |(mean, std)| Normalize { mean, std });
        let styling = block.map(|block| Styling {
            stylizer: block.stylizer.get().core.clone(),
            sassl: block.sassl.clone(),
            styled,
            position,
        });
        let output = Output::new(Dtype::named(dtype)?, normalize, channels_last)?;
        let isa = Isa::detect()?;
        Ok(Self(Arc::new(data::TwoViews::new(isa, [left.0, right.0], size, styling, output)?)))
    }

    /// Whether a view's style is another image of its batch.
    #[getter]
    fn needs_batch(&self) -> bool {
        self.0.needs_batch()
    }

    /// Rows and columns of a view.
    #[getter]
    fn size(&self) -> (usize, usize) {
        self.0.size()
    }

    /// Of a view: (3, H, W) or (H, W, 3).
    #[getter(shape)]
    fn py_shape(&self) -> (usize, usize, usize) {
        self.shape().into()
    }

    /// Draws both views of an image: the left one from the random stream (seed, epoch, index, 0), the right one from
    /// (seed, epoch, index, 1).
    ///
    /// Raises:
    ///     ValueError: an image without pixels.
    #[pyo3(signature = (seed, height, width, *, epoch = 0, index = 0))]
    fn sample(
        &self,
        seed: u64,
        height: usize,
        width: usize,
        epoch: u64,
        index: u64,
    ) -> Result<(ViewParams, ViewParams)> {
        if height == 0 || width == 0 {
            return Err(Error::value("image", format!("{height}x{width}"), "an image has at least 1x1 pixels"));
        }
        let [left, right] = self.0.sample(Key { seed, epoch, index, view: 0 }, (height, width), (0, 1));
        Ok((ViewParams(left), ViewParams(right)))
    }

    /// Draws both views of each image of a batch: image i as `sample` does with the index i, its style among the batch's.
    ///
    /// Raises:
    ///     ValueError: images without pixels.
    #[pyo3(signature = (seed, n, height, width, *, epoch = 0))]
    fn sample_batch(
        &self,
        seed: u64,
        n: usize,
        height: usize,
        width: usize,
        epoch: u64,
    ) -> Result<Vec<(ViewParams, ViewParams)>> {
        if height == 0 || width == 0 {
            return Err(Error::value("images", format!("{height}x{width}"), "an image has at least 1x1 pixels"));
        }
        let one = |i: usize| {
            let key = Key { seed, epoch, index: i as u64, view: 0 };
            let [left, right] = self.0.sample(key, (height, width), (i, n));
            (ViewParams(left), ViewParams(right))
        };
        Ok((0..n).map(one).collect())
    }

    /// Both views, a pure function of image and parameters.
    ///
    /// Args:
    ///     image: (H, W, 3) uint8.
    ///     params: of the left view and of the right one.
    ///
    /// Raises:
    ///     ValueError: a crop beyond the image; an image too small for style.
    #[pyo3(signature = (
        image: "numpy.typing.NDArray[numpy.uint8]", params
    ) -> "tuple[numpy.typing.NDArray[typing.Any], numpy.typing.NDArray[typing.Any]]")]
    fn apply<'py>(
        &self,
        py: Python<'py>,
        image: &Bound<'py, PyAny>,
        params: (ViewParams, ViewParams),
    ) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        let (held, [height, width]) = held_image(image)?;
        let image = RgbView { height, width, bytes: held.slice()? };
        let params = [params.0.0, params.1.0];
        let shape = self.shape();
        let n = shape.iter().product();
        match self.0.output().dtype() {
            Dtype::U8 => self.made::<u8>(py, image, &params, &shape, n),
            Dtype::F16 => self.made::<f16>(py, image, &params, &shape, n),
            Dtype::F32 => self.made::<f32>(py, image, &params, &shape, n),
        }
    }
}

impl TwoViews {
    /// Of one view.
    pub(super) fn shape(&self) -> [usize; 3] {
        let (height, width) = self.0.size();
        if self.0.output().channels_last() { [height, width, 3] } else { [3, height, width] }
    }

    fn made<'py, T: numpy::Element + bytemuck::Pod>(
        &self,
        py: Python<'py>,
        image: RgbView,
        params: &data::ViewsParams,
        shape: &[usize],
        n: usize,
    ) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        let (left, right) = run(py, || {
            let (mut left, mut right) = (vec![T::zeroed(); n], vec![T::zeroed(); n]);
            let out = [bytemuck::cast_slice_mut(&mut left), bytemuck::cast_slice_mut(&mut right)];
            self.0.apply(image, params, None, out)?;
            Ok((left, right))
        })?;
        Ok((into_array(py, left, shape)?, into_array(py, right, shape)?))
    }
}
