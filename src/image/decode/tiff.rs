//! TIFF and BigTIFF: the first page. Palettes, CMYK and premultiplied colours are converted with Pillow's arithmetic. Rare
//! variants are refused, with an error that names the variant.
use super::orientation::{Directory, Metadata};
use super::{BROKEN, CONVERT, Refused, checked_size, eight_bits, fits};
use crate::image::{Decoded, RgbImage};
use std::borrow::Cow;
use std::io::Cursor;
use tiff::decoder::{Decoder, Limits};
use tiff::tags::{SampleFormat, Tag};
use tiff::{ColorType, TiffError};

const COMPRESSION: u16 = 259;
const PHOTOMETRIC: u16 = 262;
const FILL_ORDER: u16 = 266;
const SAMPLES_PER_PIXEL: u16 = 277;
const PLANES: u16 = 284;
const COLOR_MAP: u16 = 320;
const TILE_WIDTH: u16 = 322;
const TILE_LENGTH: u16 = 323;
const EXTRA_SAMPLES: u16 = 338;
const XMP: u16 = 700;
const PROFILE: u16 = 34675;

/// The version number of BigTIFF. The version number of TIFF is 42.
const BIG: u8 = 43;
/// The value of the tag PhotometricInterpretation for colours that are indices into a palette.
const PALETTE: f64 = 3.0;
/// The value of the tag ExtraSamples for premultiplied alpha.
const PREMULTIPLIED: f64 = 1.0;
/// The maximum number of samples per pixel that Pillow supports.
const MOST_SAMPLES: f64 = 6.0;

pub(super) fn metadata(bytes: &[u8]) -> Metadata<'_> {
    let Some(directory) = Directory::new(bytes) else { return Metadata::default() };
    let told = |tag| directory.bytes(tag).map(Cow::Borrowed);
    // EXIF has the format of a TIFF file, so the whole file serves as EXIF.
    Metadata { exif: Some(Cow::Borrowed(bytes)), xmp: told(XMP), profile: told(PROFILE) }
}

/// Returns the largest number of bytes to which one compressed byte may expand. An unsupported compression is an error.
fn most_unpacked(compression: f64) -> Result<u64, Refused> {
    let name = match compression as u32 {
        1 => return Ok(1),
        // A white row takes one bit.
        4 => return Ok(1 << 16),
        5 => return Ok(2731),
        8 | 32946 => return Ok(1032),
        32773 => return Ok(64),
        2 | 3 => "CCITT group 3",
        6 | 7 => "JPEG",
        34925 => "LZMA",
        50000 => "ZSTD",
        50001 => "WebP",
        _ => "an unusual method",
    };
    Err(format!("TIFF compressed by {name} is not supported; {CONVERT}").into())
}

pub(super) fn decode(bytes: &[u8]) -> Result<Decoded, Refused> {
    let page = Page::new(bytes)?;
    let most_unpacked = page.check()?;
    let samples = page.samples(most_unpacked)?;
    let (height, width) = (samples.height, samples.width);
    Ok(Decoded { pixels: RgbImage { height, width, bytes: page.colors(&samples)? }, damage: None })
}

/// The first page of a file, with its directory.
struct Page<'a> {
    bytes: &'a [u8],
    /// The name of the format in errors: TIFF or BigTIFF.
    kind: &'static str,
    directory: Directory<'a>,
}

impl<'a> Page<'a> {
    fn new(bytes: &'a [u8]) -> Result<Self, Refused> {
        let kind = if bytes[2..4].contains(&BIG) { "BigTIFF" } else { "TIFF" };
        let directory = Directory::new(bytes).ok_or_else(|| format!("TIFF without a directory; {BROKEN}"))?;
        Ok(Self { bytes, kind, directory })
    }

    fn number(&self, tag: u16, default: f64) -> f64 {
        self.directory.number(tag).unwrap_or(default)
    }

    fn is_palette(&self) -> bool {
        self.number(PHOTOMETRIC, 0.0) == PALETTE
    }

    fn unread(&self, what: &str) -> Refused {
        format!("{} with {what} is not supported; {CONVERT}", self.kind).into()
    }

    fn refused(&self, error: TiffError) -> Refused {
        match error {
            TiffError::UnsupportedError(e) => format!("{}: {e}; {CONVERT}", self.kind).into(),
            e => format!("{}: {e}; {BROKEN}", self.kind).into(),
        }
    }

    /// Refuses unsupported variants by their tags. Returns the largest number of bytes to which one compressed byte may expand.
    fn check(&self) -> Result<u64, Refused> {
        let most = most_unpacked(self.number(COMPRESSION, 1.0))?;
        if self.number(FILL_ORDER, 1.0) != 1.0 {
            return Err(self.unread("bits in the reverse order"));
        }
        if self.number(SAMPLES_PER_PIXEL, 1.0) > MOST_SAMPLES {
            return Err(self.unread("this number of samples per pixel"));
        }
        if self.number(PLANES, 1.0) == 2.0 && self.directory.number(TILE_WIDTH).is_some() {
            // In all planes but the first, the decoder does not cut off the tiles at the lower edge of the image.
            return Err(self.unread("tiles for each channel"));
        }
        for tag in [TILE_WIDTH, TILE_LENGTH] {
            checked_size(1, self.number(tag, 1.0) as u32)?;
        }
        Ok(most)
    }

