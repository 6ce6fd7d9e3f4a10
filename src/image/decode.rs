//! JPEG, PNG, WebP, BMP, TIFF and PNM files to pixels: upright as EXIF says, in sRGB's three colours whatever the file has.
use super::{Crop, Pixels, jpeg};
use crate::error::{Error, Result};
use crate::kernels::{Isa, Precision};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage};
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
    /// pixels then only as many are computed, from its lower frequencies. Size and pixels are those of PIL's `Image.draft`.
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
    if reader.format() == Some(ImageFormat::Jpeg) {
        return decode_jpeg(bytes, name, options);
    }
    let known = reader.format().is_some_and(|format| format.reading_enabled());
    if !known {
        return Err(wrong("none of JPEG, PNG, WebP, BMP, TIFF and PNM; convert it, or leave it out".into()));
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
    let mut picture = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    if options.exif {
        picture.apply_orientation(orientation);
    }
    Ok(Decoded { pixels: pixels(picture), damage: None })
}

fn pixels(picture: DynamicImage) -> Pixels {
    let picture = picture.into_rgb8();
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    Pixels { height, width, bytes: picture.into_raw() }
}

fn decode_jpeg(bytes: &[u8], name: &Path, options: &DecodeOptions<'_>) -> Result<Decoded> {
    let wrong = |reason: String| Error::image(name, reason);
    let orientation = if options.exif { orientation(bytes) } else { Orientation::NoTransforms };
    let as_stored =
        |region: &dyn Fn(usize, usize) -> Crop, height, width| turned_back(orientation, region, height, width);
    let region = options.region.map(|region| move |height, width| as_stored(region, height, width));
    let region = region.as_ref().map(|region| region as &dyn Fn(usize, usize) -> Crop);
    let isa = Isa::detect(Precision::Exact)?;
    let mut made = jpeg::decode(bytes, isa, options.least, MOST_PIXELS, region).map_err(wrong)?;
    if orientation != Orientation::NoTransforms {
        let Pixels { height, width, bytes } = made.pixels;
        let picture = RgbImage::from_raw(width as u32, height as u32, bytes).map(DynamicImage::from);
        let mut picture = picture.ok_or_else(|| wrong("its size changed".into()))?;
        picture.apply_orientation(orientation);
        made.pixels = pixels(picture);
    }
    Ok(made)
}

/// What the first EXIF segment of a JPEG says.
fn orientation(bytes: &[u8]) -> Orientation {
    let mut exif = jpeg::Segments::new(bytes).filter_map(|segment| match segment {
        Ok((0xE1, data)) => data.strip_prefix(b"Exif\0\0"),
        _ => None,
    });
    exif.next().and_then(Orientation::from_exif_chunk).unwrap_or(Orientation::NoTransforms)
}

/// A region of the upright image in the rows and columns of the file, which are these.
fn turned_back(orientation: Orientation, region: &dyn Fn(usize, usize) -> Crop, height: usize, width: usize) -> Crop {
    use Orientation as O;
    let turned = matches!(orientation, O::Rotate90 | O::Rotate270 | O::Rotate90FlipH | O::Rotate270FlipH);
    let Crop { top, left, height: rows, width: columns } =
        if turned { region(width, height) } else { region(height, width) };
    // The last rows and columns, counted from the end, where the file has them the other way round.
    let (bottom, right) = match turned {
        false => (height.saturating_sub(top + rows), width.saturating_sub(left + columns)),
        true => (width.saturating_sub(top + rows), height.saturating_sub(left + columns)),
    };
    let (top, left) = match orientation {
        O::NoTransforms => (top, left),
        O::FlipHorizontal => (top, right),
        O::FlipVertical => (bottom, left),
        O::Rotate180 => (bottom, right),
        O::Rotate90 => (right, top),
        O::Rotate270 => (left, bottom),
        O::Rotate90FlipH => (left, top),
        O::Rotate270FlipH => (right, bottom),
    };
    let (height, width) = if turned { (columns, rows) } else { (rows, columns) };
    Crop { top, left, height, width }
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
