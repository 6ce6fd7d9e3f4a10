//! JPEG decoding, bit-identical to libjpeg-turbo. Training here thus sees the same pixels as with torchvision or Pillow.
//!
//! The decoder is that of mozjpeg, a fork of libjpeg-turbo that can be built with only a C compiler. libjpeg-turbo implements
//! some parts in assembly. Here, kernels of our own replace these parts, with the same arithmetic on each platform
//! ([`crate::kernels::image::jpeg`]).
mod header;
mod reader;

use super::{BROKEN, Crop, Decoded, Refused, RgbImage};
use crate::kernels::image::jpeg::Kernels;
use crate::kernels::isa::Isa;
use header::Frame;
pub(super) use header::Segments;

/// Limit in bytes of the memory that libjpeg uses for coefficients.
const MOST_MEMORY: i32 = 1 << 30;
/// The largest number of scans in a file. Real files have about ten.
const MOST_SCANS: i32 = 500;
/// The length of a file is checked against its number of pixels only for images with more pixels than this.
const SMALL: usize = 1 << 22;

/// Decodes a JPEG without rotating it, or returns the reason for the failure.
///
/// `least` may reduce the image. `region` is called with the reduced height and width. A region that is not within the reduced
/// image is ignored.
pub(super) fn decode(
    bytes: &[u8],
    isa: Isa,
    least: Option<u16>,
    most_pixels: u64,
    region: Option<&dyn Fn(usize, usize) -> Crop>,
) -> Result<Decoded, Refused> {
    let frame = Frame::find(bytes)?;
    let denominator = least.map_or(1, |least| denominator(frame.height.min(frame.width), least.into()));
    let (height, width) = (frame.height.div_ceil(denominator), frame.width.div_ceil(denominator));
    let claim = format!("{}x{} pixels", frame.width, frame.height);
    if frame.width as u64 * frame.height as u64 > most_pixels {
        return Err(format!("{claim} are more than the limit of {most_pixels}; the image is too large").into());
    }
    if frame.height * frame.width > SMALL && !frame.fits(bytes.len()) {
        return Err(format!("{} bytes cannot encode {claim}; {BROKEN}", bytes.len()).into());
    }
    let mut pixels = Refused::zeros(height * width * 3)?;
    let all = Crop { top: 0, left: 0, height, width };
    let part =
        region.map(|region| region(height, width)).filter(|part| part.check(height, width).is_ok()).unwrap_or(all);
    let part = (part.top..part.top + part.height, part.left..part.left + part.width);
    let limits = (MOST_MEMORY.into(), MOST_SCANS);
    let kernels = Kernels::new(isa);
    let damage = reader::read(bytes, denominator as u32, (height, width), part, &mut pixels, &kernels, limits)?;
    Ok(Decoded { pixels: RgbImage { height, width, bytes: pixels }, damage })
}

/// Returns the denominator of PIL's `Image.draft`: the largest of 8, 4 and 2 that reduces `side` to no less than `least`.
///
/// Returns 1 if no denominator qualifies.
fn denominator(side: usize, least: usize) -> usize {
    [8, 4, 2].into_iter().find(|n| side / least >= *n).unwrap_or(1)
}
