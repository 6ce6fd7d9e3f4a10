//! GIF: the first frame, on the background that Pillow uses. The background is the transparent colour, or else the colour with
//! index 0.
use super::{BROKEN, Refused, checked_size, fits};
use crate::image::{Decoded, RgbImage};
use gif::{ColorOutput, DecodeOptions, MemoryLimit};

/// The largest number of bytes to which LZW expands one byte. A code of twelve bits yields at most 4,096 bytes.
const MOST_UNPACKED: u64 = 2731;

pub(super) fn decode(bytes: &[u8]) -> Result<Decoded, Refused> {
    let broken = |e: gif::DecodingError| format!("{e}; {BROKEN}");
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    options.set_memory_limit(MemoryLimit::Unlimited);
    options.allow_unknown_blocks(true);
    let mut decoder = options.read_info(bytes).map_err(broken)?;
    let screen = (usize::from(decoder.height()), usize::from(decoder.width()));
    let frame = decoder.next_frame_info().map_err(broken)?.ok_or_else(|| format!("no image in it; {BROKEN}"))?;
    let (top, left) = (usize::from(frame.top), usize::from(frame.left));
    let (rows, columns) = (usize::from(frame.height), usize::from(frame.width));
    let below = frame.transparent.unwrap_or(0);
    let own = frame.palette.clone();
    // A frame that reaches beyond the canvas enlarges the image.
    let (height, width) = (screen.0.max(top + rows), screen.1.max(left + columns));
    checked_size(height as u32, width as u32)?;
    fits(bytes.len(), MOST_UNPACKED, (rows * columns) as u64)?;
    let mut indices = Refused::zeros(rows * columns)?;
    decoder.read_into_buffer(&mut indices).map_err(broken)?;

    let palette = own.as_deref().or(decoder.global_palette()).unwrap_or_default();
    let color = |index: u8| {
        let at = 3 * usize::from(index);
        // If there is no palette, or an index is beyond its end, the index is used as gray level.
        palette.get(at..at + 3).map_or([index; 3], |color| [color[0], color[1], color[2]])
    };
    let mut out = Refused::zeros(3 * height * width)?;
    out.as_chunks_mut().0.fill(color(below));
    for (line, from) in out.chunks_exact_mut(3 * width).skip(top).zip(indices.chunks_exact(columns.max(1))) {
        for (pixel, &index) in line.as_chunks_mut().0[left..].iter_mut().zip(from) {
            *pixel = color(index);
        }
    }
    Ok(Decoded { pixels: RgbImage { height, width, bytes: out }, damage: None })
}
