//! Image files to pixels: upright, red, green and blue, eight bits each, whatever the file has. This is the door; each container has a
//! file of its own.
mod gif;
mod jpeg_segments;
mod orientation;
mod png;
mod tiff;
mod webp;

use super::{BROKEN, Crop, Refused, RgbImage, jpeg};
use crate::error::{Error, Result};
use crate::files;
use crate::kernels::isa::Isa;
use image::{ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};
use orientation::{Metadata, Orientation};
use std::io::Cursor;
use std::path::Path;

type Read<T> = std::result::Result<T, Refused>;

/// The most pixels and the longest side: beyond them a file is a bomb rather than a photograph. Pillow's limit too.
const MOST_PIXELS: u64 = 178_956_970;
const LONGEST_SIDE: u32 = 65_535;
/// The largest file: what so many pixels take, of four colours in 16 bits.
const LARGEST_FILE: u64 = 8 * MOST_PIXELS + (1 << 20);
/// What a decoder may take for itself.
const MOST_BYTES: u64 = 1 << 30;
/// The remedy for what is no image that is read.
const CONVERT: &str = "convert it to PNG or JPEG, or leave it out";

/// How a file becomes pixels.
#[derive(Clone, Copy)]
pub struct DecodeOptions<'a> {
    /// A JPEG is decoded at the smallest of 1/8, 1/4, 1/2 of its size whose sides are no shorter than this: of each block of 8x8
    /// pixels then only as many are computed, from its lower frequencies. Size and pixels are those of PIL's `Image.draft`.
    pub least: Option<u16>,
    /// Whether the image is turned upright, as EXIF or XMP says: the rule is Pillow's `ImageOps.exif_transpose`. TIFF is turned in any
    /// case, because Pillow, and so torchvision's `ImageFolder`, turns it while it is read.
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
    pub pixels: RgbImage,
    /// What the decoder warned of first: the file is damaged, and this is what could be made of it.
    pub damage: Option<String>,
}

/// The containers that are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Container {
    Bmp,
    Gif,
    Jpeg,
    Png,
    Pnm,
    Tiff,
    WebP,
}

