//! JPEG, PNG, WebP, BMP, TIFF and PNM files to pixels: upright as EXIF says, in sRGB's three colours whatever the file has.
use super::Pixels;
use crate::error::{Error, Result};
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};
use std::io::Cursor;
use std::path::Path;

/// The most memory that one picture may take, and the longest side: beyond it a file is a bomb rather than a photograph.
const MOST_BYTES: u64 = 1 << 30;
const LONGEST_SIDE: u32 = 65_535;

/// Decodes a file's bytes. Gray becomes three equal colours, transparency is dropped, sixteen bits are rounded to eight.
///
/// # Errors
/// Bytes that are no such picture, or a damaged or oversized one; the error carries `name`.
pub fn decode(bytes: &[u8], name: &Path) -> Result<Pixels> {
    let wrong = |reason: String| Error::image(name, reason);
    if bytes.is_empty() {
        return Err(wrong("the file is empty".into()));
    }
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|e| Error::io(name, e))?;
    let known = reader.format().is_some_and(|format| format.reading_enabled());
    if !known {
        return Err(wrong("none of JPEG, PNG, WebP, BMP, TIFF and PNM; convert it, or leave it out".into()));
    }
    // Decoders fill what is missing with gray.
    if reader.format() == Some(ImageFormat::Jpeg) && is_cut(bytes) {
        return Err(wrong("the file ends too early; it is damaged".into()));
    }
    let damaged = |e: image::ImageError| wrong(format!("{e}; the file is damaged or too large"));
    let mut decoder = reader.into_decoder().map_err(damaged)?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(MOST_BYTES);
    (limits.max_image_width, limits.max_image_height) = (Some(LONGEST_SIDE), Some(LONGEST_SIDE));
    decoder.set_limits(limits).map_err(damaged)?;
    let orientation = decoder.orientation().map_err(damaged)?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    picture.apply_orientation(orientation);
    let picture = picture.into_rgb8();
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    Ok(Pixels { height, width, bytes: picture.into_raw() })
}

/// Reads a file and decodes it.
///
/// # Errors
/// What is no regular file (a pipe would be waited for without end), cannot be read, or is no picture: see [`decode`].
pub fn read(path: &Path) -> Result<Pixels> {
    let io = |e| Error::io(path, e);
    let kind = std::fs::metadata(path).map_err(io)?.file_type();
    if !kind.is_file() && !kind.is_dir() {
        return Err(Error::image(path, "no regular file; leave it out"));
    }
    decode(&std::fs::read(path).map_err(io)?, path)
}

/// Whether a JPEG has no end: no such mark after the last start of a scan. Between the two, no data look like a mark.
fn is_cut(bytes: &[u8]) -> bool {
    let (start, end) = ([0xFF, 0xDA], [0xFF, 0xD9]);
    let last = |mark: [u8; 2]| bytes.windows(2).rposition(|two| two == mark);
    !bytes.ends_with(&end) && last(end) < last(start)
}
