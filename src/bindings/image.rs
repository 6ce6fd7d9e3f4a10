//! Operations on one image, named as in torchvision. They take numpy arrays `(H, W, 3)` of uint8. All but `normalize` return an
//! array of this kind.
use super::arrays::{Held, into_array, wrong_type};
use super::run::run;
use crate::error::{Error, Result, tuple};
use crate::image::{
    self, BlurScratch, Crop, Dtype, Factor, Interpolation, Normalize, Output, Planes, ResampleScratch, Resampled,
    RgbView,
};
use crate::kernels::isa::Isa;
use crate::memory;
use numpy::PyArrayDyn;
use pyo3::prelude::*;

/// Crop an image and resize the crop with an antialiasing filter, like Pillow.
///
/// Args:
///     image: uint8, (H, W, 3).
///     top, left, height, width: the crop, in pixels.
///     size: (height, width) of the result.
///     interpolation: "bilinear" (default) or "bicubic"; or Pillow's or torchvision's constant for one of these.
///
/// Raises:
///     ValueError: an empty crop or size, a crop that extends beyond the image, or an unknown interpolation.
#[pyfunction]
#[pyo3(signature = (
    image: "numpy.typing.NDArray[numpy.uint8]", top: "int", left: "int", height: "int", width: "int",
    size: "tuple[int, int]", interpolation: "typing.Any" = InterpolationMode::default(),
) -> "numpy.typing.NDArray[numpy.uint8]")]
#[allow(clippy::too_many_arguments)]
pub(super) fn resized_crop<'py>(
    py: Python<'py>,
    image: &Bound<'py, PyAny>,
    top: i64,
    left: i64,
    height: i64,
    width: i64,
    size: (i64, i64),
    interpolation: InterpolationMode,
) -> PyResult<Bound<'py, PyAny>> {
    let (held, [h, w]) = held_image(image)?;
    let pixels = RgbView { height: h, width: w, bytes: held.slice()? };
    let crop = Crop {
        top: whole("top", top)?,
        left: whole("left", left)?,
        height: whole("height", height)?,
        width: whole("width", width)?,
    };
    let size = (whole("size[0]", size.0)?, whole("size[1]", size.1)?);
    let bytes = memory::count("size", &[size.0, size.1, 3])?;
    let made = run(py, || {
        let isa = Isa::detect()?;
        let mut out = memory::zeros("size", bytes)?;
        let resampled = Resampled::Pixels(&mut out, size);
        image::resized_crop(isa, pixels, crop, interpolation.0, resampled, &mut ResampleScratch::default())?;
        Ok(out)
    })?;
    into_array(py, made, &[size.0, size.1, 3])
}

/// Flip horizontally.
#[pyfunction]
#[pyo3(signature = (image: "numpy.typing.NDArray[numpy.uint8]") -> "numpy.typing.NDArray[numpy.uint8]")]
pub(super) fn hflip<'py>(py: Python<'py>, image: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let (held, [height, width]) = held_image(image)?;
    let pixels = RgbView { height, width, bytes: held.slice()? };
    let made = run(py, || Ok(image::hflip(Isa::detect()?, pixels)))?;
    into_array(py, made, &[height, width, 3])
}

/// Flip vertically.
#[pyfunction]
#[pyo3(signature = (image: "numpy.typing.NDArray[numpy.uint8]") -> "numpy.typing.NDArray[numpy.uint8]")]
pub(super) fn vflip<'py>(py: Python<'py>, image: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let (held, [height, width]) = held_image(image)?;
    let rows: Vec<&[u8]> = held.slice()?.chunks_exact(3 * width).rev().collect();
    let made = run(py, || Ok(rows.concat()))?;
    into_array(py, made, &[height, width, 3])
}

/// Rotate counter-clockwise about the centre, with nearest-neighbour interpolation; uncovered corners are black.
///
/// The result is bit-identical to torchvision's `rotate` on a PIL image.
///
/// Args:
///     image: uint8, (H, W, 3).
///     angle: in degrees.
///
/// Raises:
///     ValueError: an angle that is not finite.
#[pyfunction]
#[pyo3(signature = (image: "numpy.typing.NDArray[numpy.uint8]", angle: "float") -> "numpy.typing.NDArray[numpy.uint8]")]
pub(super) fn rotate<'py>(py: Python<'py>, image: &Bound<'py, PyAny>, angle: f64) -> PyResult<Bound<'py, PyAny>> {
    try_changed(py, image, |_, planes| image::rotate(planes, angle, &mut Planes::default()))
}

