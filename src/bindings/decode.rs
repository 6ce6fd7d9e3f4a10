//! `decode`, and other functions on image files: colour profiles and file name suffixes.
use super::arrays::{into_array, wrong_type};
use super::run::run_on;
use crate::data::SUFFIXES;
use crate::error::Error;
use crate::image::{self, DecodeOptions, RgbImage};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::path::{Path, PathBuf};

/// Decode a JPEG, PNG, WebP, BMP, TIFF, PNM or GIF file, recognized by its bytes, to RGB with eight bits per channel.
///
/// Gray becomes three equal channels, CMYK is converted as in Pillow, transparency is dropped, not blended. Gray of sixteen
/// bits is rounded to eight; of sixteen-bit colours the upper eight are kept. Of an animation, the first frame is decoded. ICC
/// profiles are ignored.
///
/// Args:
///     file: a path, or the bytes of a file.
///     min_size: None, or a side in pixels: a JPEG is decoded at the smallest of 1/8, 1/4 and 1/2 of its size with no side
///         shorter than this, as PIL's `Image.draft` does.
///     exif: True rotates the image upright by the orientation in EXIF or, without one there, in XMP: in JPEG, PNG (chunks and
///         texts, wherever they are) and WebP (if its header announces them). This is Pillow's `ImageOps.exif_transpose`,
///         except that unreadable EXIF is ignored, where Pillow raises an error. False returns the image as stored, as
///         torchvision's `ImageFolder` does. TIFF is rotated in either case, because Pillow rotates it while reading.
///
/// Returns:
///     uint8, (H, W, 3).
///
/// Raises:
///     ValueError: an unsupported or undecodable image; a side above 65,535 pixels, more than 178,956,970 pixels, or more
///         than its bytes can encode.
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
        _ => Err(Error::value("min_size", n, "must be an integer in [1, 65535] or None")),
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

/// Return the ICC profile in the bytes of a file, or None.
#[pyfunction]
#[pyo3(signature = (file: "bytes") -> "bytes | None")]
pub(super) fn color_profile<'py>(py: Python<'py>, file: &[u8]) -> Option<Bound<'py, PyBytes>> {
    image::color_profile(file).map(|profile| PyBytes::new(py, &profile))
}

/// Return the suffixes of image files in folders and shards.
#[pyfunction]
pub(super) fn image_suffixes() -> Vec<&'static str> {
    SUFFIXES.to_vec()
}
