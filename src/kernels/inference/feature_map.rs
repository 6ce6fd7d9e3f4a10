//! A map of activations: height x width x channels, channels innermost, with padding around it.
use crate::kernels::isa::Extent;
use crate::memory::lengthen;
use std::ops::Range;

/// Room around a map, in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pad {
    /// Rows above.
    pub top: usize,
    /// Columns to the left.
    pub left: usize,
    /// Rows below.
    pub bottom: usize,
    /// Columns to the right.
    pub right: usize,
}

impl Pad {
    /// None at all.
    pub const NONE: Self = Self::all(0);

    /// The same on all four sides.
    pub const fn all(n: usize) -> Self {
        Self { top: n, left: n, bottom: n, right: n }
    }

    /// TensorFlow's SAME: output `ceil(n / stride)`, the odd pixel of padding below and to the right.
    pub fn same(height: usize, width: usize, kernel: usize, stride: usize) -> Self {
        let total = |n: usize| ((n.div_ceil(stride) - 1) * stride + kernel).saturating_sub(n);
        let (rows, columns) = (total(height), total(width));
        Self { top: rows / 2, left: columns / 2, bottom: rows - rows / 2, right: columns - columns / 2 }
    }

    /// How many values a map of this inner size has with this padding.
    pub(super) fn len(self, height: usize, width: usize, channels: usize) -> usize {
        (self.top + height + self.bottom) * (self.left + width + self.right) * channels
    }
}

/// What stands in the padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Border {
    /// Zeros.
    Zero,
    /// The pixel at the edge, repeated.
    Edge,
    /// The mirror image, the edge itself not repeated (TensorFlow's REFLECT, PyTorch's `reflect`).
    Reflect,
}

impl Border {
    /// The pixel of `0..n` that stands at `i`, which may lie outside; `None` is a zero.
    pub fn index(self, i: isize, n: usize) -> Option<usize> {
        let last = n as isize - 1;
        match self {
            _ if (0..=last).contains(&i) => Some(i as usize),
            Self::Zero => None,
            Self::Edge => Some(i.clamp(0, last) as usize),
            // Clamped at last, for maps narrower than their padding.
            Self::Reflect => Some(if i < 0 { -i } else { 2 * last - i }.clamp(0, last) as usize),
        }
    }
}

/// One image's activations: float32, or bytes, as in [`super::quantize::Quantized`].
#[derive(Clone, Debug, Default)]
pub struct FeatureMap<T = f32> {
    data: Vec<T>,
    height: usize,
    width: usize,
    channels: usize,
    pad: Pad,
    range: Option<Extent>,
}

/// How many values beyond the last pixel may be read.
pub(super) const SLACK: usize = 3;

impl<T: Copy + Default> FeatureMap<T> {
    /// A map of this shape, contents arbitrary.
    pub fn new(height: usize, width: usize, channels: usize, pad: Pad) -> Self {
        let mut map = Self { data: vec![], height, width, channels, pad, range: None };
        map.reshape(height, width, channels, pad);
        map
    }

    /// Gives the map another shape in the same memory; contents become arbitrary.
    pub fn reshape(&mut self, height: usize, width: usize, channels: usize, pad: Pad) {
        (self.height, self.width, self.channels, self.pad) = (height, width, channels, pad);
        self.range = None;
        // Never shrunk, so that growing back costs nothing.
        if self.data.len() < self.len() + SLACK {
            let len = self.len() + SLACK;
            lengthen("images", &mut self.data, len, T::default());
        }
    }

    /// What the numbers, padding included, are known to lie in.
    pub fn range(&self) -> Option<Extent> {
        self.range
    }

    /// Says what the numbers lie in; forgotten when they may change.
    pub fn set_range(&mut self, range: Extent) {
        self.range = Some(range);
    }

    /// All of it, to read.
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

    /// Of memory, in use or not.
    pub fn bytes(&self) -> usize {
        self.data.capacity() * size_of::<T>()
    }

    fn len(&self) -> usize {
        self.pad.len(self.height, self.width, self.channels)
    }

    /// How many there is memory for.
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

    /// The room around it.
    pub fn pad(&self) -> Pad {
        self.pad
    }

    /// Numbers from one row to the next.
    pub fn stride(&self) -> usize {
        (self.pad.left + self.width + self.pad.right) * self.channels
    }

