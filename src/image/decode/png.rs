//! PNG, decoded as strictly as in Pillow.
//!
//! - The checksums of the chunks before the pixels are checked.
//! - The checksum at the end of the compressed pixels is checked, but not the checksums of the individual pixel chunks.
//! - Chunks after the pixels may be missing, but not truncated.
use super::orientation::Metadata;
use super::{BROKEN, Refused, checked_size, fits, three_colors};
use crate::image::{Decoded, RgbImage};
use flate2::{Crc, read::ZlibDecoder};
use png::{BitDepth, ColorType, Transformations};
use std::borrow::Cow;
use std::io::{Cursor, Read};

pub(super) const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1A\n";
/// The largest number of bytes to which DEFLATE expands one byte.
const MOST_UNPACKED: u64 = 1032;
/// The maximum length of a text or profile in bytes, uncompressed.
const LONGEST_TEXT: u64 = 1 << 20;
/// Keywords of text chunks that may hold an orientation: EXIF, XMP, and EXIF in hexadecimal digits.
const TEXTS: [&[u8]; 3] = [b"exif", b"XML:com.adobe.xmp", b"Raw profile type exif"];
/// The minimum lengths of chunks. Pillow refuses shorter chunks.
const LEAST: [(&[u8; 4], usize); 7] =
    [(b"IHDR", 13), (b"gAMA", 4), (b"cHRM", 32), (b"sRGB", 1), (b"pHYs", 9), (b"acTL", 8), (b"fcTL", 26)];

/// The parsed chunks of a file.
#[derive(Default)]
struct Parts<'a> {
    header: &'a [u8],
    palette: Option<&'a [u8]>,
    /// Consecutive chunks of compressed pixels.
    pixels: Vec<&'a [u8]>,
    others: Vec<(&'a [u8; 4], &'a [u8])>,
}

impl<'a> Parts<'a> {
    fn new(bytes: &'a [u8]) -> Result<Self, Refused> {
        let mut parts = Self::default();
        let mut rest = &bytes[SIGNATURE.len()..];
        let mut among_pixels = false;
        loop {
            let begun = !parts.pixels.is_empty();
            let Some((size, name, data)) = head(rest).filter(|(_, name, _)| *name != b"IEND") else {
                return if begun { Ok(parts) } else { Err("no pixels".into()) };
            };
            let pixels = name == b"IDAT";
            let (data, after) = match data.split_at_checked(size) {
                Some(found) => found,
                None if pixels => (data, &[][..]),
                None => return Err("the file ends inside a chunk".into()),
            };
            if !begun && !pixels {
                check(name, data, after)?;
            }
            match name {
                b"IDAT" if among_pixels || !begun => parts.pixels.push(data),
                b"IHDR" if !begun => parts.header = data,
                b"PLTE" if !begun => parts.palette = Some(data),
                _ => parts.others.push((name, data)),
            }
            among_pixels = pixels;
            rest = after.get(4..).unwrap_or_default();
        }
    }

    fn metadata(&self) -> Metadata<'a> {
        let mut found = Metadata::default();
        let mut raw_profile = None;
        for (name, data) in &self.others {
            let text = match *name {
                b"eXIf" => {
                    found.exif = Some(Cow::Borrowed(*data));
                    continue;
                }
                b"iCCP" => {
                    found.profile = split(data).and_then(|(_, rest)| unpacked(rest.get(1..)?)).map(Cow::Owned);
                    continue;
                }
                b"tEXt" => split(data).map(|(key, text)| (key, Cow::Borrowed(text))),
                // Only the texts that are needed are uncompressed.
                b"zTXt" => split(data)
                    .filter(|(key, _)| TEXTS.contains(key))
                    .and_then(|(key, rest)| Some((key, Cow::Owned(unpacked(rest.get(1..)?)?)))),
                b"iTXt" => international(data),
                _ => None,
            };
            match text {
                Some((key, text)) if key == TEXTS[0] => found.exif = Some(text),
                Some((key, text)) if key == TEXTS[1] => found.xmp = Some(text),
                Some((key, text)) if key == TEXTS[2] => raw_profile = from_hexadecimal(&text),
                _ => {}
            }
        }
        found.exif = found.exif.or(raw_profile.map(Cow::Owned));
        found
    }

    /// Builds a file with only the chunks that decoding needs, so that no other chunk can interfere.
    fn essence(&self) -> Vec<u8> {
        let mut file = SIGNATURE.to_vec();
        let mut add = |name: &[u8; 4], parts: &[&[u8]]| {
            let size: usize = parts.iter().map(|part| part.len()).sum();
            file.extend((size as u32).to_be_bytes());
            file.extend(name);
            parts.iter().for_each(|part| file.extend(*part));
            // The decoder does not read the checksums.
            file.extend([0; 4]);
        };
        add(b"IHDR", &[&self.header[..13]]);
        if let Some(palette) = self.palette {
            add(b"PLTE", &[palette]);
        }
        // The chunks are copied one by one, because together they may be too long for a single chunk.
        self.pixels.iter().for_each(|part| add(b"IDAT", &[part]));
        add(b"IEND", &[]);
        file
    }
}

