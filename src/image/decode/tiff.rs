//! TIFF and BigTIFF: the first page, with Pillow's arithmetic for palettes, inks and premultiplied colours. What is rare is refused by
//! its name.
use super::orientation::{Directory, Metadata};
use super::{CONVERT, Refused, checked_size, eight_bits, fits};
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

/// What stands in the place of 42 in BigTIFF.
const BIG: u8 = 43;
/// A photometric interpretation, and a kind of extra sample.
const PALETTE: f64 = 3.0;
const PREMULTIPLIED: f64 = 1.0;
/// More samples a pixel Pillow has no name for.
const MOST_SAMPLES: f64 = 6.0;

pub(super) fn metadata(bytes: &[u8]) -> Metadata<'_> {
    let Some(directory) = Directory::new(bytes) else { return Metadata::default() };
    let told = |tag| directory.bytes(tag).map(Cow::Borrowed);
    // The file is its own EXIF.
    Metadata { exif: Some(Cow::Borrowed(bytes)), xmp: told(XMP), profile: told(PROFILE) }
}

/// How many bytes one may unfold to; none for methods that are not read.
fn most_unpacked(compression: f64) -> Result<u64, Refused> {
    let name = match compression as u32 {
        1 => return Ok(1),
        // A line of white is one bit.
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
    Err(format!("TIFF compressed by {name} is not read; {CONVERT}").into())
}

pub(super) fn decode(bytes: &[u8]) -> Result<Decoded, Refused> {
    let kind = if bytes[2..4].contains(&BIG) { "BigTIFF" } else { "TIFF" };
    let refused = |e: TiffError| match e {
        TiffError::UnsupportedError(e) => format!("{kind}: {e}; {CONVERT}"),
        e => format!("{kind}: {e}; the file is damaged"),
    };
    let unread = |what: &str| Err(format!("{kind} with {what} is not read; {CONVERT}").into());
    let directory = Directory::new(bytes).ok_or("TIFF without a directory; the file is damaged")?;
    let number = |tag, default| directory.number(tag).unwrap_or(default);
    let most = most_unpacked(number(COMPRESSION, 1.0))?;
    if number(FILL_ORDER, 1.0) != 1.0 {
        return unread("bits in the reverse order");
    }
    if number(SAMPLES_PER_PIXEL, 1.0) > MOST_SAMPLES {
        return unread("so many samples a pixel");
    }
    if number(PLANES, 1.0) == 2.0 && directory.number(TILE_WIDTH).is_some() {
        // The decoder mistakes the tiles at the lower edge of all planes but the first for whole ones.
        return unread("tiles for each colour");
    }
    for tag in [TILE_WIDTH, TILE_LENGTH] {
        checked_size(1, number(tag, 1.0) as u32)?;
    }
    // The decoder knows no palettes: it is told that their indices are grays.
    let is_palette = number(PHOTOMETRIC, 0.0) == PALETTE;
    let file = if is_palette { Cow::Owned(directory.with(PHOTOMETRIC, 1)) } else { Cow::Borrowed(bytes) };
    let mut limits = Limits::default();
    (limits.decoding_buffer_size, limits.intermediate_buffer_size) = (usize::MAX, usize::MAX);
    let mut decoder = Decoder::new(Cursor::new(&file[..])).map_err(refused)?.with_limits(limits);
    // Where a tag stands twice, or has another type, the decoder may see another value than was checked above.
    for tag in [COMPRESSION, FILL_ORDER, SAMPLES_PER_PIXEL, PLANES, TILE_WIDTH, TILE_LENGTH] {
        let seen: Option<u32> = decoder.find_tag_unsigned(Tag::from_u16_exhaustive(tag)).map_err(refused)?;
        if seen.is_some_and(|seen| directory.number(tag) != Some(seen.into())) {
            return Err(format!("{kind} that says two things of tag {tag}; the file is damaged").into());
        }
    }
    let (width, height) = decoder.dimensions().map_err(refused)?;
    let (height, width) = checked_size(height, width)?;
    let color = decoder.colortype().map_err(refused)?;
    let layout = decoder.image_buffer_layout().map_err(refused)?;
    fits(bytes.len(), most, layout.complete_len as u64)?;
    let mut samples = Refused::zeros(layout.complete_len)?;
    decoder.read_image_bytes(&mut samples).map_err(refused)?;

    let channels = usize::from(color.num_samples());
    let scale: fn(&[u8], usize) -> Result<u8, Refused> = match (layout.sample_format, color) {
        (SampleFormat::Uint, ColorType::Gray(1)) => {
            if is_palette {
                index::<1>
            } else {
                few_bits::<1>
            }
        }
        (SampleFormat::Uint, ColorType::Gray(2)) => {
            if is_palette {
                index::<2>
            } else {
                few_bits::<2>
            }
        }
        (SampleFormat::Uint, ColorType::Gray(4)) => {
            if is_palette {
                index::<4>
            } else {
                few_bits::<4>
            }
        }
        (SampleFormat::Uint | SampleFormat::Int, color) if color.bit_depth() == 8 => |line, i| Ok(line[i]),
        (SampleFormat::Uint, ColorType::Gray(16)) if !is_palette => |line, i| Ok(eight_bits(sixteen(line, i))),
        (SampleFormat::Uint, color) if color.bit_depth() == 16 && !is_palette => {
            |line, i| Ok((sixteen(line, i) >> 8) as u8)
        }
        (SampleFormat::IEEEFP, ColorType::Gray(32)) => float,
        _ => return unread(&format!("{} bits a sample, or such numbers,", color.bit_depth())),
    };
    let palette = directory.numbers(COLOR_MAP);
    let premultiplied = number(EXTRA_SAMPLES, 0.0) == PREMULTIPLIED;
    let stride = layout.row_stride.map_or(samples.len(), usize::from);
    let plane = layout.plane_stride.map_or(0, usize::from);
    let mut out = Refused::zeros(3 * height * width)?;
    for (y, line) in out.chunks_exact_mut(3 * width).enumerate() {
        for (x, pixel) in line.as_chunks_mut::<3>().0.iter_mut().enumerate() {
            let sample = |channel: usize| {
                if layout.planes > 1 {
                    scale(&samples[plane * channel + stride * y..], x)
                } else {
                    scale(&samples[stride * y..], channels * x + channel)
                }
            };
            *pixel = match color {
                _ if is_palette => of_palette(&palette, sample(0)?),
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
                _ => return unread("such colours"),
            };
        }
    }
    Ok(Decoded { pixels: RgbImage { height, width, bytes: out }, damage: None })
}

/// A sample of few bits, the first in the highest.
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
        x => Err(format!("TIFF of floats outside [0, 1], here {x}; scale them, or {CONVERT}").into()),
    }
}

/// All reds, then all greens, then all blues, of sixteen bits.
fn of_palette(palette: &[f64], index: u8) -> [u8; 3] {
    let colors = palette.len() / 3;
    let part = |c: usize| palette.get(c * colors + usize::from(index)).map_or(0, |&x| (x as u16 >> 8) as u8);
    if usize::from(index) < colors { [part(0), part(1), part(2)] } else { [0; 3] }
}

/// A colour that was multiplied by its transparency, as Pillow divides it.
fn straight(color: u8, alpha: u8) -> u8 {
    match alpha {
        0 => 0,
        255 => color,
        _ => (255 * u32::from(color) / u32::from(alpha)).min(255) as u8,
    }
}

/// Pillow's ink on paper.
fn inked(ink: u8, paper: u8) -> u8 {
    let product = u32::from(ink) * u32::from(paper) + 128;
    paper.saturating_sub((((product >> 8) + product) >> 8) as u8)
}
