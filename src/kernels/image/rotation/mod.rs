//! Affine transforms of an image with nearest-pixel sampling.
pub mod cuda;

use super::planes::Planes;

impl Planes {
    /// Applies an affine transform with nearest-pixel sampling. The source of a pixel with centre (x, y) is the pixel nearest
    /// to column `x columns[0] + y columns[1] + columns[2]` and row `x rows[0] + y rows[1] + rows[2]`. A pixel whose source is
    /// outside the image becomes black. The result is that of Pillow's `ImagingTransformAffine` in 16.16 fixed point. `room` is
    /// a scratch buffer.
    pub fn turn(&mut self, columns: [f64; 3], rows: [f64; 3], room: &mut Self) {
        let ([start_column, by_x, by_y], [start_row, row_by_x, row_by_y]) = (fixed_axis(columns), fixed_axis(rows));
        let (height, width) = (self.height(), self.width());
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

/// Converts an axis of [`Planes::turn`] to 16.16 fixed point. Returns the source of the first pixel, and the increments for a
/// column and a row.
fn fixed_axis([by_x, by_y, plus]: [f64; 3]) -> [i64; 3] {
    [plus + by_x * 0.5 + by_y * 0.5, by_x, by_y].map(|x| (x * 65536.0 + 0.5).floor() as i64)
}
