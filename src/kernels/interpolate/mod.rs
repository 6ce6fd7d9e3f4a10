//! The way in and the way out: pixels to a map, and T's last map to pixels,
//! `out = (1 - beta) content + beta sigmoid(scale in + shift)`, cropped to the content's size.
mod scalar;
mod simd;

use super::{Isa, Map};

/// The pixels of one RGB image, height x width x 3.
#[derive(Clone, Copy, Debug)]
pub enum Pixels<'a> {
    /// 0 to 255.
    U8(&'a [u8]),
    /// 0.0 to 1.0.
    F32(&'a [f32]),
}

/// Where the pixels of one RGB image go.
#[derive(Debug)]
pub enum PixelsMut<'a> {
    /// 0 to 255, halves rounded up.
    U8(&'a mut [u8]),
    /// 0.0 to 1.0.
    F32(&'a mut [f32]),
}

impl Pixels<'_> {
    /// The image as a map of [0, 1]; its height, width and padding stand in `out`.
    ///
    /// # Panics
    /// If `out` has another size, or not three channels.
    pub fn unpack(self, out: &mut Map) {
        let row = 3 * out.width();
        assert_eq!((self.len(), out.channels()), (row * out.height(), 3));
        for y in 0..out.height() {
            self.unpack_row(y, out.row_mut(y));
        }
    }

    /// The pixels as they are.
    ///
    /// # Panics
    /// If `out` is of another type or length.
    pub fn copy(self, out: PixelsMut) {
        match (self, out) {
            (Self::U8(from), PixelsMut::U8(to)) => to.copy_from_slice(from),
            (Self::F32(from), PixelsMut::F32(to)) => to.copy_from_slice(from),
            (from, to) => panic!("{from:?} into {to:?}"),
        }
    }

    fn unpack_row(self, y: usize, out: &mut [f32]) {
        let range = y * out.len()..(y + 1) * out.len();
        match self {
            Self::U8(from) => out.iter_mut().zip(&from[range]).for_each(|(to, &x)| *to = f32::from(x) / 255.0),
            Self::F32(from) => out.copy_from_slice(&from[range]),
        }
    }

    fn len(self) -> usize {
        match self {
            Self::U8(pixels) => pixels.len(),
            Self::F32(pixels) => pixels.len(),
        }
    }
}

/// T's last map, before norm and sigmoid.
#[derive(Clone, Copy, Debug)]
pub struct Last<'a> {
    /// 3 channels at full size, or 12 at half size: `[row phase][column phase][rgb]`.
    pub map: &'a Map,
    /// Of the three colours.
    pub scale: [f32; 3],
    /// Of the three colours.
    pub shift: [f32; 3],
}

/// `out = (1 - beta) content + beta sigmoid(scale last + shift)`, of the content's width, row by row as `row` holds one.
///
/// # Panics
/// If the sizes do not fit.
pub fn interpolate(
    isa: Isa,
    last: Last,
    beta: f32,
    content: Pixels,
    width: usize,
    mut out: PixelsMut,
    row: &mut [Vec<f32>; 2],
) {
    let height = content.len() / (3 * width);
    let [stylized, blended] = row;
    blended.resize(3 * width, 0.0);
    for y in 0..height {
        last.gather_row(y, width, stylized);
        content.unpack_row(y, blended);
        match isa {
            Isa::Scalar => scalar::blend(&last, beta, stylized, blended),
            _ => simd::blend(isa, &last, beta, stylized, blended),
        }
        let range = 3 * width * y..3 * width * (y + 1);
        match &mut out {
            PixelsMut::U8(out) => {
                // At most 255.5, and truncated.
                out[range].iter_mut().zip(&*blended).for_each(|(to, x)| *to = (x * 255.0 + 0.5) as u8);
            }
            PixelsMut::F32(out) => out[range].copy_from_slice(blended),
        }
    }
}

impl Last<'_> {
    /// Row `y` at full size, cut to `width` pixels.
    fn gather_row(&self, y: usize, width: usize, out: &mut Vec<f32>) {
        out.clear();
        if self.map.channels() == 3 {
            out.extend_from_slice(&self.map.row(y)[..3 * width]);
            return;
        }
        for cell in self.map.row(y / 2).chunks_exact(12) {
            out.extend_from_slice(&cell[y % 2 * 6..][..6]);
        }
        out.truncate(3 * width);
    }
}
