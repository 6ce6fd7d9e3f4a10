//! Conversion of a view to its output format, with channels first or last.
//!
//! Bytes are output unchanged. Floats are `(x / 255 - mean) / std`, with one mean and one standard deviation per channel, as in
//! torchvision's `ToTensor` and `Normalize`.
use super::{Crop, Planes};
use crate::error::{Error, Result};
use crate::kernels::isa::Isa;
use half::f16;

/// The type of the output values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dtype {
    /// Bytes from 0 to 255.
    U8,
    /// float16, rounded from the values of [`Dtype::F32`].
    F16,
    /// float32, the input type of most networks.
    #[default]
    F32,
}

/// Mean and standard deviation of each channel, for values in [0, 1].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normalize {
    /// The mean of each channel, which is subtracted.
    pub mean: [f32; 3],
    /// The standard deviation of each channel, which is the divisor.
    pub std: [f32; 3],
}

/// The output format of views.
#[derive(Clone, Debug)]
pub struct Output {
    table: Table,
    normalize: Normalize,
    channels_last: bool,
}

/// A finished view in its output format, borrowed for changes.
#[derive(Debug)]
pub struct NumbersMut<'a> {
    /// Height and width.
    pub size: (usize, usize),
    bytes: &'a mut [u8],
    dtype: Dtype,
    channels_last: bool,
}

impl NumbersMut<'_> {
    /// Fills a rectangle with one colour, given as output values of the view. For bytes, the colour is rounded and clamped to
    /// 0..=255.
    ///
    /// # Panics
    /// If the rectangle reaches beyond the view.
    pub fn fill(&mut self, part: Crop, color: [f32; 3]) {
        match self.dtype {
            Dtype::U8 => self.fill_with(part, color.map(|x| x.round_ties_even() as u8)),
            Dtype::F16 => self.fill_with(part, color.map(f16::from_f32)),
            Dtype::F32 => self.fill_with(part, color),
        }
    }

    fn fill_with<T: bytemuck::Pod>(&mut self, Crop { top, left, height, width }: Crop, color: [T; 3]) {
        let ((rows, columns), numbers) = (self.size, bytemuck::cast_slice_mut::<u8, T>(self.bytes));
        for y in top..top + height {
            match self.channels_last {
                true => {
                    let row = &mut numbers[3 * (y * columns + left)..][..3 * width];
                    row.chunks_exact_mut(3).for_each(|pixel| pixel.copy_from_slice(&color));
                }
                false => color.into_iter().enumerate().for_each(|(c, x)| {
                    numbers[(c * rows + y) * columns + left..][..width].fill(x);
                }),
            }
        }
    }
}

/// A lookup table from each byte to its output value, for each channel. Output as bytes needs no table.
#[derive(Clone, Debug)]
enum Table {
    U8,
    F16(Box<[[f16; 256]; 3]>),
    F32(Box<[[f32; 256]; 3]>),
}

impl Normalize {
    /// No normalization: values stay in [0, 1].
    pub const NONE: Self = Self { mean: [0.0; 3], std: [1.0; 3] };
}

impl Output {
    /// Creates a format with values of type `dtype`. The layout is `[height][width][3]` if `channels_last`, else
    /// `[3][height][width]`.
    ///
    /// # Errors
    /// A standard deviation is not positive, a mean or standard deviation is not finite, or there is a normalization of bytes.
    pub fn new(dtype: Dtype, normalize: Normalize, channels_last: bool) -> Result<Self> {
        let Normalize { mean, std } = normalize;
        if !std.iter().all(|&std| std > 0.0 && std.is_finite()) {
            return Err(Error::value("std", format!("{std:?}"), "must be three finite values > 0"));
        }
        if !mean.iter().all(|mean| mean.is_finite()) {
            return Err(Error::value("mean", format!("{mean:?}"), "must be three finite values"));
        }
        let floats: [[f32; 256]; 3] =
            std::array::from_fn(|c| std::array::from_fn(|x| (x as f32 / 255.0 - mean[c]) / std[c]));
        let table = match dtype {
            Dtype::U8 if normalize != Normalize::NONE => {
                let requirement = "must be \"float16\" or \"float32\" for normalized values; or give normalize=None, and \
                                   normalize later";
                return Err(Error::value("dtype", "\"uint8\"", requirement));
            }
            Dtype::U8 => Table::U8,
            Dtype::F16 => Table::F16(Box::new(floats.map(|color| color.map(f16::from_f32)))),
            Dtype::F32 => Table::F32(Box::new(floats)),
        };
        Ok(Self { table, normalize, channels_last })
    }

