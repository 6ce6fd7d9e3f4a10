//! `decode`, and other functions on image files: colour profiles and file name suffixes.
use super::arrays::{into_array, wrong_type};
use super::run::run_on;
use crate::data::SUFFIXES;
use crate::error::Error;
use crate::image::{self, DecodeOptions, RgbImage};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::path::{Path, PathBuf};

/// Decode an image file to RGB with 8 bits per channel: JPEG, PNG, WebP, BMP, TIFF, PNM or GIF, as detected from the bytes.
///
/// - Gray becomes three equal channels, and CMYK is converted as in Pillow.
/// - Transparency is dropped without blending.
/// - 16-bit gray is rounded to 8 bits, and so are the 16-bit colours of PNM. Of other 16-bit colours, the upper 8 bits are
///   kept.
/// - Only the first frame of an animation is decoded.
/// - ICC profiles are ignored.
///
/// Args:
///     file: the path of a file, or its bytes.
///     min_size: the shortest acceptable side of a JPEG in pixels. The image is reduced by 8, 4 or 2: by the largest of these
///         factors with `factor * min_size` <= the shorter side, as with PIL's `Image.draft`. If no factor qualifies, or
///         min_size is None, the image is decoded at full size.
///     exif: True rotates JPEG, PNG and WebP images upright by the orientation in their EXIF metadata, else in their XMP
///         metadata. The rules are those of Pillow's `ImageOps.exif_transpose`, except that unreadable EXIF is ignored. In PNG,
///         the metadata may be in any chunk or text; in WebP, the metadata is only read if the header announces it. False
///         returns the image as stored, as torchvision's `ImageFolder` does. TIFF is always rotated, because Pillow rotates it
///         while reading.
///
/// Returns:
///     uint8, (H, W, 3).
///
/// Raises:
///     ValueError: an unsupported or undecodable image; a side above 65,535 pixels, more than 178,956,970 pixels in total, or
///         more pixels than a file of its size can encode.
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

/// Return the ICC profile of an image file, given its bytes; None if the file has no profile.
#[pyfunction]
#[pyo3(signature = (file: "bytes") -> "bytes | None")]
pub(super) fn color_profile<'py>(py: Python<'py>, file: &[u8]) -> Option<Bound<'py, PyBytes>> {
    image::color_profile(file).map(|profile| PyBytes::new(py, &profile))
}

/// Return the suffixes, without dots, by which image files in folders and shards are recognized.
#[pyfunction]
pub(super) fn image_suffixes() -> Vec<&'static str> {
    SUFFIXES.to_vec()
}