/// Scale the brightness by `factor`: 0 gives black, 1 the image itself.
///
/// The result is bit-identical to Pillow's `ImageEnhance.Brightness`.
///
/// Raises:
///     ValueError: a factor that is negative or not finite.
#[pyfunction]
#[pyo3(signature = (image: "numpy.typing.NDArray[numpy.uint8]", factor: "float") -> "numpy.typing.NDArray[numpy.uint8]")]
pub(super) fn adjust_brightness<'py>(
    py: Python<'py>,
    image: &Bound<'py, PyAny>,
    factor: f32,
) -> PyResult<Bound<'py, PyAny>> {
    checked_factor(factor)?;
    changed_bytes(py, image, |isa, bytes| image::brighten(isa, bytes, factor))
}

/// Scale the contrast around the mean luma by `factor`: 0 gives a uniform gray, 1 the image itself.
///
/// The result is bit-identical to Pillow's `ImageEnhance.Contrast`.
///
/// Raises:
///     ValueError: a factor that is negative or not finite.
#[pyfunction]
#[pyo3(signature = (image: "numpy.typing.NDArray[numpy.uint8]", factor: "float") -> "numpy.typing.NDArray[numpy.uint8]")]
pub(super) fn adjust_contrast<'py>(
    py: Python<'py>,
    image: &Bound<'py, PyAny>,
    factor: f32,
) -> PyResult<Bound<'py, PyAny>> {
    adjusted(py, image, factor, Factor::Contrast)
}

/// Scale the saturation around each pixel's luma by `factor`: 0 gives a grayscale image, 1 the image itself.
///
/// The result is bit-identical to Pillow's `ImageEnhance.Color`.
///
/// Raises:
///     ValueError: a factor that is negative or not finite.
#[pyfunction]
#[pyo3(signature = (image: "numpy.typing.NDArray[numpy.uint8]", factor: "float") -> "numpy.typing.NDArray[numpy.uint8]")]
pub(super) fn adjust_saturation<'py>(
    py: Python<'py>,
    image: &Bound<'py, PyAny>,
    factor: f32,
) -> PyResult<Bound<'py, PyAny>> {
    adjusted(py, image, factor, Factor::Saturation)
}

/// Shift the hue by `factor`, a fraction of the hue circle in [-0.5, 0.5].
///
/// The result is bit-identical to torchvision's `adjust_hue` on a PIL image.
///
/// Raises:
///     ValueError: a factor outside [-0.5, 0.5].
#[pyfunction]
#[pyo3(signature = (image: "numpy.typing.NDArray[numpy.uint8]", factor: "float") -> "numpy.typing.NDArray[numpy.uint8]")]
pub(super) fn adjust_hue<'py>(py: Python<'py>, image: &Bound<'py, PyAny>, factor: f32) -> PyResult<Bound<'py, PyAny>> {
    if !(-0.5..=0.5).contains(&factor) {
        return Err(Error::value("factor", factor, "must be in [-0.5, 0.5]").into());
    }
    changed(py, image, |isa, planes| Factor::Hue(factor).apply(isa, planes, &mut vec![]))
}

/// Convert to grayscale: all three channels become the luma (ITU-R 601-2).
#[pyfunction]
#[pyo3(signature = (image: "numpy.typing.NDArray[numpy.uint8]") -> "numpy.typing.NDArray[numpy.uint8]")]
pub(super) fn grayscale<'py>(py: Python<'py>, image: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    changed(py, image, |isa, planes| image::grayscale(isa, planes, &mut vec![]))
}

