//! Inputs and outputs of convolutions, in float32 or in bytes. A *byte path* is a kernel path that multiplies bytes.
use crate::kernels::inference::feature_map::{Border, FeatureMap, MapView, Pad};
use crate::kernels::inference::quantize::{Grid, QuantizeScratch, Quantized, QuantizedView};
use crate::kernels::isa::{Extent, Isa};
use std::ops::Range;

/// A feature map in float32 or in bytes. [`super::spare_maps::SpareMaps::take_any`] chooses the type for a kernel path.
#[derive(Debug)]
pub enum AnyMap {
    /// float32 values.
    Floats(FeatureMap),
    /// Bytes, quantized over the range of the map or of each channel.
    Bytes(Quantized),
}

/// A feature map, for reading.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// float32 values. A byte path quantizes them first.
    Floats(MapView<'a>),
    /// Bytes; only for byte paths.
    Bytes(QuantizedView<'a>),
}

/// A feature map, for writing.
#[derive(Debug)]
pub enum Output<'a> {
    /// float32 values.
    Floats(&'a mut FeatureMap),
    /// Bytes, quantized over the range set by [`AnyMap::set_range`]; only for byte paths.
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

    /// The same as [`FeatureMap::reshape`].
    pub fn reshape(&mut self, height: usize, width: usize, channels: usize, pad: Pad) {
        match self {
            Self::Floats(map) => map.reshape(height, width, channels, pad),
            Self::Bytes(bytes) => bytes.map.reshape(height, width, channels, pad),
        }
    }

    /// Size of the allocated memory in bytes.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Floats(map) => map.bytes(),
            Self::Bytes(bytes) => bytes.map.bytes(),
        }
    }

    /// Sets the range for quantizing values that are written later. Has no effect on float32 maps.
    pub fn set_range(&mut self, range: Extent) {
        if let Self::Bytes(bytes) = self {
            bytes.set_range(range);
        }
    }

    /// The same as [`FeatureMap::fill_border`].
    pub fn fill_border(&mut self, border: Border) {
        match self {
            Self::Floats(map) => map.fill_border(border),
            Self::Bytes(bytes) => bytes.map.fill_border_with(border, &bytes.zero),
        }
    }

    /// The same as [`FeatureMap::keep_last_rows`].
    pub fn keep_last_rows(&mut self, n: usize) {
        match self {
            Self::Floats(map) => map.keep_last_rows(n),
            Self::Bytes(bytes) => bytes.map.keep_last_rows(n),
        }
    }

    /// The same as [`FeatureMap::fill_zeros`].
    pub fn fill_zeros(&mut self, sides: Range<usize>, whole: impl Iterator<Item = usize>) {
        match self {
            Self::Floats(map) => map.fill_zeros(&[0.0], sides, whole),
            Self::Bytes(bytes) => bytes.map.fill_zeros(&bytes.zero, sides, whole),
        }
    }

    /// Copies all rows of `from` to the rows of this map from `first` on. Both maps must have the same type, and no padding
    /// above or below. A row of `from`, including any padding, must be as long as a row of this map without padding.
    ///
    /// # Panics
    /// If the types or the lengths of the rows differ, or this map has too few rows.
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

    /// The whole map, for reading.
    pub fn view(&self) -> Input<'_> {
        match self {
            Self::Floats(map) => Input::Floats(map.view()),
            Self::Bytes(bytes) => Input::Bytes(bytes.view()),
        }
    }

    /// The whole map, for writing.
    pub fn output(&mut self) -> Output<'_> {
        match self {
            Self::Floats(map) => Output::Floats(map),
            Self::Bytes(bytes) => Output::Bytes(bytes),
        }
    }
}

impl<'a> Input<'a> {
    /// Returns the map in bytes. A float32 map is first quantized, with the ranges that `grid` selects.
    pub(super) fn in_bytes(self, isa: Isa, grid: Grid, scratch: &'a mut QuantizeScratch) -> QuantizedView<'a> {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Floats(view) => scratch.bytes(isa, view, grid),
        }
    }

    /// The same as [`MapView::trimmed`].
    pub fn trimmed(self, pad: Pad) -> Self {
        match self {
            Self::Floats(view) => Self::Floats(view.trimmed(pad)),
            Self::Bytes(bytes) => Self::Bytes(QuantizedView { view: bytes.view.trimmed(pad), ..bytes }),
        }
    }

    /// The same as [`MapView::rows`].
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

    /// The padding.
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
