//! Decoding of image files to upright RGB with eight bits per channel. This is the entry point; each container has its own
//! file.
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

/// The largest number of pixels, as in Pillow. Images with more pixels are treated as decompression bombs.
const MOST_PIXELS: u64 = 178_956_970;
/// The longest accepted side in pixels.
const LONGEST_SIDE: u32 = 65_535;
/// The largest file in bytes. `MOST_PIXELS` pixels with four channels of 16 bits fit into it.
const LARGEST_FILE: u64 = 8 * MOST_PIXELS + (1 << 20);
/// Memory limit of a decoder in bytes.
const MOST_BYTES: u64 = 1 << 30;
/// The remedy for files of unsupported formats.
const CONVERT: &str = "convert it to PNG or JPEG, or leave it out";

/// Options of decoding.
#[derive(Clone, Copy)]
pub struct DecodeOptions<'a> {
    /// The minimum length, in pixels, of the shorter side of a reduced JPEG.
    ///
    /// The image is reduced by 8, 4 or 2: by the largest of these factors with `factor * least` <= the shorter side. If no
    /// factor qualifies, the image is decoded at full size. To reduce an image, only the lower frequencies of each 8x8 block
    /// are transformed, to fewer pixels. Size and pixels are those of PIL's `Image.draft`.
    pub least: Option<u16>,
    /// True rotates the image upright according to EXIF or XMP, with the rules of Pillow's `ImageOps.exif_transpose`.
    ///
    /// TIFF is always rotated, because Pillow rotates it while reading, and torchvision's `ImageFolder` reads with Pillow.
    pub exif: bool,
    /// Maps (height, width) of the upright decoded image to the region that is needed.
    ///
    /// The decoded image has its full size, but pixels outside the region are unspecified. The region has no effect on which
    /// files are refused or reported as damaged.
    pub region: Option<&'a (dyn Fn(usize, usize) -> Crop + Sync)>,
}

impl Default for DecodeOptions<'_> {
    /// The whole image is decoded at full size and rotated upright.
    fn default() -> Self {
        Self { least: None, exif: true, region: None }
    }
}

/// A decoded image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decoded {
    /// The pixels, rotated upright if requested.
    pub pixels: RgbImage,
    /// The first warning of the decoder. It means that the file is damaged and `pixels` holds what could be recovered.
    pub damage: Option<String>,
}

/// The supported containers.
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

/// Signatures of unsupported formats: offset, bytes and name.
const OTHERS: [(usize, &[u8], &str); 30] = [
    (4, b"ftypavi", "an AVIF image"),
    (4, b"ftyphe", "a HEIC image"),
    (4, b"ftypmif1", "a HEIC or AVIF image"),
    (4, b"ftypmsf1", "a HEIC or AVIF image"),
    (4, b"ftyp", "a video, or an unsupported image of the same container"),
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
    (0, b"\x1A\x45\xDF\xA3", "a video"),
    (0, b"%PDF", "a PDF document"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x1F\x8B", "a gzip file"),
    (0, b"version https://git-lfs", "a Git LFS pointer without its file (run git lfs pull)"),
    (0, b"<svg", "an SVG image"),
    (0, b"<?xml", "an XML or SVG document"),
    (0, b"<!doctype html", "an HTML page"),
    (0, b"<html", "an HTML page"),
    (0, b"{\"", "a JSON document"),
    (0, b"P7\n", "a PAM image"),
];

impl Container {
    /// Detects the container from the first bytes; file names are ignored.
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
                // An HTML page may start with empty lines.
                let text = bytes.trim_ascii_start();
                let is = |at: usize, magic: &[u8]| {
                    let from = if at == 0 { text } else { bytes };
                    from.get(at..at + magic.len()).is_some_and(|found| found.eq_ignore_ascii_case(magic))
                };
                let name = OTHERS.iter().find(|(at, magic, _)| is(*at, magic)).map(|(_, _, name)| *name);
                let read = "not one of JPEG, PNG, WebP, GIF, BMP, TIFF or PNM";
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

/// Decodes the bytes of a file to RGB with 8 bits per channel.
///
/// - Gray becomes three equal channels, and transparency is dropped without blending.
/// - 16-bit gray is rounded to 8 bits.
/// - 16-bit colours are rounded in PNM; in PNG and TIFF, they lose their lower byte, as in Pillow.
/// - Only the first frame of an animation is decoded.
///
/// # Errors
/// The bytes are not an image or have an unsupported format; the image is broken or too large; its bytes cannot encode as many
/// pixels as it claims; or there is not enough memory. The error names the file `name`.
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

/// Returns the ICC profile of a file. [`decode`] ignores ICC profiles.
pub fn color_profile(bytes: &[u8]) -> Option<Vec<u8>> {
    Container::of(bytes).ok()?.metadata(bytes).profile.map(|profile| profile.into_owned())
}

/// Checks the (height, width) that a file claims.
fn checked_size(height: u32, width: u32) -> Read<(usize, usize)> {
    if height == 0 || width == 0 {
        return Err(format!("{width}x{height} pixels; {BROKEN}").into());
    }
    if height.max(width) > LONGEST_SIDE || u64::from(height) * u64::from(width) > MOST_PIXELS {
        let limits = format!("more than {MOST_PIXELS} pixels, or a side above {LONGEST_SIDE}");
        return Err(format!("{width}x{height} pixels are {limits}; the image is too large").into());
    }
    Ok((height as usize, width as usize))
}

/// Checks that `packed` compressed bytes can expand to `claimed` bytes, if each expands to at most `most` bytes.
fn fits(packed: usize, most: u64, claimed: u64) -> Read<()> {
    match (packed as u64).saturating_mul(most) >= claimed {
        true => Ok(()),
        false => Err(format!("its {packed} bytes cannot encode the pixels that it claims; {BROKEN}").into()),
    }
}

/// Rounds a 16-bit sample to 8 bits.
fn eight_bits(x: u16) -> u8 {
    ((u32::from(x) * 255 + 32_767) / 65_535) as u8
}

/// Converts pixels of 1 (gray), 2 (gray and alpha), 3 (RGB) or 4 (RGB and alpha) channels of one byte to RGB.
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

/// Decodes BMP and PNM. A BMP row may end before its last pixel, but a file without any pixels is refused.
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
/// The file cannot be read, is not a regular file, is larger than any accepted image, or is not an image: see
/// [`files::regular`] and [`decode`].
pub fn read(path: &Path, options: &DecodeOptions<'_>) -> Result<Decoded> {
    let size = files::regular(path)?.len();
    if size > LARGEST_FILE {
        return Err(Error::image(path, format!("a file of {size} bytes; images have at most {LARGEST_FILE}")));
    }
    decode(&std::fs::read(path).map_err(|error| Error::io(path, error))?, path, options)
}

/// Decodes a JPEG without rotating it. The region in the options still refers to the upright image.
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
