//! An image in bytes, colour by colour: what augments single pixels then finds neighbours of one colour in a vector.
//!
//! These loops, like those of [`super::color`] and [`super::resample`], are written once: `Isa::dispatch` compiles them for each instruction set,
//! and as none rounds differently, all paths give the same bytes.
pub mod cuda;

use crate::kernels::isa::Isa;
use crate::kernels::isa::{Kernel, Lanes};
use crate::memory::lengthen;

/// Red, green and blue of an image, `[3][height][width]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Planes {
    height: usize,
    width: usize,
    bytes: Vec<u8>,
}

impl Planes {
    /// Black.
    pub fn new(height: usize, width: usize) -> Self {
        let mut planes = Self::default();
        planes.reshape(height, width);
        planes
    }

    /// Takes another size; what is in it then is of no meaning.
    pub fn reshape(&mut self, height: usize, width: usize) {
        (self.height, self.width) = (height, width);
        lengthen("image", &mut self.bytes, 3 * height * width, 0);
        self.bytes.truncate(3 * height * width);
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// All bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// All bytes, to write.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Red, green, blue.
    pub fn colors(&self) -> [&[u8]; 3] {
        let (red, others) = self.bytes.split_at(self.height * self.width);
        let (green, blue) = others.split_at(self.height * self.width);
        [red, green, blue]
    }

    /// Red, green, blue, to write.
    pub fn colors_mut(&mut self) -> [&mut [u8]; 3] {
        let (red, others) = self.bytes.split_at_mut(self.height * self.width);
        let (green, blue) = others.split_at_mut(self.height * self.width);
        [red, green, blue]
    }

    /// Takes in an image of pixels, `[height][width][3]`.
    ///
    /// # Panics
    /// If there are not `height x width x 3` bytes.
    pub fn fill(&mut self, isa: Isa, height: usize, width: usize, pixels: &[u8]) {
        assert_eq!(pixels.len(), 3 * height * width, "pixels of {height}x{width}");
        self.reshape(height, width);
        isa.dispatch(Split { pixels, colors: self.colors_mut() });
    }

    /// Writes it as pixels, `[height][width][3]`.
    ///
    /// # Panics
    /// If there is not just room for them.
    pub fn write(&self, isa: Isa, pixels: &mut [u8]) {
        assert_eq!(pixels.len(), self.bytes.len(), "pixels of {}x{}", self.height, self.width);
        isa.dispatch(Join { colors: self.colors(), pixels });
    }

    /// Left becomes right.
    pub fn flip_horizontally(&mut self) {
        if self.width > 0 {
            self.bytes.chunks_exact_mut(self.width).for_each(<[u8]>::reverse);
        }
    }

    /// Top becomes bottom.
    pub fn flip_vertically(&mut self) {
        let (height, width) = (self.height, self.width);
        for color in self.colors_mut() {
            for y in 0..height / 2 {
                let (above, below) = color.split_at_mut((height - 1 - y) * width);
                above[y * width..][..width].swap_with_slice(&mut below[..width]);
            }
        }
    }

    /// Takes each pixel from column `x columns[0] + y columns[1] + columns[2]` and the row of the same kind, where x and y are
    /// the middle of the pixel; black where there is none. Pillow's `ImagingTransformAffine` in 16.16 bits, nearest pixels.
    pub fn turn(&mut self, columns: [f64; 3], rows: [f64; 3], room: &mut Self) {
        let ([start_column, by_x, by_y], [start_row, row_by_x, row_by_y]) = (fixed_axis(columns), fixed_axis(rows));
        let (height, width) = (self.height, self.width);
        room.reshape(height, width);
        let inside = |at: i64, n: usize| usize::try_from(at >> 16).ok().filter(|&at| at < n);
        for (from, to) in self.colors().into_iter().zip(room.colors_mut()) {
            for (y, to) in to.chunks_exact_mut(width.max(1)).enumerate() {
                let mut column = start_column + y as i64 * by_y;
                let mut row = start_row + y as i64 * row_by_y;
                for to in to {
                    let at = inside(row, height).zip(inside(column, width));
                    *to = at.map_or(0, |(row, column)| from[row * width + column]);
                    column += by_x;
                    row += row_by_x;
                }
            }
        }
        std::mem::swap(self, room);
    }
}

/// An axis of [`Planes::turn`] in 16.16 bits: where its first pixel lies, and what a column and a row add.
pub(crate) fn fixed_axis([by_x, by_y, plus]: [f64; 3]) -> [i64; 3] {
    [plus + by_x * 0.5 + by_y * 0.5, by_x, by_y].map(|x| (x * 65536.0 + 0.5).floor() as i64)
}

/// Left becomes right, of pixels as they are: `out` is the mirror image of `pixels`, `[height][width][3]`.
///
/// # Panics
/// If `out` is of another length, or they are no rows of `width` pixels.
pub fn mirror(isa: Isa, width: usize, pixels: &[u8], out: &mut [u8]) {
    assert_eq!(pixels.len(), out.len(), "bytes of a mirror image");
    assert!(width > 0 && pixels.len().is_multiple_of(3 * width), "rows of {width} pixels");
    isa.dispatch(Mirror { bytes: 3 * width, pixels, out });
}

struct Mirror<'a> {
    /// Of a row.
    bytes: usize,
    pixels: &'a [u8],
    out: &'a mut [u8],
}

impl Kernel for Mirror<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        for (row, out) in self.pixels.chunks_exact(self.bytes).zip(self.out.chunks_exact_mut(self.bytes)) {
            let mut done = 0;
            // The byte before five pixels is written with them, and written again with those before them.
            while let Some(&pixels) = row[done..].first_chunk() {
                let end = self.bytes - done;
                out[end - 16..end].copy_from_slice(&L::mirror(pixels));
                done += 15;
            }
            let rest = out[..self.bytes - done].chunks_exact_mut(3).rev();
            for (to, from) in rest.zip(row[done..].chunks_exact(3)) {
                to.copy_from_slice(from);
            }
        }
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
