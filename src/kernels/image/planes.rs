//! An image of bytes, stored as colour planes, so that a vector register holds neighbouring values of one colour.
//!
//! Each loop is written once, as in [`super::color`] and [`super::resample`], and `Isa::dispatch` compiles it for each
//! instruction set. All compiled versions round alike, so they give the same bytes.
use crate::kernels::isa::{Isa, Kernel, Lanes};
use crate::memory::lengthen;

/// Red, green and blue planes of an image, `[3][height][width]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Planes {
    height: usize,
    width: usize,
    bytes: Vec<u8>,
}

impl Planes {
    /// Creates a black image.
    pub fn new(height: usize, width: usize) -> Self {
        let mut planes = Self::default();
        planes.reshape(height, width);
        planes
    }

    /// Changes the size; the contents become arbitrary.
    pub fn reshape(&mut self, height: usize, width: usize) {
        (self.height, self.width) = (height, width);
        lengthen("image", &mut self.bytes, 3 * height * width, 0);
        self.bytes.truncate(3 * height * width);
    }

    /// Number of rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Number of columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// All bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// All bytes, mutable.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// The red, green and blue planes.
    pub fn colors(&self) -> [&[u8]; 3] {
        let (red, others) = self.bytes.split_at(self.height * self.width);
        let (green, blue) = others.split_at(self.height * self.width);
        [red, green, blue]
    }

    /// The red, green and blue planes, mutable.
    pub fn colors_mut(&mut self) -> [&mut [u8]; 3] {
        let (red, others) = self.bytes.split_at_mut(self.height * self.width);
        let (green, blue) = others.split_at_mut(self.height * self.width);
        [red, green, blue]
    }

    /// Fills the planes from interleaved pixels, `[height][width][3]`.
    ///
    /// # Panics
    /// If `pixels` does not have `height x width x 3` bytes.
    pub fn fill(&mut self, isa: Isa, height: usize, width: usize, pixels: &[u8]) {
        assert_eq!(pixels.len(), 3 * height * width, "pixels of {height}x{width}");
        self.reshape(height, width);
        isa.dispatch(Split { pixels, colors: self.colors_mut() });
    }

    /// Writes the image as interleaved pixels, `[height][width][3]`.
    ///
    /// # Panics
    /// If the length of `pixels` does not match.
    pub fn write(&self, isa: Isa, pixels: &mut [u8]) {
        assert_eq!(pixels.len(), self.bytes.len(), "pixels of {}x{}", self.height, self.width);
        isa.dispatch(Join { colors: self.colors(), pixels });
    }
}

struct Split<'a> {
    pixels: &'a [u8],
    colors: [&'a mut [u8]; 3],
}

impl Kernel for Split<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let [red, green, blue] = self.colors;
        let colors = red.iter_mut().zip(green).zip(blue);
        for (pixel, ((r, g), b)) in self.pixels.chunks_exact(3).zip(colors) {
            (*r, *g, *b) = (pixel[0], pixel[1], pixel[2]);
        }
    }
}

struct Join<'a> {
    colors: [&'a [u8]; 3],
    pixels: &'a mut [u8],
}

impl Kernel for Join<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let [red, green, blue] = self.colors;
        let colors = red.iter().zip(green).zip(blue);
        for (pixel, ((&r, &g), &b)) in self.pixels.chunks_exact_mut(3).zip(colors) {
            (pixel[0], pixel[1], pixel[2]) = (r, g, b);
        }
    }
}
