//! `decode` and what else is known of image files: their colour profile, and the suffixes of their names.
use super::arrays::{into_array, wrong_type};
use super::run::run_on;
use crate::data::SUFFIXES;
use crate::error::Error;
use crate::image::{self, DecodeOptions, RgbImage};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::path::{Path, PathBuf};

/// Decodes a JPEG, PNG, WebP, BMP, TIFF, PNM or GIF file, whatever its name says: three colours of eight bits each.
///
/// Gray becomes three equal colours, inks become colours as Pillow has it, transparency is dropped, not blended. Gray of sixteen bits
/// is rounded to eight, of colours the upper eight stay. Of an animation it is the first frame. An ICC profile changes nothing.
///
/// Args:
///     file: a path, or the bytes of a file.
///     min_size: None, or a number of pixels: a JPEG is decoded at the smallest of 1/8, 1/4 and 1/2 of its size whose sides are no
///         shorter, as PIL's `Image.draft` does it.
///     exif: whether the image is turned upright as EXIF or, where that has no orientation, XMP says: in JPEG, PNG (chunks and
///         texts, wherever they stand) and WebP (where its header tells of them). This is Pillow's `ImageOps.exif_transpose`, but that
///         EXIF which cannot be read turns nothing, where Pillow raises an error. False gives the image as it is stored, as
///         torchvision's `ImageFolder` does. TIFF is turned either way, because Pillow turns it while it is read.
///
/// Returns:
///     uint8, (H, W, 3).
///
/// Raises:
///     ValueError: no such image, or one that cannot be decoded; a side above 65,535 pixels, more than 178,956,970 of them, or more
///         than its bytes can hold.
///     OSError: the file cannot be read.
#[pyfunction]
#[pyo3(signature = (
    file: "str | os.PathLike[str] | bytes", min_size: "int | None" = None, *, exif: "bool" = true,
) -> "numpy.typing.NDArray[numpy.uint8]")]
pub(super) fn decode<'py>(
    py: Python<'py>,
    file: &Bound<'py, PyAny>,
    min_size: Option<i64>,
    exif: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let least = min_size.map(|n| match u16::try_from(n) {
        Ok(n) if n > 0 => Ok(n),
        _ => Err(Error::value("min_size", n, "a number of pixels from 1 to 65535, or None")),
    });
    let options = DecodeOptions { least: least.transpose()?, exif, ..DecodeOptions::default() };
    let made = match file.cast::<PyBytes>() {
        Ok(bytes) => {
            let bytes = bytes.as_bytes();
            run_on(py, "<bytes>", || image::decode(bytes, Path::new("<bytes>"), &options))?
        }
        Err(_) => {
            let path: PathBuf = file.extract().map_err(|_| wrong_type("file", file, "a path, or bytes"))?;
            run_on(py, path.display(), || image::read(&path, &options))?
        }
    };
    let RgbImage { height, width, bytes } = made.pixels;
    into_array(py, bytes, &[height, width, 3])
}

/// The ICC profile in a file's bytes; None if there is none.
#[pyfunction]
#[pyo3(signature = (file: "bytes") -> "bytes | None")]
pub(super) fn color_profile<'py>(py: Python<'py>, file: &[u8]) -> Option<Bound<'py, PyBytes>> {
    image::color_profile(file).map(|profile| PyBytes::new(py, &profile))
}

/// The suffixes of what is taken for an image in folders and in shards.
#[pyfunction]
pub(super) fn image_suffixes() -> Vec<&'static str> {
    SUFFIXES.to_vec()
}