/// Invert all values >= `threshold`: 0 inverts all values, 256 none.
///
/// Raises:
///     ValueError: a threshold outside [0, 256].
#[pyfunction]
#[pyo3(signature = (image: "numpy.typing.NDArray[numpy.uint8]", threshold: "float" = 128.0) -> "numpy.typing.NDArray[numpy.uint8]")]
pub(super) fn solarize<'py>(py: Python<'py>, image: &Bound<'py, PyAny>, threshold: f64) -> PyResult<Bound<'py, PyAny>> {
    if !(0.0..=256.0).contains(&threshold) {
        return Err(Error::value("threshold", threshold, "must be in [0, 256]").into());
    }
    // The least byte that is not below the threshold; None for 256.
    let least = u8::try_from(threshold.ceil() as u16).ok();
    changed_bytes(py, image, |isa, bytes| {
        if let Some(least) = least {
            image::solarize(isa, bytes, least);
        }
    })
}

/// Blur with a Gaussian.
///
/// Args:
///     image: uint8, (H, W, 3).
///     kernel_size: the number of taps, odd, for a blur with reflected edges as in torchvision. "pillow" or None: three box
///         blurs in each direction with repeated edges, bit-identical to Pillow's `ImageFilter.GaussianBlur(sigma)`.
///     sigma: standard deviation in pixels, in (0, 1e4].
///
/// Raises:
///     ValueError: an even number of taps, more taps than twice the shorter side of the image, or a sigma outside (0, 1e4].
#[pyfunction]
#[pyo3(signature = (
    image: "numpy.typing.NDArray[numpy.uint8]", kernel_size: "int | str | None", sigma: "float",
) -> "numpy.typing.NDArray[numpy.uint8]")]
pub(super) fn gaussian_blur<'py>(
    py: Python<'py>,
    image: &Bound<'py, PyAny>,
    kernel_size: &Bound<'py, PyAny>,
    sigma: f32,
) -> PyResult<Bound<'py, PyAny>> {
    let (taps, mut scratch) = (taps(kernel_size)?, BlurScratch::default());
    try_changed(py, image, |isa, planes| match taps {
        Some(taps) => image::gaussian_blur(isa, planes, taps, sigma, &mut scratch),
        None => image::box_blur(isa, planes, sigma, &mut scratch),
    })
}

/// Normalize an image to `(x / 255 - mean) / std`, with one mean and one standard deviation per channel.
///
/// Returns:
///     float32, (3, H, W), bit-identical to torchvision's `ToTensor` and `Normalize`.
///
/// Raises:
///     ValueError: a standard deviation that is not positive.
#[pyfunction]
#[pyo3(signature = (
    image: "numpy.typing.NDArray[numpy.uint8]", mean: "tuple[float, float, float]", std: "tuple[float, float, float]",
) -> "numpy.typing.NDArray[numpy.float32]")]
pub(super) fn normalize<'py>(
    py: Python<'py>,
    image: &Bound<'py, PyAny>,
    mean: [f32; 3],
    std: [f32; 3],
) -> PyResult<Bound<'py, PyAny>> {
    let (held, [height, width]) = held_image(image)?;
    let bytes = held.slice()?;
    let output = Output::new(Dtype::F32, Normalize { mean, std }, false)?;
    let numbers = run(py, || {
        let (isa, mut planes, mut out) = (Isa::detect()?, Planes::default(), vec![0.0; bytes.len()]);
        planes.fill(isa, height, width, bytes);
        output.write(isa, &planes, bytemuck::cast_slice_mut::<f32, u8>(&mut out));
        Ok(out)
    })?;
    into_array(py, numbers, &[3, height, width])
}

fn adjusted<'py>(
    py: Python<'py>,
    image: &Bound<'py, PyAny>,
    factor: f32,
    of: fn(f32) -> Factor,
) -> PyResult<Bound<'py, PyAny>> {
    checked_factor(factor)?;
    changed(py, image, |isa, planes| of(factor).apply(isa, planes, &mut vec![]))
}

/// Converts a number of pixels, rows or columns; a negative one is an error.
fn whole(name: &str, n: i64) -> Result<usize> {
    usize::try_from(n).map_err(|_| Error::value(name, n, "must be an integer >= 0"))
}

