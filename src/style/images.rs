//! A batch of images of equal size, checked when it is created.
use crate::error::{Error, Result, tuple};
use crate::kernels::inference::pixels::{Pixels, PixelsMut};

/// The smallest height and width of an image. For smaller images, T's inner feature maps would be narrower than the padding of
/// the maps.
pub const MIN_SIZE: usize = 8;

/// RGB images, `[count, height, width, 3]`; may be empty.
#[derive(Clone, Copy, Debug)]
pub struct Images<'a> {
    pixels: Pixels<'a>,
    count: usize,
    height: usize,
    width: usize,
}

impl<'a> Images<'a> {
    /// Creates a batch from pixels and the batch's shape.
    ///
    /// # Errors
    /// The shape is not `[count, height, width, 3]`, the number of values does not match the shape, images are smaller than
    /// 8x8, or floats are outside [0, 1].
    pub fn new(pixels: Pixels<'a>, shape: &[usize]) -> Result<Self> {
        const EXPECTED: &str = "must have shape (n, height, width, 3), channels last";
        let &[count, height, width, 3] = shape else {
            return Err(Error::shape("images", EXPECTED, tuple(shape)));
        };
        // The size of an empty batch is not checked.
        if count > 0 && (height < MIN_SIZE || width < MIN_SIZE) {
            let requirement = format!("must be at least {MIN_SIZE}x{MIN_SIZE}; resize smaller images first");
            return Err(Error::shape("images", requirement, format!("{height}x{width}")));
        }
        let images = Self { pixels, count, height, width };
        let len = match pixels {
            Pixels::U8(pixels) => pixels.len(),
            Pixels::F32(pixels) => pixels.len(),
        };
        if len != count * images.floats() {
            return Err(Error::shape(
                "images",
                format!("must have {} values for shape {}", count * images.floats(), tuple(shape)),
                len,
            ));
        }
        if let Pixels::F32(pixels) = pixels {
            images.check_range(pixels)?;
        }
        Ok(images)
    }

    fn check_range(&self, pixels: &[f32]) -> Result<()> {
        // Read as integers, the bits of floats in [0, 1] do not exceed those of 1, except for -0; this comparison also excludes
        // NaN.
        let inside = |x: &f32| x.to_bits() <= 1.0_f32.to_bits() || *x == 0.0;
        // `&` instead of `&&`: a loop without an early exit vectorizes.
        if pixels.chunks(4096).all(|chunk| chunk.iter().fold(true, |all, x| all & inside(x))) {
            return Ok(());
        }
        let at = pixels.iter().position(|x| !inside(x)).unwrap_or_default();
        let (image, rest) = (at / self.floats(), at % self.floats());
        let (y, x, c) = (rest / (3 * self.width), rest / 3 % self.width, rest % 3);
        Err(Error::value(
            format!("images[{image}, {y}, {x}, {c}]"),
            pixels[at],
            "must be in [0, 1]; stylize before Normalize, or give uint8",
        ))
    }

    /// Returns the number of images.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Returns height and width in pixels.
    pub fn size(&self) -> (usize, usize) {
        (self.height, self.width)
    }

    /// Returns the number of values in one image.
    pub fn floats(&self) -> usize {
        self.height * self.width * 3
    }

    /// Returns the pixels of image `i`.
    pub fn get(&self, i: usize) -> Pixels<'a> {
        let range = i * self.floats()..(i + 1) * self.floats();
        match self.pixels {
            Pixels::U8(pixels) => Pixels::U8(&pixels[range]),
            Pixels::F32(pixels) => Pixels::F32(&pixels[range]),
        }
    }
}

/// Splits the output of a batch into one part of `each` values per image. Planes hold a single image and are not split.
pub(super) fn split(out: PixelsMut<'_>, each: usize) -> Vec<PixelsMut<'_>> {
    // In an empty batch, an image may have no pixels.
    let each = each.max(1);
    match out {
        PixelsMut::U8(out) => out.chunks_exact_mut(each).map(PixelsMut::U8).collect(),
        PixelsMut::Planes(out) => vec![PixelsMut::Planes(out)],
        PixelsMut::F32(out) => out.chunks_exact_mut(each).map(PixelsMut::F32).collect(),
    }
}
