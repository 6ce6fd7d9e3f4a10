//! What convolutions read and write: float32, or bytes on the paths that multiply those.
use crate::kernels::inference::feature_map::{Border, FeatureMap, MapView, Pad};
use crate::kernels::inference::quantize::{Grid, QuantizeScratch, Quantized, QuantizedView};
use crate::kernels::isa::{Extent, Isa};
use std::ops::Range;

/// A map for a convolution to read, in the numbers that its path multiplies: [`super::spare_maps::SpareMaps::take_any`] gives them.
#[derive(Debug)]
pub enum AnyMap {
    /// As they are.
    Floats(FeatureMap),
    /// Within a range.
    Bytes(Quantized),
}

/// A map to read.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// As they are. A path in bytes quantizes them first.
    Floats(MapView<'a>),
    /// For paths in bytes alone.
    Bytes(QuantizedView<'a>),
}

/// A map to write.
#[derive(Debug)]
pub enum Output<'a> {
    /// As they come.
    Floats(&'a mut FeatureMap),
    /// Within the range that they have been given; for paths in bytes alone.
    Bytes(&'a mut Quantized),
}

impl AnyMap {
    /// Rows and columns without the padding, and channels.
    pub fn shape(&self) -> (usize, usize, usize) {
        match self {
            Self::Floats(map) => (map.height(), map.width(), map.channels()),
            Self::Bytes(bytes) => (bytes.map.height(), bytes.map.width(), bytes.map.channels()),
        }
    }

    /// As [`FeatureMap::reshape`].
    pub fn reshape(&mut self, height: usize, width: usize, channels: usize, pad: Pad) {
        match self {
            Self::Floats(map) => map.reshape(height, width, channels, pad),
            Self::Bytes(bytes) => bytes.map.reshape(height, width, channels, pad),
        }
    }

    /// Of memory, in use or not.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Floats(map) => map.bytes(),
            Self::Bytes(bytes) => bytes.map.bytes(),
        }
    }

    /// Says what the numbers that will be written lie in. Floats need not know.
    pub fn set_range(&mut self, range: Extent) {
        if let Self::Bytes(bytes) = self {
            bytes.set_range(range);
        }
    }

    /// As [`FeatureMap::fill_border`].
    pub fn fill_border(&mut self, border: Border) {
        match self {
            Self::Floats(map) => map.fill_border(border),
            Self::Bytes(bytes) => bytes.map.fill_border_with(border, &bytes.zero),
        }
    }

    /// As [`FeatureMap::keep_last_rows`].
    pub fn keep_last_rows(&mut self, n: usize) {
        match self {
            Self::Floats(map) => map.keep_last_rows(n),
            Self::Bytes(bytes) => bytes.map.keep_last_rows(n),
        }
    }

    /// As [`FeatureMap::fill_zeros`].
    pub fn fill_zeros(&mut self, sides: Range<usize>, whole: impl Iterator<Item = usize>) {
        match self {
            Self::Floats(map) => map.fill_zeros(&[0.0], sides, whole),
            Self::Bytes(bytes) => bytes.map.fill_zeros(&bytes.zero, sides, whole),
        }
    }

    /// Copies all rows of a map of the same numbers and width, without padding above and below, to the rows from `first` on.
    ///
    /// # Panics
    /// If the numbers or the widths differ.
    pub fn copy_rows(&mut self, first: usize, from: Input) {
        match (self, from) {
            (Self::Floats(map), Input::Floats(from)) => {
                from.padded_rows().enumerate().for_each(|(y, row)| map.row_mut(first + y).copy_from_slice(row));
            }
            (Self::Bytes(bytes), Input::Bytes(from)) => {
                from.scale.clone_into(&mut bytes.scale);
                from.zero.clone_into(&mut bytes.zero);
                let rows = from.view.padded_rows().enumerate();
                rows.for_each(|(y, row)| bytes.map.row_mut(first + y).copy_from_slice(row));
            }
            (to, from) => panic!("{from:?} into {to:?}"),
        }
    }

    /// All of it, to read.
    pub fn view(&self) -> Input<'_> {
        match self {
            Self::Floats(map) => Input::Floats(map.view()),
            Self::Bytes(bytes) => Input::Bytes(bytes.view()),
        }
    }

    /// All of it, to write.
    pub fn output(&mut self) -> Output<'_> {
        match self {
            Self::Floats(map) => Output::Floats(map),
            Self::Bytes(bytes) => Output::Bytes(bytes),
        }
    }
}

impl<'a> Input<'a> {
    /// In bytes: quantized on this grid, if it is not.
    pub(super) fn in_bytes(self, isa: Isa, grid: Grid, scratch: &'a mut QuantizeScratch) -> QuantizedView<'a> {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Floats(view) => scratch.bytes(isa, view, grid),
        }
    }

    /// As [`MapView::trimmed`].
    pub fn trimmed(self, pad: Pad) -> Self {
        match self {
            Self::Floats(view) => Self::Floats(view.trimmed(pad)),
            Self::Bytes(bytes) => Self::Bytes(QuantizedView { view: bytes.view.trimmed(pad), ..bytes }),
        }
    }

    /// As [`MapView::rows`].
    pub fn rows(self, rows: Range<usize>) -> Self {
        match self {
            Self::Floats(view) => Self::Floats(view.rows(rows)),
            Self::Bytes(bytes) => Self::Bytes(QuantizedView { view: bytes.view.rows(rows), ..bytes }),
        }
    }

    /// Rows and columns without the padding, and channels.
    pub fn shape(&self) -> (usize, usize, usize) {
        match self {
            Self::Floats(view) => (view.height, view.width, view.channels),
            Self::Bytes(QuantizedView { view, .. }) => (view.height, view.width, view.channels),
        }
    }

    /// The room around it.
    pub fn pad(&self) -> Pad {
        match self {
            Self::Floats(view) => view.pad,
            Self::Bytes(bytes) => bytes.view.pad,
        }
    }
}

impl Output<'_> {
    /// Rows and columns without the padding, and channels.
    pub fn shape(&self) -> (usize, usize, usize) {
        match self {
            Self::Floats(map) => (map.height(), map.width(), map.channels()),
            Self::Bytes(bytes) => (bytes.map.height(), bytes.map.width(), bytes.map.channels()),
        }
    }
}

impl<'a> From<&'a FeatureMap> for Input<'a> {
    fn from(map: &'a FeatureMap) -> Self {
        Self::Floats(map.view())
    }
}

impl<'a> From<MapView<'a>> for Input<'a> {
    fn from(view: MapView<'a>) -> Self {
        Self::Floats(view)
    }
}

impl<'a> From<&'a AnyMap> for Input<'a> {
    fn from(map: &'a AnyMap) -> Self {
        map.view()
    }
}

impl<'a> From<&'a mut FeatureMap> for Output<'a> {
    fn from(map: &'a mut FeatureMap) -> Self {
        Self::Floats(map)
    }
}

impl<'a> From<&'a mut AnyMap> for Output<'a> {
    fn from(map: &'a mut AnyMap) -> Self {
        map.output()
    }
}
