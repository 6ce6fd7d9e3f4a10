//! The segments of a JPEG before its first scan, parsed as strictly as in Pillow.
use crate::image::BROKEN;

/// Start-of-frame markers, including lossless and differential ones.
const FRAMES: [u8; 14] = [0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xDE];
const SCAN: u8 = 0xDA;

/// The frame of a JPEG.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub height: usize,
    pub width: usize,
    /// Number of blocks of 8x8 coefficients.
    blocks: u64,
    /// True if each block takes at least one bit of the file. This is so in Huffman coding, but not in arithmetic coding.
    in_bits: bool,
}

impl Frame {
    /// Finds the frame.
    ///
    /// # Errors
    /// - There is no frame before the first scan.
    /// - The frame is invalid or lossless.
    /// - The frame does not have 8 bits per sample.
    /// - The frame has a number of components other than one, three and four.
    /// - A segment before the scan is invalid.
    pub fn find(bytes: &[u8]) -> Result<Self, String> {
        const CUT: &str = "its JFIF or Adobe segment is truncated";
        let mut frame = None;
        for segment in Segments::new(bytes) {
            match segment? {
                (SCAN, _) => return frame.ok_or_else(|| broken("its scan precedes its frame")),
                // libjpeg would take these truncated segments for those of other applications.
                (0xE0, data) if data.starts_with(b"JFIF") && data.len() < 7 => return Err(broken(CUT)),
                (0xEE, data) if data.starts_with(b"Adobe") && data.len() < 7 => return Err(broken(CUT)),
                (mark, data) if FRAMES.contains(&mark) => frame = Some(Self::new(mark, data)?),
                _ => {}
            }
        }
        Err(broken("the file ends too early"))
    }

    fn new(mark: u8, data: &[u8]) -> Result<Self, String> {
        let short = || broken("its frame is too short");
        let (&[bits, h0, h1, w0, w1, n], components) = data.split_first_chunk().ok_or_else(short)?;
        let (height, width) = (usize::from(u16::from_be_bytes([h0, h1])), usize::from(u16::from_be_bytes([w0, w1])));
        if [0xC3, 0xC7, 0xCB, 0xCF].contains(&mark) {
            return Err("lossless JPEG is not supported; convert it to PNG".into());
        }
        if bits != 8 || ![1, 3, 4].contains(&n) {
            let remedy = "convert it to eight bits of gray, RGB or CMYK";
            return Err(format!("JPEG of {bits} bits and {n} components is not supported; {remedy}"));
        }
        if height == 0 || width == 0 {
            return Err(broken(&format!("a frame of {height}x{width} pixels")));
        }
        let factors: Vec<_> =
            components.chunks_exact(3).map(|c| (usize::from(c[1] >> 4), usize::from(c[1] & 15))).collect();
        if factors.len() != usize::from(n) || factors.iter().any(|&(h, v)| h == 0 || v == 0) {
            return Err(short());
        }
        let most = factors.iter().fold((1, 1), |most, &(h, v)| (most.0.max(h), most.1.max(v)));
        let blocks = |&(h, v): &(usize, usize)| {
            (width * h).div_ceil(8 * most.0) as u64 * (height * v).div_ceil(8 * most.1) as u64
        };
        Ok(Self { height, width, blocks: factors.iter().map(blocks).sum(), in_bits: mark < 0xC9 })
    }

    /// Returns `true` if this many bytes can hold all blocks. In arithmetic coding, there is no limit, and the result is
    /// `true`.
    pub fn fits(&self, bytes: usize) -> bool {
        !self.in_bits || self.blocks <= 8 * bytes as u64
    }
}

fn broken(what: &str) -> String {
    format!("{what}; {BROKEN}")
}

/// Iterates over the segments of a JPEG as (marker, contents).
pub(in crate::image) struct Segments<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Segments<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 2 }
    }

    fn read(&mut self) -> Option<Result<(u8, &'a [u8]), String>> {
        loop {
            // Bytes that are not a marker are skipped, and a marker may be preceded by fill bytes.
            self.at += self.bytes.get(self.at..)?.iter().position(|&x| x == 0xFF)?;
            self.at += self.bytes.get(self.at..)?.iter().position(|&x| x != 0xFF)?;
            let mark = self.bytes[self.at];
            self.at += 1;
            match mark {
                // These have no contents.
                0 | 0xC8 | 0xD0..=0xD9 | 0xF0..=0xFD => {}
                1..=0xBF => return Some(Err(broken(&format!("an invalid marker {mark:#04x}")))),
                _ => {
                    let length = self.bytes.get(self.at..)?.first_chunk()?;
                    let end = self.at + usize::from(u16::from_be_bytes(*length)).max(2);
                    let data = self.bytes.get(self.at + 2..end)?;
                    self.at = end;
                    return Some(Ok((mark, data)));
                }
            }
        }
    }
}

impl<'a> Iterator for Segments<'a> {
    type Item = Result<(u8, &'a [u8]), String>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read()
    }
}
