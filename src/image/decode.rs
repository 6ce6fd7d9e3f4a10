//! JPEG, PNG, WebP, BMP, TIFF and PNM files to pixels: upright as EXIF says, in sRGB's three colours whatever the file has.
use super::Pixels;
use crate::error::{Error, Result};
use image::{DynamicImage, GrayImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};
use jpeg_decoder::PixelFormat;
use std::io::Cursor;
use std::path::Path;

/// The most memory that one picture may take, and the longest side: beyond it a file is a bomb rather than a photograph.
const MOST_BYTES: u64 = 1 << 30;
const LONGEST_SIDE: u32 = 65_535;

/// Decodes a file's bytes. Gray becomes three equal colours, transparency is dropped, sixteen bits are rounded to eight.
///
/// With `least`, a JPEG is decoded at the smallest of 1/8, 1/4, 1/2 of its size whose sides are no shorter: of each block of 8x8
/// pixels then only as many are computed, from its lower frequencies, as PIL's `Image.draft` does it.
///
/// # Errors
/// Bytes that are no such picture, or a damaged or oversized one; the error carries `name`.
pub fn decode(bytes: &[u8], name: &Path, least: Option<u16>) -> Result<Pixels> {
    let wrong = |reason: String| Error::image(name, reason);
    if bytes.is_empty() {
        return Err(wrong("the file is empty".into()));
    }
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|e| Error::io(name, e))?;
    let known = reader.format().is_some_and(|format| format.reading_enabled());
    if !known {
        return Err(wrong("none of JPEG, PNG, WebP, BMP, TIFF and PNM; convert it, or leave it out".into()));
    }
    let is_jpeg = reader.format() == Some(ImageFormat::Jpeg);
    // Decoders fill what is missing with gray.
    if is_jpeg && is_cut(bytes) {
        return Err(wrong("the file ends too early; it is damaged".into()));
    }
    let damaged = |e: image::ImageError| wrong(format!("{e}; the file is damaged or too large"));
    let mut decoder = reader.into_decoder().map_err(damaged)?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(MOST_BYTES);
    (limits.max_image_width, limits.max_image_height) = (Some(LONGEST_SIDE), Some(LONGEST_SIDE));
    decoder.set_limits(limits).map_err(damaged)?;
    let orientation = decoder.orientation().map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    let least = least.filter(|&least| is_jpeg && width.min(height).div_ceil(2) >= u32::from(least));
    let reduced = least.map(|least| reduced(bytes, least, width < height)).transpose();
    let reduced = reduced.map_err(|e| wrong(format!("{e}; the file is damaged")))?.flatten();
    let mut picture = match reduced {
        Some(picture) => picture,
        None => DynamicImage::from_decoder(decoder).map_err(damaged)?,
    };
    picture.apply_orientation(orientation);
    let picture = picture.into_rgb8();
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    Ok(Pixels { height, width, bytes: picture.into_raw() })
}

/// A JPEG at a part of its size; none if its colours are others than gray and YCbCr.
fn reduced(bytes: &[u8], least: u16, upright: bool) -> std::result::Result<Option<DynamicImage>, jpeg_decoder::Error> {
    let mut decoder = jpeg_decoder::Decoder::new(bytes);
    // It takes a size of which one side is reached: the shorter one.
    let (width, height) = if upright { (least, u16::MAX) } else { (u16::MAX, least) };
    decoder.scale(width, height)?;
    let Some(info) = decoder.info() else { return Ok(None) };
    let (width, height) = (u32::from(info.width), u32::from(info.height));
    Ok(match info.pixel_format {
        PixelFormat::RGB24 => RgbImage::from_raw(width, height, decoder.decode()?).map(DynamicImage::from),
        PixelFormat::L8 => GrayImage::from_raw(width, height, decoder.decode()?).map(DynamicImage::from),
        _ => None,
    })
}

/// Reads a file and decodes it.
///
/// # Errors
/// What is no regular file (a pipe would be waited for without end), cannot be read, or is no picture: see [`decode`].
pub fn read(path: &Path, least: Option<u16>) -> Result<Pixels> {
    let io = |e| Error::io(path, e);
    let kind = std::fs::metadata(path).map_err(io)?.file_type();
    if !kind.is_file() && !kind.is_dir() {
        return Err(Error::image(path, "no regular file; leave it out"));
    }
    decode(&std::fs::read(path).map_err(io)?, path, least)
}

/// Whether a JPEG has no end: no such mark after the last start of a scan. Between the two, no data look like a mark.
fn is_cut(bytes: &[u8]) -> bool {
    let (start, end) = ([0xFF, 0xDA], [0xFF, 0xD9]);
    let last = |mark: [u8; 2]| bytes.windows(2).rposition(|two| two == mark);
    !bytes.ends_with(&end) && last(end) < last(start)
}