/// Returns (size of the next chunk, its name, the bytes after the name); `None` at the end or if the name is not valid.
fn head(bytes: &[u8]) -> Option<(usize, &[u8; 4], &[u8])> {
    let (size, after) = bytes.split_first_chunk()?;
    let (name, data) = after.split_first_chunk::<4>()?;
    let is_name = name.iter().all(|&x| x.is_ascii_alphanumeric() || x == b'_');
    is_name.then_some((u32::from_be_bytes(*size) as usize, name, data))
}

/// Checks a chunk before the pixels: its length, and its checksum, which is at the start of `after`.
fn check(name: &[u8; 4], data: &[u8], after: &[u8]) -> Result<(), Refused> {
    let shown = name.escape_ascii();
    if LEAST.iter().any(|(short, least)| *short == name && data.len() < *least) {
        return Err(format!("a chunk {shown} of {} bytes; {BROKEN}", data.len()).into());
    }
    let mut sum = Crc::new();
    sum.update(name);
    sum.update(data);
    match after.first_chunk() {
        Some(found) if u32::from_be_bytes(*found) == sum.sum() => Ok(()),
        _ => Err(format!("the checksum of its chunk {shown} is wrong; {BROKEN}").into()),
    }
}

/// Splits at the first zero byte, and drops that byte.
fn split(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = data.iter().position(|&x| x == 0)?;
    Some((&data[..at], &data[at + 1..]))
}

fn unpacked(data: &[u8]) -> Option<Vec<u8>> {
    let mut out = vec![];
    ZlibDecoder::new(data).take(LONGEST_TEXT).read_to_end(&mut out).ok()?;
    Some(out)
}

/// Returns the keyword and the text of an iTXt chunk. A language tag and a translated keyword are between them.
fn international(data: &[u8]) -> Option<(&[u8], Cow<'_, [u8]>)> {
    let (key, rest) = split(data)?;
    let ([packed, method], rest) = rest.split_first_chunk()?;
    let (_, rest) = split(rest)?;
    let (_, text) = split(rest)?;
    match (packed, method) {
        (0, _) => Some((key, Cow::Borrowed(text))),
        (_, 0) if TEXTS.contains(&key) => Some((key, Cow::Owned(unpacked(text)?))),
        _ => None,
    }
}

/// Decodes a "raw profile": hexadecimal digits after three lines with its name and length.
fn from_hexadecimal(text: &[u8]) -> Option<Vec<u8>> {
    let lines = text.splitn(4, |&x| x == b'\n').nth(3)?;
    let digits: Vec<u8> = lines.iter().copied().filter(|x| !x.is_ascii_whitespace()).collect();
    let digit = |x: u8| char::from(x).to_digit(16).map(|x| x as u8);
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect()
}

pub(super) fn metadata(bytes: &[u8]) -> Metadata<'_> {
    Parts::new(bytes).map(|parts| parts.metadata()).unwrap_or_default()
}

pub(super) fn decode(bytes: &[u8]) -> Result<Decoded, Refused> {
    let parts = Parts::new(bytes)?;
    if parts.header.len() < 13 {
        return Err(format!("no header; {BROKEN}").into());
    }
    let mut options = png::DecodeOptions::default();
    options.set_ignore_crc(true);
    options.set_ignore_adler32(false);
    let mut decoder = png::Decoder::new_with_options(Cursor::new(parts.essence()), options);
    decoder.set_transformations(Transformations::EXPAND);
    let broken = |e: png::DecodingError| format!("{e}; {BROKEN}");
    let mut reader = decoder.read_info().map_err(broken)?;
    let (width, height) = reader.info().size();
    let (height, width) = checked_size(height, width)?;
    let is_gray = reader.info().color_type == ColorType::Grayscale;
    let packed = parts.pixels.iter().map(|part| part.len()).sum();
    fits(packed, MOST_UNPACKED, (reader.info().raw_row_length() * height) as u64)?;
    let mut samples = Refused::zeros(reader.output_buffer_size().unwrap_or(usize::MAX))?;
    reader.next_frame(&mut samples).map_err(broken)?;
    let (color, depth) = reader.output_color_type();
    if depth == BitDepth::Sixteen {
        // As in Pillow, colours lose their lower byte. Gray is rounded, because Pillow would clamp it to 255.
        let eight =
            |[high, low]: &[u8; 2]| if is_gray { super::eight_bits(u16::from_be_bytes([*high, *low])) } else { *high };
        samples = samples.as_chunks().0.iter().map(eight).collect();
    }
    let bytes = three_colors(samples, color.samples())?;
    Ok(Decoded { pixels: RgbImage { height, width, bytes }, damage: None })
}
