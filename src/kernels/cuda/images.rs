//! The user's images on a device, as input or output: pixel type and layout.
use super::interface::{DeviceEnum, DeviceStruct, Field};
use super::{Arg, At};
use bytemuck::{Pod, Zeroable};

/// Type of a pixel's colour values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PixelType {
    /// uint8, from 0 to 255.
    U8,
    /// float16, from 0 to 1.
    F16,
    /// bfloat16, from 0 to 1.
    BF16,
    /// float32, from 0 to 1.
    F32,
}

impl DeviceEnum for PixelType {
    const NAMES: &'static [(Self, &'static str)] = &[
        (Self::U8, "PIXEL_UINT8"),
        (Self::F16, "PIXEL_FLOAT16"),
        (Self::BF16, "PIXEL_BFLOAT16"),
        (Self::F32, "PIXEL_FLOAT32"),
    ];
}

/// Distances, in elements, between neighbouring images, rows, columns and colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Zeroable, Pod)]
#[repr(C)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Strides {
    pub image: i64,
    pub row: i64,
    pub column: i64,
    pub colour: i64,
}

impl DeviceStruct for Strides {
    const NAME: &'static str = "Strides";
    const FIELDS: &'static [Field<Self>] = &[
        ("image", |own| &own.image),
        ("row", |own| &own.row),
        ("column", |own| &own.column),
        ("colour", |own| &own.colour),
    ];
}

impl From<[i64; 4]> for Strides {
    fn from([image, row, column, colour]: [i64; 4]) -> Self {
        Self { image, row, column, colour }
    }
}

impl From<Strides> for Arg {
    fn from(strides: Strides) -> Self {
        Self::of(&strides)
    }
}

/// The user's images, as input or output, with any strides over images, rows, columns and three colours.
#[derive(Clone, Copy, Debug)]
pub struct DeviceImages {
    /// Address of the first image.
    pub at: At,
    /// Type of the colour values.
    pub pixels: PixelType,
    /// The strides.
    pub strides: Strides,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}
