//! `ViewParams`: what was drawn for one view, as Python sees it.
use super::style::StyleParams;
use crate::data;
use crate::error::{Error, Result};
use crate::image::{Crop, Factor};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

/// What was drawn for one view: a plain value, to look at and to replay.
#[pyclass(frozen, eq, from_py_object, module = "sassl._sassl")]
#[derive(Clone, PartialEq)]
pub(super) struct ViewParams(pub(super) data::ViewParams);

#[pymethods]
impl ViewParams {
    /// Args:
    ///     crop: (top, left, height, width) in pixels.
    ///     jitter: none, or four pairs (name, factor): see the attribute.
    ///     sigma: of the blur in pixels, above 0.
    ///     flip: horizontally, vertically.
    ///     rotation: degrees counter-clockwise.
    ///     style: of one image.
    ///
    /// Raises:
    ///     ValueError: another number of factors, another name, a style of several images.
    #[new]
    #[pyo3(signature = (
        crop, *, jitter = vec![], grayscale = false, sigma = None, solarize = false, flip = (false, false),
        rotation = None, style = None
    ))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        crop: (usize, usize, usize, usize),
        jitter: Vec<(String, f32)>,
        grayscale: bool,
        sigma: Option<f32>,
        solarize: bool,
        flip: (bool, bool),
        rotation: Option<f32>,
        style: Option<&StyleParams>,
    ) -> Result<Self> {
        let (top, left, height, width) = crop;
        let factors = jitter.iter().map(|(name, x)| factor(name, *x)).collect::<Result<Vec<_>>>()?;
        let jitter = match factors.len() {
            0 => None,
            n => {
                let four = factors.try_into();
                Some(four.map_err(|_| Error::shape("jitter", "none or four pairs (name, factor)", n))?)
            }
        };
        let style = match style.map(|style| style.0.clone()) {
            Some(style) if style.len() != 1 => return Err(Error::shape("style", "that of one image", style.len())),
            style => style.and_then(|mut style| style.pop()),
        };
        let crop = Crop { top, left, height, width };
        Ok(Self(data::ViewParams { crop, jitter, grayscale, sigma, solarize, flip, rotation, style }))
    }

    #[pyo3(signature = () -> "tuple[tuple[typing.Any, ...], dict[str, typing.Any]]")]
    fn __getnewargs_ex__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyTuple>, Bound<'py, PyDict>)> {
        let named = PyDict::new(py);
        named.set_item("jitter", self.jitter())?;
        named.set_item("grayscale", self.grayscale())?;
        named.set_item("sigma", self.sigma())?;
        named.set_item("solarize", self.solarize())?;
        named.set_item("flip", self.flip())?;
        named.set_item("rotation", self.rotation())?;
        named.set_item("style", self.style())?;
        Ok((PyTuple::new(py, [self.crop()])?, named))
    }

    /// The part of the image: (top, left, height, width) in pixels.
    #[getter]
    fn crop(&self) -> (usize, usize, usize, usize) {
        let Crop { top, left, height, width } = self.0.crop;
        (top, left, height, width)
    }

    /// The colour factors in their order, (name, factor), with the names "brightness", "contrast", "saturation" and "hue", or
    /// BYOL's "shift", "color_contrast", "hsv_saturation" and "hue"; empty where there are none.
    #[getter]
    fn jitter(&self) -> Vec<(&'static str, f32)> {
        self.0.jitter.iter().flatten().map(|&factor| named(factor)).collect()
    }

    /// Whether it is gray.
    #[getter]
    fn grayscale(&self) -> bool {
        self.0.grayscale
    }

    /// The blur's sigma in pixels, or None.
    #[getter]
    fn sigma(&self) -> Option<f32> {
        self.0.sigma
    }

    /// Whether it is solarized.
    #[getter]
    fn solarize(&self) -> bool {
        self.0.solarize
    }

    /// Whether it is flipped horizontally, and vertically.
    #[getter]
    fn flip(&self) -> (bool, bool) {
        self.0.flip
    }

    /// Degrees counter-clockwise, or None.
    #[getter]
    fn rotation(&self) -> Option<f32> {
        self.0.rotation
    }

    /// The style that was drawn; None for a view without.
    #[getter]
    fn style(&self) -> Option<StyleParams> {
        self.0.style.clone().map(|style| StyleParams(vec![style]))
    }

    fn __repr__(&self) -> String {
        let (top, left, height, width) = self.crop();
        let mut parts = vec![format!("crop={height}x{width} at ({top}, {left})")];
        parts.extend(self.jitter().iter().map(|(name, x)| format!("{name}={x:.3}")));
        parts.extend(self.0.grayscale.then(|| "grayscale".to_owned()));
        parts.extend(self.0.sigma.map(|sigma| format!("blur={sigma:.3}")));
        parts.extend(self.0.solarize.then(|| "solarize".to_owned()));
        parts.extend(self.0.rotation.map(|degrees| format!("rotation={degrees:.1}")));
        parts.extend(self.0.flip.0.then(|| "hflip".to_owned()));
        parts.extend(self.0.flip.1.then(|| "vflip".to_owned()));
        if let Some(style) = self.0.style.as_ref().filter(|style| style.apply) {
            parts.push(format!("style(alpha={:.3}, beta={:.3})", style.alpha, style.beta));
        }
        format!("ViewParams({})", parts.join(", "))
    }
}

fn named(factor: Factor) -> (&'static str, f32) {
    match factor {
        Factor::Brightness(x) => ("brightness", x),
        Factor::Contrast(x) => ("contrast", x),
        Factor::Saturation(x) => ("saturation", x),
        Factor::Hue(x) => ("hue", x),
        Factor::Shift(x) => ("shift", x),
        Factor::ColorContrast(x) => ("color_contrast", x),
        Factor::HsvSaturation(x) => ("hsv_saturation", x),
    }
}

fn factor(name: &str, x: f32) -> Result<Factor> {
    Ok(match name {
        "brightness" => Factor::Brightness(x),
        "contrast" => Factor::Contrast(x),
        "saturation" => Factor::Saturation(x),
        "hue" => Factor::Hue(x),
        "shift" => Factor::Shift(x),
        "color_contrast" => Factor::ColorContrast(x),
        "hsv_saturation" => Factor::HsvSaturation(x),
        other => {
            let remedy = "there are brightness, contrast, saturation, hue, shift, color_contrast and hsv_saturation";
            return Err(Error::value("jitter", format!("{other:?}"), remedy));
        }
    })
}
