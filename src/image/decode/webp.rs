//! WebP: one image chunk is decoded. In an animation, it is the chunk of the first frame. Other chunks are only searched for
//! metadata.
use super::orientation::Metadata;
use super::{BROKEN, Refused, checked_size, three_colors};
use crate::image::{Decoded, RgbImage};
use std::borrow::Cow;
use std::io::Cursor;

/// Flags of the VP8X chunk.
const ANIMATION: u8 = 2;
const XMP: u8 = 4;
const EXIF: u8 = 8;
const PROFILE: u8 = 32;

/// Iterates over the chunks as (name, data). The first truncated chunk ends the iteration.
fn chunks(mut rest: &[u8]) -> impl Iterator<Item = (&[u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let (name, after) = rest.split_first_chunk()?;
        let (size, after) = after.split_first_chunk()?;
        let size = u32::from_le_bytes(*size) as usize;
        let data = after.get(..size)?;
        rest = after.get(size + size % 2..).unwrap_or_default();
        Some((name, data))
    })
}

/// Returns the bytes of a file's chunks, up to the length in the file's header.
fn body(bytes: &[u8]) -> Option<&[u8]> {
    let size = u32::from_le_bytes(*bytes.get(4..)?.first_chunk()?) as usize;
    bytes.get(12..size.checked_add(8)?)
}

fn first<'a>(bytes: &'a [u8], names: &[&[u8; 4]]) -> Option<(&'a [u8; 4], &'a [u8])> {
    chunks(bytes).find(|(name, _)| names.contains(name))
}

pub(super) fn metadata(bytes: &[u8]) -> Metadata<'_> {
    let Some(body) = body(bytes) else { return Metadata::default() };
    // libwebp ignores metadata that the flags do not announce.
    let flags = match chunks(body).next() {
        Some((b"VP8X", [flags, ..])) => *flags,
        _ => 0,
    };
    let told = |flag: u8, name: &[u8; 4]| {
        let (_, data) = first(body, &[name]).filter(|_| flags & flag != 0)?;
        Some(Cow::Borrowed(data))
    };
    Metadata { exif: told(EXIF, b"EXIF"), xmp: told(XMP, b"XMP "), profile: told(PROFILE, b"ICCP") }
}

pub(super) fn decode(bytes: &[u8]) -> Result<Decoded, Refused> {
    let body = body(bytes).ok_or_else(|| format!("the file ends too early; {BROKEN}"))?;
    let broken = || Refused::from(format!("no image in it; {BROKEN}"));
    let image = |body| first(body, &[b"VP8 ", b"VP8L"]).ok_or_else(broken);
    let Some((b"VP8X", header)) = chunks(body).next() else {
        let (name, data) = image(body)?;
        return still(name, data, None);
    };
    let &[flags, _, _, _, w0, w1, w2, h0, h1, h2, ..] = header else { return Err(broken()) };
    let number = |low, middle, high| u32::from_le_bytes([low, middle, high, 0]);
    let (height, width) = checked_size(number(h0, h1, h2) + 1, number(w0, w1, w2) + 1)?;
    if flags & ANIMATION == 0 {
        let (name, data) = image(body)?;
        return still(name, data, Some((height, width)));
    }
    // The first frame is placed on a transparent canvas, which is black because transparency is dropped.
    let (_, frame) = first(body, &[b"ANMF"]).ok_or_else(broken)?;
    let &[x0, x1, x2, y0, y1, y2, w0, w1, w2, h0, h1, h2, ..] = frame else { return Err(broken()) };
    let (top, left) = (2 * number(y0, y1, y2) as usize, 2 * number(x0, x1, x2) as usize);
    let size = (number(h0, h1, h2) as usize + 1, number(w0, w1, w2) as usize + 1);
    if top + size.0 > height || left + size.1 > width {
        return Err(format!("its first frame reaches beyond the canvas; {BROKEN}").into());
    }
    let (name, data) = image(frame.get(16..).unwrap_or_default())?;
    let frame = still(name, data, Some(size))?;
    let mut canvas = Refused::zeros(3 * height * width)?;
    let lines = canvas.chunks_exact_mut(3 * width).skip(top);
    for (line, from) in lines.zip(frame.pixels.bytes.chunks_exact(3 * size.1)) {
        line[3 * left..3 * (left + size.1)].copy_from_slice(from);
    }
    Ok(Decoded { pixels: RgbImage { height, width, bytes: canvas }, damage: None })
}

/// Decodes an image chunk as a file of its own. Lossy images have their alpha channel in another chunk, which is dropped.
fn still(name: &[u8; 4], data: &[u8], canvas: Option<(usize, usize)>) -> Result<Decoded, Refused> {
    let padding = data.len() % 2;
    let mut file = Vec::with_capacity(data.len() + 21);
    file.extend(b"RIFF");
    file.extend((data.len() as u32 + 12 + padding as u32).to_le_bytes());
    file.extend(b"WEBP");
    file.extend(name);
    file.extend((data.len() as u32).to_le_bytes());
    file.extend(data);
    file.extend([0_u8].iter().take(padding));
    let broken = |e: image_webp::DecodingError| format!("{e}; {BROKEN}");
    let mut decoder = image_webp::WebPDecoder::new(Cursor::new(file)).map_err(broken)?;
    let (width, height) = decoder.dimensions();
    let (height, width) = checked_size(height, width)?;
    if canvas.is_some_and(|canvas| canvas != (height, width)) {
        return Err(format!("an image of {width}x{height} on a canvas of another size; {BROKEN}").into());
    }
    let channels = if decoder.has_alpha() { 4 } else { 3 };
    let mut samples = Refused::zeros(channels * height * width)?;
    // The memory that the decoder itself allocates: four bytes per pixel, and the data of its transforms.
    Refused::check_memory(6 * height * width)?;
    decoder.read_image(&mut samples).map_err(broken)?;
    let bytes = three_colors(samples, channels)?;
    Ok(Decoded { pixels: RgbImage { height, width, bytes }, damage: None })
}