/// What files begin with that are no images which are read: where in the file, the bytes, and a name.
const OTHERS: [(usize, &[u8], &str); 30] = [
    (4, b"ftypavi", "an AVIF image"),
    (4, b"ftyphe", "a HEIC image"),
    (4, b"ftypmif1", "a HEIC or AVIF image"),
    (4, b"ftypmsf1", "a HEIC or AVIF image"),
    (4, b"ftyp", "a film, or an image of its kind"),
    (0, b"\xFF\x0A", "a JPEG XL image"),
    (0, b"\0\0\0\x0CJXL \r\n\x87\n", "a JPEG XL image"),
    (0, b"\0\0\0\x0CjP  \r\n\x87\n", "a JPEG 2000 image"),
    (0, b"\xFF\x4F\xFF\x51", "a JPEG 2000 image"),
    (0, b"II\xBC", "a JPEG XR image"),
    (0, b"8BPS", "a Photoshop document"),
    (0, b"\x76\x2F\x31\x01", "an OpenEXR image"),
    (0, b"#?RADIANCE", "a Radiance image"),
    (0, b"DDS ", "a DDS texture"),
    (0, b"qoif", "a QOI image"),
    (0, b"\0\0\x01\0", "an icon"),
    (0, b"\x93NUMPY", "a numpy array"),
    (0, b"\x89HDF", "an HDF5 file"),
    (0, b"RIFF", "a RIFF file without WebP"),
    (0, b"\x1A\x45\xDF\xA3", "a film"),
    (0, b"%PDF", "a PDF document"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x1F\x8B", "a gzip file"),
    (0, b"version https://git-lfs", "a pointer of Git LFS, without the file (git lfs pull)"),
    (0, b"<svg", "an SVG image"),
    (0, b"<?xml", "an XML or SVG document"),
    (0, b"<!doctype html", "an HTML page"),
    (0, b"<html", "an HTML page"),
    (0, b"{\"", "a JSON document"),
    (0, b"P7\n", "a PAM image"),
];

impl Container {
    /// What a file is by its first bytes, whatever its name says.
    fn of(bytes: &[u8]) -> Read<Self> {
        Ok(match bytes {
            [0xFF, 0xD8, 0xFF, ..] => Self::Jpeg,
            _ if bytes.starts_with(png::SIGNATURE) => Self::Png,
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Self::WebP,
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Self::Gif,
            [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Self::Tiff,
            [b'B', b'M', ..] => Self::Bmp,
            [b'P', b'1'..=b'6', b' ' | b'\t'..=b'\r' | b'#', ..] => Self::Pnm,
            _ => {
                // A page may begin with empty lines.
                let text = bytes.trim_ascii_start();
                let is = |at: usize, magic: &[u8]| {
                    let from = if at == 0 { text } else { bytes };
                    from.get(at..at + magic.len()).is_some_and(|found| found.eq_ignore_ascii_case(magic))
                };
                let name = OTHERS.iter().find(|(at, magic, _)| is(*at, magic)).map(|(_, _, name)| *name);
                let read = "none of JPEG, PNG, WebP, GIF, BMP, TIFF and PNM";
                return Err(format!("{}; {CONVERT}", name.unwrap_or(read)).into());
            }
        })
    }

    fn metadata(self, bytes: &[u8]) -> Metadata<'_> {
        match self {
            Self::Jpeg => jpeg_segments::metadata(bytes),
            Self::Png => png::metadata(bytes),
            Self::WebP => webp::metadata(bytes),
            Self::Tiff => tiff::metadata(bytes),
            Self::Bmp | Self::Gif | Self::Pnm => Metadata::default(),
        }
    }
}

/// Decodes a file's bytes. Gray becomes three equal colours; transparency is dropped, not blended; gray of sixteen bits is rounded to
/// eight, and so are colours of PNM, while those of PNG and TIFF lose their lower byte, as Pillow has it; of animations it is the
/// first frame.
///
/// # Errors
/// Bytes that are no image, one of another container, a broken or oversized one, one that claims more pixels than its bytes can hold,
/// or no memory; the error carries `name`.
pub fn decode(bytes: &[u8], name: &Path, options: &DecodeOptions<'_>) -> Result<Decoded> {
    upright(bytes, options).or_else(|refused| refused.named(name))
}

fn upright(bytes: &[u8], options: &DecodeOptions<'_>) -> Read<Decoded> {
    if bytes.is_empty() {
        return Err("the file is empty".into());
    }
    let container = Container::of(bytes)?;
    let stored = match container {
        Container::Jpeg => stored_jpeg(bytes, options)?,
        Container::Png => png::decode(bytes)?,
        Container::WebP => webp::decode(bytes)?,
        Container::Gif => gif::decode(bytes)?,
        Container::Tiff => tiff::decode(bytes)?,
        Container::Bmp => simple(bytes, ImageFormat::Bmp)?,
        Container::Pnm => simple(bytes, ImageFormat::Pnm)?,
    };
    if !options.exif && container != Container::Tiff {
        return Ok(stored);
    }
    let pixels = container.metadata(bytes).orientation().upright(stored.pixels)?;
    Ok(Decoded { pixels, ..stored })
}

/// The ICC profile that a file holds; the pixels that [`decode`] gives are not changed by it.
pub fn color_profile(bytes: &[u8]) -> Option<Vec<u8>> {
    Container::of(bytes).ok()?.metadata(bytes).profile.map(|profile| profile.into_owned())
}

/// (height, width) as a file claims them.
fn checked_size(height: u32, width: u32) -> Read<(usize, usize)> {
    if height == 0 || width == 0 {
        return Err(format!("{width}x{height} pixels; {BROKEN}").into());
    }
    if height.max(width) > LONGEST_SIDE || u64::from(height) * u64::from(width) > MOST_PIXELS {
        let limits = format!("more than {MOST_PIXELS} pixels, or a side above {LONGEST_SIDE}");
        return Err(format!("{width}x{height} are {limits}; the image is too large").into());
    }
    Ok((height as usize, width as usize))
}

/// Whether so many packed bytes can unfold to what is claimed.
fn fits(packed: usize, most: u64, claimed: u64) -> Read<()> {
    match (packed as u64).saturating_mul(most) >= claimed {
        true => Ok(()),
        false => Err(format!("its {packed} bytes cannot hold the pixels that it claims; {BROKEN}").into()),
    }
}

/// Sixteen bits rounded to eight.
fn eight_bits(x: u16) -> u8 {
    ((u32::from(x) * 255 + 32_767) / 65_535) as u8
}

/// Pixels of 1 (gray), 2 (with transparency), 3 or 4 bytes, as three colours.
fn three_colors(samples: Vec<u8>, channels: usize) -> Read<Vec<u8>> {
    if channels == 3 {
        return Ok(samples);
    }
    let mut out = Refused::zeros(samples.len() / channels * 3)?;
    for (pixel, from) in out.as_chunks_mut::<3>().0.iter_mut().zip(samples.chunks_exact(channels)) {
        *pixel = if channels < 3 { [from[0]; 3] } else { [from[0], from[1], from[2]] };
    }
    Ok(out)
}

/// BMP and PNM. A line of BMP may end before it has all its pixels, but an image that is nothing else is none.
fn simple(bytes: &[u8], format: ImageFormat) -> Read<Decoded> {
    const MOST_UNPACKED: u64 = 1 << 16;
    let refused = |e: ImageError| match e {
        ImageError::Unsupported(e) => format!("{e}; {CONVERT}"),
        e => format!("{e}; {BROKEN}"),
    };
    let mut decoder = ImageReader::with_format(Cursor::new(bytes), format).into_decoder().map_err(refused)?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(MOST_BYTES);
    decoder.set_limits(limits).map_err(refused)?;
    let (width, height) = decoder.dimensions();
    let (height, width) = checked_size(height, width)?;
    fits(bytes.len(), MOST_UNPACKED, decoder.total_bytes())?;
    let color = decoder.color_type();
    let mut samples = Refused::zeros(decoder.total_bytes() as usize)?;
    decoder.read_image(&mut samples).map_err(refused)?;
    if color.bytes_per_pixel() > color.channel_count() {
        let eight = |x: &[u8; 2]| eight_bits(u16::from_ne_bytes(*x));
        samples = samples.as_chunks().0.iter().map(eight).collect();
    }
    let bytes = three_colors(samples, usize::from(color.channel_count()))?;
    Ok(Decoded { pixels: RgbImage { height, width, bytes }, damage: None })
}

/// Reads a file and decodes it.
///
/// # Errors
/// A file that cannot be read, is no regular one, or is no image: see [`files::regular`] and [`decode`].
pub fn read(path: &Path, options: &DecodeOptions<'_>) -> Result<Decoded> {
    let size = files::regular(path)?.len();
    if size > LARGEST_FILE {
        return Err(Error::image(path, format!("a file of {size} bytes; images have at most {LARGEST_FILE}")));
    }
    decode(&std::fs::read(path).map_err(|error| Error::io(path, error))?, path, options)
}

/// A JPEG as it is stored. The part that is wanted is one of the upright image.
fn stored_jpeg(bytes: &[u8], options: &DecodeOptions<'_>) -> Read<Decoded> {
    let orientation = if options.exif { jpeg_segments::metadata(bytes).orientation() } else { Orientation::default() };
    let part = options.region.map(|region| {
        move |height, width| {
            let upright = orientation.size((height, width));
            orientation.stored(region(upright.0, upright.1), (height, width))
        }
    });
    let part = part.as_ref().map(|part| part as &dyn Fn(usize, usize) -> Crop);
    let isa = Isa::detect().map_err(|e| e.to_string())?;
    jpeg::decode(bytes, isa, options.least, MOST_PIXELS, part)
}