    /// All numbers, padding included.
    pub fn as_slice(&self) -> &[T] {
        &self.data[..self.len()]
    }

    /// All numbers, padding included.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        self.range = None;
        let len = self.len();
        &mut self.data[..len]
    }

    /// Where the pixel at (0, 0) begins in [`FeatureMap::as_slice`].
    pub fn origin(&self) -> usize {
        self.pad.top * self.stride() + self.pad.left * self.channels
    }

    /// Row `y` without its padding: width x channels numbers.
    pub fn row(&self, y: usize) -> &[T] {
        &self.data[self.row_range(y)]
    }

    /// Row `y` without its padding.
    pub fn row_mut(&mut self, y: usize) -> &mut [T] {
        self.range = None;
        let range = self.row_range(y);
        &mut self.data[range]
    }

    fn row_range(&self, y: usize) -> Range<usize> {
        let start = self.origin() + y * self.stride();
        start..start + self.width * self.channels
    }

    /// Moves the last `n` rows to the top. For a map without padding above and below, which may become higher or lower by
    /// [`FeatureMap::reshape`] and keeps its rows if nothing else changes.
    pub fn keep_last_rows(&mut self, n: usize) {
        let (stride, len) = (self.stride(), self.len());
        self.data.copy_within(len - n * stride..len, 0);
    }

    /// Fills the padding left and right of these rows, and the whole of these others, with `zero`: one
    /// number, or one for each channel. As [`FeatureMap::keep_last_rows`], for a map without padding above and below.
    pub fn fill_zeros(&mut self, zero: &[T], sides: Range<usize>, whole: impl Iterator<Item = usize>) {
        let (stride, c, pad) = (self.stride(), self.channels, self.pad);
        for y in sides {
            let row = &mut self.data[y * stride..(y + 1) * stride];
            fill(&mut row[..pad.left * c], zero);
            fill(&mut row[stride - pad.right * c..], zero);
        }
        whole.for_each(|y| fill(&mut self.data[y * stride..(y + 1) * stride], zero));
    }

    /// Fills the padding from the inside, or where the border is [`Border::Zero`] with this number, or that of each channel.
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

/// Fills whole pixels with one number, or with that of each channel.
fn fill<T: Copy>(pixels: &mut [T], with: &[T]) {
    match with {
        &[one] => pixels.fill(one),
        _ => pixels.chunks_exact_mut(with.len()).for_each(|pixel| pixel.copy_from_slice(with)),
    }
}

impl FeatureMap {
    /// Fills the padding from the inside.
    pub fn fill_border(&mut self, border: Border) {
        self.fill_border_with(border, &[0.0]);
    }
}

/// A map to read, with all of its padding or less.
#[derive(Clone, Copy, Debug)]
pub struct MapView<'a, T = f32> {
    /// From the first pixel of the padding to the last, and beyond.
    pub data: &'a [T],
    /// Numbers from one row to the next.
    pub stride: usize,
    /// Rows, without the padding.
    pub height: usize,
    /// Columns, without the padding.
    pub width: usize,
    /// Channels.
    pub channels: usize,
    /// The room around it.
    pub pad: Pad,
    /// See [`FeatureMap::range`].
    pub range: Option<Extent>,
}

impl<T> MapView<'_, T> {
    /// The same with no more padding than this.
    ///
    /// # Panics
    /// If it has less.
    pub fn trimmed(self, pad: Pad) -> Self {
        let has = self.pad;
        assert!(
            pad.top <= has.top && pad.left <= has.left && pad.bottom <= has.bottom && pad.right <= has.right,
            "{has:?} cannot be trimmed to {pad:?}"
        );
        let first = (has.top - pad.top) * self.stride + (has.left - pad.left) * self.channels;
        Self { data: &self.data[first..], pad, ..self }
    }

    /// Some rows of a map without padding above and below.
    ///
    /// # Panics
    /// If it has such padding, or not these rows.
    pub fn rows(self, rows: Range<usize>) -> Self {
        assert!(self.pad.top + self.pad.bottom == 0 && rows.end <= self.height, "rows {rows:?} of {:?}", self.pad);
        Self { data: &self.data[rows.start * self.stride..], height: rows.len(), ..self }
    }

    /// Rows and columns with the padding.
    pub fn padded_size(&self) -> (usize, usize) {
        (self.pad.top + self.height + self.pad.bottom, self.pad.left + self.width + self.pad.right)
    }

    /// The rows, padding included.
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