    /// Returns the type of the values.
    pub fn dtype(&self) -> Dtype {
        match self.table {
            Table::U8 => Dtype::U8,
            Table::F16(_) => Dtype::F16,
            Table::F32(_) => Dtype::F32,
        }
    }

    /// Returns the normalization.
    pub fn normalize(&self) -> Normalize {
        self.normalize
    }

    /// Returns `true` if the channel is the innermost axis.
    pub fn channels_last(&self) -> bool {
        self.channels_last
    }

    /// Borrows the output of a view of this size for changes.
    pub fn numbers_mut<'a>(&self, size: (usize, usize), bytes: &'a mut [u8]) -> NumbersMut<'a> {
        NumbersMut { size, bytes, dtype: self.dtype(), channels_last: self.channels_last }
    }

    /// Writes a view into its output memory.
    ///
    /// # Panics
    /// If `out` does not have the size of the view, or is misaligned for the type.
    pub fn write(&self, isa: Isa, planes: &Planes, out: &mut [u8]) {
        let n = planes.as_slice().len() * self.dtype().size();
        assert_eq!(out.len(), n, "bytes of a view of {}x{}", planes.height(), planes.width());
        match (&self.table, self.channels_last) {
            (Table::U8, false) => out.copy_from_slice(planes.as_slice()),
            (Table::U8, true) => planes.write(isa, out),
            (Table::F16(table), last) => look_up(table, planes, last, bytemuck::cast_slice_mut(out)),
            (Table::F32(table), last) => look_up(table, planes, last, bytemuck::cast_slice_mut(out)),
        }
    }
}

impl Dtype {
    /// Returns the size of a value in bytes.
    pub fn size(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::F16 => 2,
            Self::F32 => 4,
        }
    }

    /// Returns the type's name in numpy and torch.
    pub fn name(self) -> &'static str {
        match self {
            Self::U8 => "uint8",
            Self::F16 => "float16",
            Self::F32 => "float32",
        }
    }

    /// Returns the type with this name.
    ///
    /// # Errors
    /// The name is unknown.
    pub fn named(name: &str) -> Result<Self> {
        let found = [Self::U8, Self::F16, Self::F32].into_iter().find(|dtype| dtype.name() == name);
        found.ok_or_else(|| Error::value("dtype", format!("{name:?}"), "must be \"uint8\", \"float16\" or \"float32\""))
    }
}

fn look_up<T: Copy>(table: &[[T; 256]; 3], planes: &Planes, channels_last: bool, out: &mut [T]) {
    let colors = planes.colors();
    if channels_last {
        let [red, green, blue] = colors;
        for (out, ((&r, &g), &b)) in out.chunks_exact_mut(3).zip(red.iter().zip(green).zip(blue)) {
            let [r, g, b] = [r, g, b].map(usize::from);
            out.copy_from_slice(&[table[0][r], table[1][g], table[2][b]]);
        }
        return;
    }
    let size = planes.height() * planes.width();
    for ((color, out), table) in colors.into_iter().zip(out.chunks_exact_mut(size.max(1))).zip(table) {
        for (to, &x) in out.iter_mut().zip(color) {
            *to = table[usize::from(x)];
        }
    }
}
