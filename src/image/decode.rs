//! JPEG, PNG, WebP, BMP, TIFF and PNM files to pixels: upright as EXIF says, in sRGB's three colours whatever the file has.
use super::{Crop, Pixels};
use crate::error::{Error, Result};
use image::{DynamicImage, GrayImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage};
use jpeg_decoder::PixelFormat;
use std::io::Cursor;
use std::path::Path;

/// The most pixels and the longest side: beyond them a file is a bomb rather than a photograph. Pillow's limit too.
const MOST_PIXELS: u64 = 178_956_970;
const LONGEST_SIDE: u32 = 65_535;
/// What a decoder may take for itself.
const MOST_BYTES: u64 = 1 << 30;

/// How a file becomes pixels.
#[derive(Clone, Copy)]
pub struct DecodeOptions<'a> {
    /// A JPEG is decoded at the smallest of 1/8, 1/4, 1/2 of its size whose sides are no shorter than this: of each block of 8x8
    /// pixels then only as many are computed, from its lower frequencies, as PIL's `Image.draft` does it.
    pub least: Option<u16>,
    /// Whether the image is turned upright, as its EXIF orientation says.
    pub exif: bool,
    /// Given (height, width) of the decoded image, upright, the part of it that is wanted. The result has the whole size all the
    /// same, and beyond that part its pixels may be anything. Which bytes are refused or damaged does not depend on it.
    pub region: Option<&'a (dyn Fn(usize, usize) -> Crop + Sync)>,
}

impl Default for DecodeOptions<'_> {
    /// All of it, in its own size, upright.
    fn default() -> Self {
        Self { least: None, exif: true, region: None }
    }
}

/// An image of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decoded {
    /// Upright, if that was asked for.
    pub pixels: Pixels,
    /// What the decoder warned of first: the file is damaged, and this is what could be made of it.
    pub damage: Option<String>,
}

/// Decodes a file's bytes. Gray becomes three equal colours, transparency is dropped, sixteen bits are rounded to eight.
///
/// # Errors
/// Bytes that are no such picture, or a damaged or oversized one; the error carries `name`.
pub fn decode(bytes: &[u8], name: &Path, options: &DecodeOptions<'_>) -> Result<Decoded> {
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
    let damaged = |e: image::ImageError| match e {
        ImageError::Unsupported(e) => wrong(format!("{e}; convert it to eight bits of RGB")),
        e => wrong(format!("{e}; the file is damaged or too large")),
    };
    let mut decoder = reader.into_decoder().map_err(damaged)?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(MOST_BYTES);
    (limits.max_image_width, limits.max_image_height) = (Some(LONGEST_SIDE), Some(LONGEST_SIDE));
    decoder.set_limits(limits).map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MOST_PIXELS {
        return Err(wrong(format!("{width}x{height} are more than {MOST_PIXELS} pixels; the file is too large")));
    }
    let orientation = decoder.orientation().map_err(damaged)?;
    let least = options.least.filter(|&least| is_jpeg && width.min(height).div_ceil(2) >= u32::from(least));
    let reduced = least.map(|least| reduced(bytes, least, width < height)).transpose();
    let reduced = reduced.map_err(|e| wrong(format!("{e}; the file is damaged")))?.flatten();
    let mut picture = match reduced {
        Some(picture) => picture,
        None => DynamicImage::from_decoder(decoder).map_err(damaged)?,
    };
    if options.exif {
        picture.apply_orientation(orientation);
    }
    let picture = picture.into_rgb8();
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    Ok(Decoded { pixels: Pixels { height, width, bytes: picture.into_raw() }, damage: None })
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
pub fn read(path: &Path, options: &DecodeOptions<'_>) -> Result<Decoded> {
    let io = |e| Error::io(path, e);
    let kind = std::fs::metadata(path).map_err(io)?.file_type();
    if !kind.is_file() && !kind.is_dir() {
        return Err(Error::image(path, "no regular file; leave it out"));
    }
    decode(&std::fs::read(path).map_err(io)?, path, options)
}

/// Whether a JPEG has no end: segment after segment, and the data of scans, up to the mark of the end. What follows it is not looked at:
/// cameras append films and thumbnails.
fn is_cut(bytes: &[u8]) -> bool {
    const END: u8 = 0xD9;
    let mut at = 2;
    loop {
        // A mark, perhaps with bytes to fill before it.
        let Some(found) = bytes.get(at..).and_then(|rest| rest.iter().position(|&x| x == 0xFF)) else { return true };
        at += found;
        while bytes.get(at) == Some(&0xFF) {
            at += 1;
        }
        let Some(&mark) = bytes.get(at) else { return true };
        at += 1;
        match mark {
            END => return false,
            // In a scan's data 0xFF 0x00 is a number, and restarts have no length.
            0x00 | 0x01 | 0xD0..=0xD8 => {}
            _ => {
                let Some(&[high, low]) = bytes.get(at..at + 2) else { return true };
                at += usize::from(u16::from_be_bytes([high, low]));
            }
        }
    }
}