    /// Creates a decoder, and checks that the decoder reads the same tag values as the directory.
    fn decoder(&self) -> Result<Decoder<Cursor<Cow<'a, [u8]>>>, Refused> {
        // The decoder does not support palettes, so it reads a copy that declares their indices as gray levels.
        let file = match self.is_palette() {
            true => Cow::Owned(self.directory.with(PHOTOMETRIC, 1)),
            false => Cow::Borrowed(self.bytes),
        };
        let mut limits = Limits::default();
        (limits.decoding_buffer_size, limits.intermediate_buffer_size) = (usize::MAX, usize::MAX);
        let mut decoder = Decoder::new(Cursor::new(file)).map_err(|e| self.refused(e))?.with_limits(limits);
        // If a tag is repeated or has another type, the decoder may see another value than the checked one.
        for tag in [COMPRESSION, FILL_ORDER, SAMPLES_PER_PIXEL, PLANES, TILE_WIDTH, TILE_LENGTH] {
            let seen: Option<u32> =
                decoder.find_tag_unsigned(Tag::from_u16_exhaustive(tag)).map_err(|e| self.refused(e))?;
            if seen.is_some_and(|seen| self.directory.number(tag) != Some(seen.into())) {
                return Err(format!("{} with contradictory values of tag {tag}; {BROKEN}", self.kind).into());
            }
        }
        Ok(decoder)
    }

    /// Decodes the samples. First checks that the file is large enough to hold them.
    fn samples(&self, most_unpacked: u64) -> Result<Samples, Refused> {
        let refused = |e| self.refused(e);
        let mut decoder = self.decoder()?;
        let (width, height) = decoder.dimensions().map_err(refused)?;
        let (height, width) = checked_size(height, width)?;
        let color = decoder.colortype().map_err(refused)?;
        let layout = decoder.image_buffer_layout().map_err(refused)?;
        fits(self.bytes.len(), most_unpacked, layout.complete_len as u64)?;
        let mut bytes = Refused::zeros(layout.complete_len)?;
        decoder.read_image_bytes(&mut bytes).map_err(refused)?;
        Ok(Samples {
            bytes,
            height,
            width,
            color,
            format: layout.sample_format,
            channels: color.num_samples().into(),
            stride: layout.row_stride.map_or(layout.complete_len, usize::from),
            plane: (layout.planes > 1).then(|| layout.plane_stride.map_or(0, usize::from)),
        })
    }

    /// Converts the samples to RGB.
    fn colors(&self, samples: &Samples) -> Result<Vec<u8>, Refused> {
        let Some(to_byte) = samples.to_byte(self.is_palette()) else {
            return Err(self.unread(&format!("{} bits per sample, or this type of values,", samples.color.bit_depth())));
        };
        let palette = self.is_palette().then(|| self.directory.numbers(COLOR_MAP));
        let premultiplied = self.number(EXTRA_SAMPLES, 0.0) == PREMULTIPLIED;
        let mut out = Refused::zeros(3 * samples.height * samples.width)?;
        for (y, line) in out.chunks_exact_mut(3 * samples.width).enumerate() {
            for (x, pixel) in line.as_chunks_mut::<3>().0.iter_mut().enumerate() {
                let sample = |channel| {
                    let (line, at) = samples.place(y, x, channel);
                    to_byte(line, at)
                };
                *pixel = match &palette {
                    Some(palette) => of_palette(palette, sample(0)?),
                    None => rgb(samples.color, premultiplied, sample)?.ok_or_else(|| self.unread("such colours"))?,
                };
            }
        }
        Ok(out)
    }
}

/// The samples of a page, as stored.
struct Samples {
    bytes: Vec<u8>,
    height: usize,
    width: usize,
    color: ColorType,
    format: SampleFormat,
    /// Number of samples per pixel.
    channels: usize,
    /// Number of bytes per row.
    stride: usize,
    /// Number of bytes per plane; `None` if the channels are interleaved.
    plane: Option<usize>,
}

/// A function that converts a sample to a byte.
///
/// Its arguments are the bytes from the start of the sample's row, and the index of the sample in that row.
type ToByte = fn(&[u8], usize) -> Result<u8, Refused>;

