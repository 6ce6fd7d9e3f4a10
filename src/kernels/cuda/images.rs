//! The user's images on a device, and where they go: how their pixels are kept and how they lie.
use super::At;

/// Types of pixels, as `prelude.cuh` numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PixelType {
    /// 0 to 255.
    U8 = 0,
    /// 0 to 1, as the others.
    F16 = 1,
    /// The upper half of a float32.
    BF16 = 2,
    /// float32.
    F32 = 3,
}

/// The user's images, or where they go: any layout of (images, rows, columns, three colours).
#[derive(Clone, Copy, Debug)]
pub struct DeviceImages {
    /// Where the first one is.
    pub at: At,
    /// What a pixel's colour is.
    pub pixels: PixelType,
    /// Numbers from an image, a row, a column, a colour to the next.
    pub strides: [i64; 4],
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}
