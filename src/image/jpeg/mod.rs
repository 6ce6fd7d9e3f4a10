//! JPEG, by libjpeg-turbo's decoder and with its pixels to the bit: so what a loader on torchvision or Pillow trains on is what
//! this one gives. mozjpeg is libjpeg-turbo with another encoder, and needs nothing but a C compiler; what its assembler would do
//! without one, kernels of our own do, on each platform in the same arithmetic ([`crate::kernels::image::jpeg`]).
mod header;
mod reader;

use super::{BROKEN, Crop, Decoded, Refused, RgbImage};
use crate::kernels::image::jpeg::Kernels;
use crate::kernels::isa::Isa;
use header::Frame;
pub(super) use header::Segments;

/// What libjpeg may take for coefficients.
const MOST_MEMORY: i32 = 1 << 30;
/// Scans of one file. Real ones have about ten.
const MOST_SCANS: i32 = 500;
/// Sizes up to here need not be believed.
const SMALL: usize = 1 << 22;

/// Decodes a JPEG as it lies in its file; a reason where it cannot. The part that `region` names is that of its own height and
/// width, after reduction to no less than a square of `least`.
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
        return Err(format!("{claim} are more than {most_pixels}; the file is too large").into());
    }
    if frame.height * frame.width > SMALL && !frame.fits(bytes.len()) {
        return Err(format!("{} bytes cannot hold {claim}; {BROKEN}", bytes.len()).into());
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

/// What `Image.draft` of PIL divides a side by for one of `least`.
fn denominator(side: usize, least: usize) -> usize {
    [8, 4, 2].into_iter().find(|n| side / least >= *n).unwrap_or(1)
}
