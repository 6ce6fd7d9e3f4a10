//! Feature maps: activations `[height][width][channels]` with padding around the pixels.
use crate::kernels::isa::Extent;
use crate::memory::lengthen;
use std::ops::Range;

/// Padding around a map, in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pad {
    /// Number of rows above.
    pub top: usize,
    /// Number of columns to the left.
    pub left: usize,
    /// Number of rows below.
    pub bottom: usize,
    /// Number of columns to the right.
    pub right: usize,
}

impl Pad {
    /// No padding.
    pub const NONE: Self = Self::all(0);

    /// The same padding on all four sides.
    pub const fn all(n: usize) -> Self {
        Self { top: n, left: n, bottom: n, right: n }
    }

    /// TensorFlow's SAME padding: the output size is `ceil(n / stride)`. If the total padding of an axis is odd, the extra
    /// pixel is below or to the right.
    pub fn same(height: usize, width: usize, kernel: usize, stride: usize) -> Self {
        let total = |n: usize| ((n.div_ceil(stride) - 1) * stride + kernel).saturating_sub(n);
        let (rows, columns) = (total(height), total(width));
        Self { top: rows / 2, left: columns / 2, bottom: rows - rows / 2, right: columns - columns / 2 }
    }

    /// Number of values of a map with this padding; `height` and `width` exclude the padding.
    pub(super) fn len(self, height: usize, width: usize, channels: usize) -> usize {
        (self.top + height + self.bottom) * (self.left + width + self.right) * channels
    }
}

/// Contents of the padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Border {
    /// Zeros.
    Zero,
    /// The pixel at the edge, repeated.
    Edge,
    /// The mirror image without the edge itself (TensorFlow's REFLECT, PyTorch's `reflect`).
    Reflect,
}

impl Border {
    /// Returns the index in `0..n` of the pixel that fills position `i`, or `None` if the position is filled with zero.
    /// Position `i` may be outside `0..n`.
    pub fn index(self, i: isize, n: usize) -> Option<usize> {
        let last = n as isize - 1;
        match self {
            _ if (0..=last).contains(&i) => Some(i as usize),
            Self::Zero => None,
            Self::Edge => Some(i.clamp(0, last) as usize),
            // Clamped for maps narrower than their padding.
            Self::Reflect => Some(if i < 0 { -i } else { 2 * last - i }.clamp(0, last) as usize),
        }
    }
}

/// Activations of one image, in float32 or in the integers of [`super::quantize`].
#[derive(Clone, Debug, Default)]
pub struct FeatureMap<T = f32> {
    data: Vec<T>,
    height: usize,
    width: usize,
    channels: usize,
    pad: Pad,
    range: Option<Extent>,
}

/// Number of values beyond the end of the last pixel that may be read.
pub(super) const SLACK: usize = 3;

impl<T: Copy + Default> FeatureMap<T> {
    /// Creates a map of this shape with arbitrary contents.
    pub fn new(height: usize, width: usize, channels: usize, pad: Pad) -> Self {
        let mut map = Self { data: vec![], height, width, channels, pad, range: None };
        map.reshape(height, width, channels, pad);
        map
    }

    /// Changes the shape and reuses the memory; the contents become arbitrary.
    pub fn reshape(&mut self, height: usize, width: usize, channels: usize, pad: Pad) {
        (self.height, self.width, self.channels, self.pad) = (height, width, channels, pad);
        self.range = None;
        // Never shrunk, so that growing back costs nothing.
        if self.data.len() < self.len() + SLACK {
            let len = self.len() + SLACK;
            lengthen("images", &mut self.data, len, T::default());
        }
    }

    /// The recorded range of all values, including the padding; `None` if no range is recorded.
    pub fn range(&self) -> Option<Extent> {
        self.range
    }

    /// Records the range of the values. Methods that give mutable access to the values, such as [`FeatureMap::row_mut`], clear
    /// the recorded range; methods that fill the padding keep it.
    pub fn set_range(&mut self, range: Extent) {
        self.range = Some(range);
    }

