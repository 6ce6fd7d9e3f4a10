//! A random crop and its resizing: torchvision's `RandomResizedCrop` with antialiasing.
//!
//! Only pixels of the crop are read. Resizing is that of Pillow: a filter is applied in two passes, with rounding in between.
//! The support of the filter widens in proportion to the reduction.
use super::RgbView;
use super::operation::Values;
use crate::error::{Error, Result, checked_range};
use crate::kernels::image::resample::resample;
use crate::kernels::isa::Isa;
use crate::random::{Generator, uniform};
use rand::Rng;

pub use crate::kernels::image::resample::{Interpolation, ResampleScratch, Resampled};

/// A rectangle of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crop {
    /// First row.
    pub top: usize,
    /// First column.
    pub left: usize,
    /// Number of rows.
    pub height: usize,
    /// Number of columns.
    pub width: usize,
}

impl From<Crop> for Values {
    fn from(Crop { top, left, height, width }: Crop) -> Self {
        let [top, left, height, width] = [top, left, height, width].map(|x| x as f64);
        Self::of([("top", top), ("left", left), ("height", height), ("width", width)])
    }
}

impl TryFrom<&Values> for Crop {
    type Error = Error;

    /// Converts drawn values to a crop. The values must be non-negative integers.
    fn try_from(values: &Values) -> Result<Self> {
        let numbers = values.get(["top", "left", "height", "width"])?;
        if !numbers.iter().all(|&x| x >= 0.0 && x.fract() == 0.0) {
            return Err(Error::value(
                "crop",
                format!("{numbers:?}"),
                "must be non-negative integers (top, left, height, width)",
            ));
        }
        let [top, left, height, width] = numbers.map(|x| x as usize);
        Ok(Self { top, left, height, width })
    }
}

impl Crop {
    /// Checks that the crop is inside an image of this height and width.
    ///
    /// # Errors
    /// The crop is empty, or reaches beyond the image.
    pub fn check(self, rows: usize, columns: usize) -> Result<()> {
        let Self { top, left, height, width } = self;
        let fits = |from: usize, n: usize, all: usize| n > 0 && from.checked_add(n).is_some_and(|end| end <= all);
        if fits(top, height, rows) && fits(left, width, columns) {
            return Ok(());
        }
        let requirement = format!("must be within the image of {rows}x{columns}");
        Err(Error::value("crop", format!("{height}x{width} at ({top}, {left})"), requirement))
    }
}

/// The settings of the operation.
#[derive(Clone, Copy, Debug)]
pub struct RandomResizedCrop {
    scale: (f32, f32),
    ratio: (f32, f32),
}

impl RandomResizedCrop {
    /// Creates the operation from two ranges.
    ///
    /// `scale` is the range of the crop's area, as a fraction of the image's area. `ratio` is the range of the crop's aspect
    /// ratio, width over height.
    ///
    /// # Errors
    /// A range is reversed, `scale` is outside [0, 1], or `ratio` is not positive.
    pub fn new(scale: (f32, f32), ratio: (f32, f32)) -> Result<Self> {
        let (part, positive) = (
            "must be a range (low, high) with 0 <= low <= high <= 1",
            "must be a range (low, high) with 0 < low <= high",
        );
        Ok(Self {
            scale: checked_range("scale", scale, (0.0, 1.0), part)?,
            ratio: checked_range("ratio", ratio, (f32::MIN_POSITIVE, f32::MAX), positive)?,
        })
    }

    /// Draws a crop: area and position uniformly, the aspect ratio uniformly in its logarithm.
    ///
    /// If ten draws in a row do not fit into the image, the crop is the largest central one with an aspect ratio in the range.
    ///
    /// # Panics
    /// If the image has no pixels.
    pub fn sample(&self, generator: &mut Generator, height: usize, width: usize) -> Crop {
        let (rows, columns) = (height as f64, width as f64);
        let (low, high) = (f64::from(self.ratio.0), f64::from(self.ratio.1));
        for _ in 0..10 {
            let scale = f64::from(uniform(generator, self.scale));
            let ratio = (low.ln() + (high.ln() - low.ln()) * generator.random::<f64>()).exp();
            let area = rows * columns * scale;
            let (w, h) = ((area * ratio).sqrt().round_ties_even(), (area / ratio).sqrt().round_ties_even());
            if (1.0..=columns).contains(&w) && (1.0..=rows).contains(&h) {
                let (w, h) = (w as usize, h as usize);
                let top = generator.random_range(0..=(height - h) as u64) as usize;
                let left = generator.random_range(0..=(width - w) as u64) as usize;
                return Crop { top, left, height: h, width: w };
            }
        }
        let ratio = columns / rows;
        let w = if ratio > high { (rows * high).round_ties_even() as usize } else { width };
        let h = if ratio < low { (columns / low).round_ties_even() as usize } else { height };
        let (w, h) = (w.clamp(1, width), h.clamp(1, height));
        Crop { top: (height - h) / 2, left: (width - w) / 2, height: h, width: w }
    }
}

/// Resizes the part `crop` of `pixels` to the size of `out`.
///
/// # Errors
/// The crop is empty or extends beyond the image, or `out` is empty.
pub fn resized_crop(
    isa: Isa,
    pixels: RgbView,
    crop: Crop,
    interpolation: Interpolation,
    out: Resampled,
    scratch: &mut ResampleScratch,
) -> Result<()> {
    crop.check(pixels.height, pixels.width)?;
    let Crop { top, left, height, width } = crop;
    let (rows, columns) = out.size();
    if rows == 0 || columns == 0 {
        return Err(Error::value("size", format!("({rows}, {columns})"), "must be at least 1x1"));
    }
    let part = (top..top + height, left..left + width);
    resample(isa, (pixels.bytes, pixels.width), part, interpolation, out, scratch);
    Ok(())
}