impl Samples {
    /// Returns the function that converts samples to bytes; `None` if the type of the samples is not supported.
    ///
    /// Palette indices are not scaled.
    fn to_byte(&self, is_palette: bool) -> Option<ToByte> {
        Some(match (self.format, self.color) {
            (SampleFormat::Uint, ColorType::Gray(1)) if is_palette => index::<1>,
            (SampleFormat::Uint, ColorType::Gray(2)) if is_palette => index::<2>,
            (SampleFormat::Uint, ColorType::Gray(4)) if is_palette => index::<4>,
            (SampleFormat::Uint, ColorType::Gray(1)) => few_bits::<1>,
            (SampleFormat::Uint, ColorType::Gray(2)) => few_bits::<2>,
            (SampleFormat::Uint, ColorType::Gray(4)) => few_bits::<4>,
            (SampleFormat::Uint | SampleFormat::Int, color) if color.bit_depth() == 8 => |line, i| Ok(line[i]),
            (SampleFormat::Uint, ColorType::Gray(16)) if !is_palette => |line, i| Ok(eight_bits(sixteen(line, i))),
            (SampleFormat::Uint, color) if color.bit_depth() == 16 && !is_palette => {
                |line, i| Ok((sixteen(line, i) >> 8) as u8)
            }
            (SampleFormat::IEEEFP, ColorType::Gray(32)) => float,
            _ => return None,
        })
    }

    /// Returns the bytes from the start of a sample's row to the end of the data, and the index of the sample in that row.
    fn place(&self, y: usize, x: usize, channel: usize) -> (&[u8], usize) {
        match self.plane {
            Some(plane) => (&self.bytes[plane * channel + self.stride * y..], x),
            None => (&self.bytes[self.stride * y..], self.channels * x + channel),
        }
    }
}

/// Converts a pixel of an image without a palette to RGB; returns `None` for unsupported colour models.
fn rgb(
    kind: ColorType,
    premultiplied: bool,
    sample: impl Fn(usize) -> Result<u8, Refused>,
) -> Result<Option<[u8; 3]>, Refused> {
    Ok(Some(match kind {
        ColorType::RGB(_) => [sample(0)?, sample(1)?, sample(2)?],
        ColorType::RGBA(_) if premultiplied => {
            let alpha = sample(3)?;
            [straight(sample(0)?, alpha), straight(sample(1)?, alpha), straight(sample(2)?, alpha)]
        }
        ColorType::RGBA(_) => [sample(0)?, sample(1)?, sample(2)?],
        ColorType::CMYK(_) | ColorType::CMYKA(_) => {
            let paper = 255 - sample(3)?;
            [inked(sample(0)?, paper), inked(sample(1)?, paper), inked(sample(2)?, paper)]
        }
        ColorType::Gray(_) => [sample(0)?; 3],
        ColorType::Multiband { .. } if premultiplied => [straight(sample(0)?, sample(1)?); 3],
        ColorType::Multiband { .. } => [sample(0)?; 3],
        _ => return Ok(None),
    }))
}

/// Extracts a sample of fewer than eight bits. The first sample of a byte is in its highest bits.
fn index<const BITS: usize>(line: &[u8], i: usize) -> Result<u8, Refused> {
    let byte = line[i * BITS / 8];
    Ok(byte << (i * BITS % 8) >> (8 - BITS))
}

fn few_bits<const BITS: usize>(line: &[u8], i: usize) -> Result<u8, Refused> {
    Ok(index::<BITS>(line, i)? * (255 / ((1 << BITS) - 1)) as u8)
}

fn sixteen(line: &[u8], i: usize) -> u16 {
    u16::from_ne_bytes([line[2 * i], line[2 * i + 1]])
}

fn float(line: &[u8], i: usize) -> Result<u8, Refused> {
    let at = 4 * i;
    match f32::from_ne_bytes([line[at], line[at + 1], line[at + 2], line[at + 3]]) {
        x @ 0.0..=1.0 => Ok((255.0 * x).round() as u8),
        x => Err(format!("TIFF with floats outside [0, 1], found {x}; scale them, or {CONVERT}").into()),
    }
}

/// Looks up a colour in a palette. A palette holds all reds, then all greens, then all blues, each with 16 bits.
fn of_palette(palette: &[f64], index: u8) -> [u8; 3] {
    let colors = palette.len() / 3;
    let part = |c: usize| palette.get(c * colors + usize::from(index)).map_or(0, |&x| (x as u16 >> 8) as u8);
    if usize::from(index) < colors { [part(0), part(1), part(2)] } else { [0; 3] }
}

/// Un-premultiplies a colour by its alpha, as in Pillow.
fn straight(color: u8, alpha: u8) -> u8 {
    match alpha {
        0 => 0,
        255 => color,
        _ => (255 * u32::from(color) / u32::from(alpha)).min(255) as u8,
    }
}

/// Darkens the brightness `paper` by the amount `ink`: `paper - ink * paper / 255`, rounded, as in Pillow's conversion of CMYK.
fn inked(ink: u8, paper: u8) -> u8 {
    let product = u32::from(ink) * u32::from(paper) + 128;
    paper.saturating_sub((((product >> 8) + product) >> 8) as u8)
}