    /// The whole map, for reading.
    pub fn view(&self) -> MapView<'_, T> {
        MapView {
            data: &self.data[..self.len() + SLACK],
            stride: self.stride(),
            height: self.height,
            width: self.width,
            channels: self.channels,
            pad: self.pad,
            range: self.range,
        }
    }

    /// Size of the allocated memory in bytes.
    pub fn bytes(&self) -> usize {
        self.data.capacity() * size_of::<T>()
    }

    fn len(&self) -> usize {
        self.pad.len(self.height, self.width, self.channels)
    }

    /// Number of values for which memory is initialized.
    pub(super) fn capacity(&self) -> usize {
        self.data.len()
    }

    /// Rows, without the padding.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Columns, without the padding.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Channels.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The padding.
    pub fn pad(&self) -> Pad {
        self.pad
    }

    /// Number of values from one row to the next.
    pub fn stride(&self) -> usize {
        (self.pad.left + self.width + self.pad.right) * self.channels
    }

    /// All values, including the padding.
    pub fn as_slice(&self) -> &[T] {
        &self.data[..self.len()]
    }

    /// All values, including the padding, mutable.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        self.range = None;
        let len = self.len();
        &mut self.data[..len]
    }

    /// Index of the pixel at (0, 0) in [`FeatureMap::as_slice`].
    pub fn origin(&self) -> usize {
        self.pad.top * self.stride() + self.pad.left * self.channels
    }

    /// Row `y` without its padding: width x channels values.
    pub fn row(&self, y: usize) -> &[T] {
        &self.data[self.row_range(y)]
    }

    /// Row `y` without its padding, mutable.
    pub fn row_mut(&mut self, y: usize) -> &mut [T] {
        self.range = None;
        let range = self.row_range(y);
        &mut self.data[range]
    }

    fn row_range(&self, y: usize) -> Range<usize> {
        let start = self.origin() + y * self.stride();
        start..start + self.width * self.channels
    }

    /// Moves the last `n` rows to the top. The map must have no padding above or below. A later [`FeatureMap::reshape`] keeps
    /// these rows if only the height changes.
    pub fn keep_last_rows(&mut self, n: usize) {
        let (stride, len) = (self.stride(), self.len());
        self.data.copy_within(len - n * stride..len, 0);
    }

    /// Fills the padding left and right of the rows `sides`, and all of the rows `whole`, with `zero`.
    ///
    /// `zero` is a single value, or has a value for each channel. The map must have no padding above or below.
    pub fn fill_zeros(&mut self, zero: &[T], sides: Range<usize>, whole: impl Iterator<Item = usize>) {
        let (stride, c, pad) = (self.stride(), self.channels, self.pad);
        for y in sides {
            let row = &mut self.data[y * stride..(y + 1) * stride];
            fill(&mut row[..pad.left * c], zero);
            fill(&mut row[stride - pad.right * c..], zero);
        }
        whole.for_each(|y| fill(&mut self.data[y * stride..(y + 1) * stride], zero));
    }

    /// Fills the padding according to `border`. For [`Border::Zero`], `zero` is a single value or has a value for each channel.
    pub fn fill_border_with(&mut self, border: Border, zero: &[T]) {
        let (stride, c, pad) = (self.stride(), self.channels, self.pad);
        for y in 0..self.height {
            let start = (pad.top + y) * stride;
            let row = &mut self.data[start..start + stride];
            let outside = (0..pad.left).chain(pad.left + self.width..pad.left + self.width + pad.right);
            for x in outside {
                match border.index(x as isize - pad.left as isize, self.width) {
                    Some(from) => row.copy_within((pad.left + from) * c..(pad.left + from + 1) * c, x * c),
                    None => fill(&mut row[x * c..(x + 1) * c], zero),
                }
            }
        }
        for y in (0..pad.top).chain(pad.top + self.height..pad.top + self.height + pad.bottom) {
            match border.index(y as isize - pad.top as isize, self.height) {
                Some(from) => {
                    self.data.copy_within((pad.top + from) * stride..(pad.top + from + 1) * stride, y * stride);
                }
                None => fill(&mut self.data[y * stride..(y + 1) * stride], zero),
            }
        }
    }
}

/// Fills whole pixels with `with`, which is a single value or has a value for each channel.
fn fill<T: Copy>(pixels: &mut [T], with: &[T]) {
    match with {
        &[one] => pixels.fill(one),
        _ => pixels.chunks_exact_mut(with.len()).for_each(|pixel| pixel.copy_from_slice(with)),
    }
}

