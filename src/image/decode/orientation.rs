//! The orientation of an image: from EXIF, or from XMP if EXIF has none, as in Pillow's `ImageOps.exif_transpose`.
//!
//! The orientation tag is read from the first directory of EXIF, with any numeric type and any count, in either byte order.
//! Zero, one or two `Exif` prefixes may precede the directory. If the directory is damaged, the entries before the damage are
//! still used. If the directory has no such tag, the first `tiff:Orientation` in XMP is used.
//!
//! There is one difference from Pillow. An image has no orientation here where Pillow raises an error: EXIF that is not a TIFF
//! directory, an empty tag, or EXIF in a PNG text that is not hexadecimal.
use super::Refused;
use crate::image::{Crop, RgbImage};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The metadata of a file.
#[derive(Default)]
pub(super) struct Metadata<'a> {
    pub(super) exif: Option<Cow<'a, [u8]>>,
    pub(super) xmp: Option<Cow<'a, [u8]>>,
    /// The ICC profile.
    pub(super) profile: Option<Cow<'a, [u8]>>,
}

impl Metadata<'_> {
    pub(super) fn orientation(&self) -> Orientation {
        let of_exif = self.exif.as_deref().and_then(|exif| Directory::new(without_prefixes(exif))?.number(ORIENTATION));
        let found = of_exif.or_else(|| self.xmp.as_deref().and_then(of_xmp));
        (1..=8).find(|&n| found == Some(f64::from(n))).map_or_else(Orientation::default, Orientation)
    }
}

/// The orientation of the stored image, from 1 to 8 as in EXIF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Orientation(u8);

impl Default for Orientation {
    /// The orientation of images that are stored upright.
    fn default() -> Self {
        Self(1)
    }
}

impl Orientation {
    fn is_on_its_side(self) -> bool {
        self.0 >= 5
    }

    /// Returns two flags: `true` if the upright image starts with the last stored row, and `true` if it starts with the last
    /// stored column.
    fn is_mirrored(self) -> (bool, bool) {
        (matches!(self.0, 3 | 4 | 6 | 7), matches!(self.0, 2 | 3 | 7 | 8))
    }

    /// Returns the (height, width) of the upright image, given the (height, width) of the stored image.
    pub(super) fn size(self, (height, width): (usize, usize)) -> (usize, usize) {
        if self.is_on_its_side() { (width, height) } else { (height, width) }
    }

    /// Maps a crop of the upright image to a crop of the stored image. (height, width) is the size of the stored image.
    pub(super) fn stored(self, part: Crop, (height, width): (usize, usize)) -> Crop {
        let Crop { top, left, height: rows, width: columns } = part;
        let (top, left, rows, columns) =
            if self.is_on_its_side() { (left, top, columns, rows) } else { (top, left, rows, columns) };
        let (from_below, from_right) = self.is_mirrored();
        // A crop that extends beyond the image is left unchanged.
        let mirrored = |at: usize, size: usize, all: usize| all.checked_sub(at + size).unwrap_or(at);
        Crop {
            top: if from_below { mirrored(top, rows, height) } else { top },
            left: if from_right { mirrored(left, columns, width) } else { left },
            height: rows,
            width: columns,
        }
    }

    /// Rotates the image upright.
    pub(super) fn upright(self, stored: RgbImage) -> Result<RgbImage, Refused> {
        if self.0 == 1 {
            return Ok(stored);
        }
        let (height, width) = (stored.height, stored.width);
        let (from_below, from_right) = self.is_mirrored();
        let (rows, columns) = self.size((height, width));
        let mut bytes = Refused::zeros(stored.bytes.len())?;
        for (y, line) in bytes.chunks_exact_mut(3 * columns).enumerate() {
            for (x, pixel) in line.as_chunks_mut::<3>().0.iter_mut().enumerate() {
                let (row, column) = if self.is_on_its_side() { (x, y) } else { (y, x) };
                let row = if from_below { height - 1 - row } else { row };
                let column = if from_right { width - 1 - column } else { column };
                let at = 3 * (row * width + column);
                pixel.copy_from_slice(&stored.bytes[at..at + 3]);
            }
        }
        Ok(RgbImage { height: rows, width: columns, bytes })
    }
}

const ORIENTATION: u16 = 274;
const PREFIX: &[u8] = b"Exif\0\0";

/// Strips up to two `Exif\0\0` prefixes. The prefix belongs to JPEG, but some tools write it twice, or into containers
/// that need none.
fn without_prefixes(exif: &[u8]) -> &[u8] {
    let once = exif.strip_prefix(PREFIX).unwrap_or(exif);
    once.strip_prefix(PREFIX).unwrap_or(once)
}

/// Returns the first `tiff:Orientation` in XMP: an attribute or an element.
fn of_xmp(xmp: &[u8]) -> Option<f64> {
    const NAME: &[u8] = b"tiff:Orientation";
    xmp.windows(NAME.len()).enumerate().filter(|(_, text)| *text == NAME).find_map(|(at, _)| {
        let rest = &xmp[at + NAME.len()..];
        let value = rest.strip_prefix(b"=\"").or_else(|| rest.strip_prefix(b">"))?;
        value.first().filter(|digit| digit.is_ascii_digit()).map(|digit| f64::from(digit - b'0'))
    })
}

/// The entries in the first directory of a TIFF file or of EXIF. Both have the same format.
pub(super) struct Directory<'a> {
    numbers: Numbers<'a>,
    entries: BTreeMap<u16, Entry<'a>>,
}