/// Returns the number of taps of a blur, or `None` for Pillow's box blurs.
fn taps(kernel_size: &Bound<'_, PyAny>) -> PyResult<Option<usize>> {
    if kernel_size.is_none() || kernel_size.extract::<&str>().is_ok_and(|name| name == "pillow") {
        return Ok(None);
    }
    let requirement = "must be an odd integer, \"pillow\" or None";
    let n = kernel_size.extract().map_err(|_| Error::value("kernel_size", repr(kernel_size), requirement))?;
    Ok(Some(whole("kernel_size", n)?))
}

/// Returns Python's `repr` of a value.
fn repr(value: &Bound<'_, PyAny>) -> String {
    value.repr().map_or_else(|_| "?".to_owned(), |text| text.to_string())
}

fn checked_factor(factor: f32) -> Result<()> {
    match factor >= 0.0 && factor.is_finite() {
        true => Ok(()),
        false => Err(Error::value("factor", factor, "must be a finite number >= 0")),
    }
}

/// Applies `change` to the planes of an image, and returns the result as a new array.
fn changed<'py>(
    py: Python<'py>,
    image: &Bound<'py, PyAny>,
    change: impl FnOnce(Isa, &mut Planes) + Send,
) -> PyResult<Bound<'py, PyAny>> {
    try_changed(py, image, |isa, planes| {
        change(isa, planes);
        Ok(())
    })
}

/// Like [`changed`], for a change that treats each byte separately. It works on the interleaved bytes instead of planes.
fn changed_bytes<'py>(
    py: Python<'py>,
    image: &Bound<'py, PyAny>,
    change: impl FnOnce(Isa, &mut [u8]) + Send,
) -> PyResult<Bound<'py, PyAny>> {
    let (held, [height, width]) = held_image(image)?;
    let bytes = held.slice()?;
    let made = run(py, || {
        let mut made = bytes.to_vec();
        change(Isa::detect()?, &mut made);
        Ok(made)
    })?;
    into_array(py, made, &[height, width, 3])
}

/// Like [`changed`], for a change that may fail.
fn try_changed<'py>(
    py: Python<'py>,
    image: &Bound<'py, PyAny>,
    change: impl FnOnce(Isa, &mut Planes) -> Result<()> + Send,
) -> PyResult<Bound<'py, PyAny>> {
    let (held, [height, width]) = held_image(image)?;
    let bytes = held.slice()?;
    let made = run(py, || {
        let isa = Isa::detect()?;
        let (mut planes, mut out) = (Planes::default(), vec![0; bytes.len()]);
        planes.fill(isa, height, width, bytes);
        change(isa, &mut planes)?;
        planes.write(isa, &mut out);
        Ok(out)
    })?;
    into_array(py, made, &[height, width, 3])
}

/// An interpolation, given as a string, Pillow's constant (an integer or `Image.Resampling`), or torchvision's enum.
pub(super) struct InterpolationMode(pub(super) Interpolation);

impl Default for InterpolationMode {
    fn default() -> Self {
        Self(Interpolation::Bilinear)
    }
}

impl<'py> FromPyObject<'_, 'py> for InterpolationMode {
    type Error = PyErr;

    fn extract(given: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let value = given.getattr("value").unwrap_or_else(|_| given.to_owned());
        let word = value.extract::<&str>().unwrap_or_default();
        let number = value.extract::<i64>().unwrap_or_default();
        match (word, number) {
            ("bilinear", _) | (_, 2) => Ok(Self(Interpolation::Bilinear)),
            ("bicubic", _) | (_, 3) => Ok(Self(Interpolation::Bicubic)),
            _ => {
                let given = if word.is_empty() { repr(&given) } else { format!("{word:?}") };
                Err(Error::value("interpolation", given, "must be \"bilinear\" or \"bicubic\"").into())
            }
        }
    }
}

/// Borrows an image from Python, and returns it with its height and width.
pub(super) fn held_image<'py>(image: &Bound<'py, PyAny>) -> PyResult<(Held<'py, u8>, [usize; 2])> {
    let expected = "a numpy array of uint8";
    let array = image.cast::<PyArrayDyn<u8>>().map_err(|_| wrong_type("image", image, expected))?;
    let held = Held::new(array)?;
    match *held.shape() {
        [height, width, 3] if height > 0 && width > 0 => Ok((held, [height, width])),
        ref other => Err(Error::shape("image", "must have shape (H, W, 3)", tuple(other)).into()),
    }
}