impl FeatureMap {
    /// Fills the padding with pixels of the map or with zeros, according to `border`.
    pub fn fill_border(&mut self, border: Border) {
        self.fill_border_with(border, &[0.0]);
    }
}

/// A read-only view of a map, with all or part of the padding.
#[derive(Clone, Copy, Debug)]
pub struct MapView<'a, T = f32> {
    /// Values of the viewed pixels and padding, followed by at least `SLACK` more values.
    pub data: &'a [T],
    /// Number of values from one row to the next.
    pub stride: usize,
    /// Rows, without the padding.
    pub height: usize,
    /// Columns, without the padding.
    pub width: usize,
    /// Channels.
    pub channels: usize,
    /// The padding.
    pub pad: Pad,
    /// See [`FeatureMap::range`].
    pub range: Option<Extent>,
}

impl<T> MapView<'_, T> {
    /// Returns the view with only the padding `pad`.
    ///
    /// # Panics
    /// If the view has less padding than `pad`.
    pub fn trimmed(self, pad: Pad) -> Self {
        let has = self.pad;
        assert!(
            pad.top <= has.top && pad.left <= has.left && pad.bottom <= has.bottom && pad.right <= has.right,
            "{has:?} cannot be trimmed to {pad:?}"
        );
        let first = (has.top - pad.top) * self.stride + (has.left - pad.left) * self.channels;
        Self { data: &self.data[first..], pad, ..self }
    }

    /// Returns a view of some rows. There must be no padding above or below.
    ///
    /// # Panics
    /// If the view has padding above or below, or the rows are out of range.
    pub fn rows(self, rows: Range<usize>) -> Self {
        assert!(self.pad.top + self.pad.bottom == 0 && rows.end <= self.height, "rows {rows:?} of {:?}", self.pad);
        Self { data: &self.data[rows.start * self.stride..], height: rows.len(), ..self }
    }

    /// Number of rows and columns including the padding.
    pub fn padded_size(&self) -> (usize, usize) {
        (self.pad.top + self.height + self.pad.bottom, self.pad.left + self.width + self.pad.right)
    }

    /// Iterates over the rows, including the padding.
    pub(super) fn padded_rows(&self) -> impl Iterator<Item = &[T]> {
        let (rows, columns) = self.padded_size();
        (0..rows).map(move |y| &self.data[y * self.stride..][..columns * self.channels])
    }
}

impl<'a> From<&'a FeatureMap> for MapView<'a> {
    fn from(map: &'a FeatureMap) -> Self {
        map.view()
    }
}

#[cfg(test)]
mod tests {
    use super::{Border, FeatureMap, Pad};

    #[test]
    fn borders_are_what_numpy_pads() {
        let cases = [
            (Border::Zero, [0., 0., 1., 2., 3., 0., 0.]),
            (Border::Edge, [1., 1., 1., 2., 3., 3., 3.]),
            (Border::Reflect, [3., 2., 1., 2., 3., 2., 1.]),
        ];
        for (border, expected) in cases {
            let mut wide = FeatureMap::new(1, 3, 1, Pad { left: 2, right: 2, ..Pad::NONE });
            wide.row_mut(0).copy_from_slice(&[1., 2., 3.]);
            wide.fill_border(border);
            assert_eq!(wide.as_slice(), expected, "{border:?}, columns");
            let mut tall = FeatureMap::new(3, 1, 1, Pad { top: 2, bottom: 2, ..Pad::NONE });
            (0..3).for_each(|y| tall.row_mut(y)[0] = y as f32 + 1.0);
            tall.fill_border(border);
            assert_eq!(tall.as_slice(), expected, "{border:?}, rows");
        }
    }

    #[test]
    fn same_padding_is_tensorflows() {
        assert_eq!(Pad::same(256, 255, 3, 2), Pad { top: 0, left: 1, bottom: 1, right: 1 });
        assert_eq!(Pad::same(8, 8, 3, 1), Pad::all(1));
        assert_eq!(Pad::same(8, 8, 1, 1), Pad::NONE);
    }
}