/// The value of a tag.
struct Entry<'a> {
    kind: u16,
    /// The offset of the value in the file.
    at: usize,
    value: &'a [u8],
}

/// Reads values of a file in its byte order.
#[derive(Clone, Copy)]
struct Numbers<'a> {
    bytes: &'a [u8],
    little: bool,
}

impl<'a> Directory<'a> {
    /// Reads the directory; returns `None` if the bytes do not start like TIFF or BigTIFF.
    pub(super) fn new(bytes: &'a [u8]) -> Option<Self> {
        let (little, big) = match bytes.get(..4)? {
            b"II*\0" | b"II\0*" => (true, false),
            b"MM\0*" | b"MM*\0" => (false, false),
            b"II+\0" => (true, true),
            b"MM\0+" => (false, true),
            _ => return None,
        };
        let numbers = Numbers { bytes, little };
        let mut directory = Self { numbers, entries: BTreeMap::new() };
        // If the directory ends early, the entries read so far are kept.
        let _ = directory.read(big);
        Some(directory)
    }

    fn read(&mut self, big: bool) -> Option<()> {
        let Numbers { bytes, .. } = self.numbers;
        let word = if big { 8 } else { 4 };
        let offset = |at: usize| usize::try_from(self.numbers.unsigned(at, word)?).ok();
        let mut at = offset(word)?;
        let count = self.numbers.unsigned(at, if big { 8 } else { 2 })?;
        at += if big { 8 } else { 2 };
        let mut outside = 0_usize;
        for _ in 0..count {
            let (tag, kind) = (self.numbers.unsigned(at, 2)? as u16, self.numbers.unsigned(at + 2, 2)? as u16);
            let (values, mut place) = (offset(at + 4)?, at + 4 + word);
            at = place + word;
            bytes.get(..at)?;
            let Some(size) = size_of(kind).and_then(|size| values.checked_mul(size)) else { continue };
            if size > word {
                // Together, the values are not longer than the file, unless it is invalid.
                outside = outside.saturating_add(size);
                if outside > bytes.len() {
                    continue;
                }
                place = offset(place)?;
            }
            let value = bytes.get(place..place.checked_add(size)?)?;
            if !value.is_empty() {
                // The first entry of a repeated tag counts.
                self.entries.entry(tag).or_insert(Entry { kind, at: place, value });
            }
        }
        Some(())
    }

    /// Returns the bytes of a tag's value.
    pub(super) fn bytes(&self, tag: u16) -> Option<&'a [u8]> {
        self.entries.get(&tag).map(|entry| entry.value)
    }

    /// Returns a copy of the file in which `value` replaces the single value of this tag. Without such a tag, the copy is
    /// unchanged.
    pub(super) fn with(&self, tag: u16, value: u8) -> Vec<u8> {
        let mut file = self.numbers.bytes.to_vec();
        if let Some(entry) = self.entries.get(&tag) {
            let place = &mut file[entry.at..entry.at + entry.value.len()];
            place.fill(0);
            let lowest = if self.numbers.little { 0 } else { place.len() - 1 };
            place[lowest] = value;
        }
        file
    }

    /// Returns the first value of a tag as a number.
    ///
    /// The result is NaN for the types BYTE, ASCII and UNDEFINED, because Pillow reads values of these types as text or bytes.
    pub(super) fn number(&self, tag: u16) -> Option<f64> {
        self.entries.get(&tag).map(|entry| self.numbers.value(entry.kind, entry.at))
    }

    /// Returns the values of a tag. The result is empty if there is no such tag.
    pub(super) fn numbers(&self, tag: u16) -> Vec<f64> {
        let Some(&Entry { kind, at, value, .. }) = self.entries.get(&tag) else { return vec![] };
        let size = size_of(kind).unwrap_or(1);
        (0..value.len() / size).map(|i| self.numbers.value(kind, at + i * size)).collect()
    }
}

impl Numbers<'_> {
    /// Reads a value of the TIFF type `kind`. The result is NaN for BYTE, ASCII, UNDEFINED and unknown types.
    fn value(self, kind: u16, at: usize) -> f64 {
        let unsigned = |at, size| self.unsigned(at, size).unwrap_or_default();
        match kind {
            3 => unsigned(at, 2) as f64,
            4 | 13 => unsigned(at, 4) as f64,
            5 => unsigned(at, 4) as f64 / unsigned(at + 4, 4) as f64,
            6 => f64::from(unsigned(at, 1) as i8),
            8 => f64::from(unsigned(at, 2) as i16),
            9 => f64::from(unsigned(at, 4) as i32),
            10 => f64::from(unsigned(at, 4) as i32) / f64::from(unsigned(at + 4, 4) as i32),
            11 => f64::from(f32::from_bits(unsigned(at, 4) as u32)),
            12 => f64::from_bits(unsigned(at, 8)),
            16 => unsigned(at, 8) as f64,
            _ => f64::NAN,
        }
    }

    /// Reads an unsigned integer of `size` bytes.
    fn unsigned(self, at: usize, size: usize) -> Option<u64> {
        let bytes = self.bytes.get(at..at.checked_add(size)?)?;
        let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        Some(if self.little { bytes.iter().rev().fold(0, add) } else { bytes.iter().fold(0, add) })
    }
}

/// Returns the size in bytes of one of TIFF's types.
fn size_of(kind: u16) -> Option<usize> {
    Some(match kind {
        1 | 2 | 6 | 7 => 1,
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 | 16 => 8,
        _ => return None,
    })
}
