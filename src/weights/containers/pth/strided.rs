//! Tensors as torch stores them. A storage is a flat array of values of one type. A tensor is a view of a storage, given by an
//! offset, a shape and strides.
//!
//! The element with index (i, j, ..) is value `offset + i stride_0 + j stride_1 + ..` of the storage.
use crate::error::{Error, Result};
use crate::memory;
use half::{bf16, f16};
use std::ops::Range;
use std::path::Path;

/// Maximum number of axes; tensors of supported networks have fewer.
const MAX_RANK: usize = 8;

/// The type of a storage's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScalarType {
    Half,
    BFloat16,
    Float,
    Double,
    Int,
    Long,
}

impl ScalarType {
    /// Returns the type of the values in one of torch's storage classes, such as `FloatStorage`; `None` if it is not supported.
    pub(super) fn of_storage(class: &str) -> Option<Self> {
        Some(match class {
            "HalfStorage" => Self::Half,
            "BFloat16Storage" => Self::BFloat16,
            "FloatStorage" => Self::Float,
            "DoubleStorage" => Self::Double,
            "IntStorage" => Self::Int,
            "LongStorage" => Self::Long,
            _ => return None,
        })
    }

    /// Returns the size of a value in bytes.
    pub(super) fn size(self) -> usize {
        match self {
            Self::Half | Self::BFloat16 => 2,
            Self::Float | Self::Int => 4,
            Self::Double | Self::Long => 8,
        }
    }

    /// Returns `true` for floating-point types, the only ones that weights have.
    pub(super) fn is_float(self) -> bool {
        !matches!(self, Self::Int | Self::Long)
    }
}

/// A storage, or a view of a storage in a legacy file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Storage<'a> {
    /// The name under which the file holds the bytes of the storage.
    pub(super) key: &'a str,
    /// The type of the values.
    pub(super) scalar: ScalarType,
    /// The number of values in the whole storage.
    pub(super) count: usize,
    /// The index of the view's first value in the storage.
    pub(super) from: usize,
    /// The number of values in the view.
    pub(super) len: usize,
}

/// A tensor as a view of its storage.
#[derive(Clone, Debug)]
pub(super) struct Strided<'a> {
    /// The storage.
    pub(super) storage: Storage<'a>,
    offset: usize,
    shape: Vec<usize>,
    stride: Vec<usize>,
    /// The number of elements.
    pub(super) numbers: usize,
}

impl<'a> Strided<'a> {
    /// Creates a tensor, after a check that it does not exceed its storage; the error states the reason for a failure.
    pub(super) fn new(
        storage: Storage<'a>,
        offset: usize,
        shape: Vec<usize>,
        mut stride: Vec<usize>,
    ) -> std::result::Result<Self, String> {
        if shape.len() != stride.len() || shape.len() > MAX_RANK {
            let (sides, strides) = (shape.len(), stride.len());
            return Err(format!(
                "a tensor has {sides} axes and {strides} strides; the two must be equal, at most {MAX_RANK}"
            ));
        }
        let numbers = shape.iter().try_fold(1_usize, |n, &side| n.checked_mul(side));
        let numbers = numbers.ok_or_else(|| format!("a tensor of shape {shape:?} is more than fits into memory"))?;
        let ways = shape.iter().zip(&stride).map(|(&side, &stride)| side.saturating_sub(1) as u128 * stride as u128);
        let last = ways.fold(offset as u128, u128::saturating_add);
        if numbers > 0 && last >= storage.len as u128 {
            return Err(format!(
                "a tensor of shape {shape:?}, strides {stride:?} and offset {offset} reaches beyond its storage \
                 of {} values",
                storage.len
            ));
        }
        // The stride of an axis of size 1 is never used, so it may be anything.
        stride.iter_mut().zip(&shape).filter(|(_, side)| **side < 2).for_each(|(stride, _)| *stride = 0);
        Ok(Self { storage, offset: if numbers == 0 { 0 } else { offset }, shape, stride, numbers })
    }

    /// Locates the tensor in a file. `place` is the byte range of the tensor's storage. The error states why this range does
    /// not match the storage.
    pub(super) fn placed(&self, place: &Range<usize>) -> std::result::Result<Placed, String> {
        let Self { storage: Storage { key, scalar, count, from, .. }, offset, ref shape, ref stride, numbers } = *self;
        if count.checked_mul(scalar.size()) != Some(place.len()) {
            let bytes = place.len();
            return Err(format!(
                "storage {key:?} of {count} values of {scalar:?} has {bytes} bytes; the file is damaged"
            ));
        }
        // Inside `place`, which is in memory: nothing overflows.
        let start = place.start + (from + offset) * scalar.size();
        Ok(Placed { scalar, start, shape: shape.clone(), stride: stride.clone(), numbers })
    }
}

/// A tensor located in a file.
#[derive(Debug)]
pub(super) struct Placed {
    scalar: ScalarType,
    /// The offset in bytes of the tensor's first element in the file.
    start: usize,
    /// The tensor's shape.
    pub(super) shape: Vec<usize>,
    stride: Vec<usize>,
    numbers: usize,
}

impl Placed {
    /// Reads the elements in row-major order from the bytes of the file. `origin` is the name of the file in errors.
    pub(super) fn read(&self, bytes: &[u8], origin: &Path) -> Result<Vec<f32>> {
        let mut numbers = memory::room(&origin.display().to_string(), self.numbers)?;
        let mut index = vec![0; self.shape.len()];
        let mut at = 0;
        for _ in 0..self.numbers {
            let number = bytes.get(self.start + at * self.scalar.size()..).and_then(|bytes| self.scalar.read(bytes));
            numbers.push(number.ok_or_else(|| Error::weights(origin, "a tensor reaches beyond the file"))?);
            for (axis, index) in index.iter_mut().enumerate().rev() {
                *index += 1;
                at += self.stride[axis];
                if *index < self.shape[axis] {
                    break;
                }
                at -= *index * self.stride[axis];
                *index = 0;
            }
        }
        Ok(numbers)
    }
}

impl ScalarType {
    /// Reads the floating-point value at the start of the bytes; `None` for integers and truncated values.
    fn read(self, bytes: &[u8]) -> Option<f32> {
        Some(match self {
            Self::Half => f16::from_le_bytes(*bytes.first_chunk()?).to_f32(),
            Self::BFloat16 => bf16::from_le_bytes(*bytes.first_chunk()?).to_f32(),
            Self::Float => f32::from_le_bytes(*bytes.first_chunk()?),
            Self::Double => f64::from_le_bytes(*bytes.first_chunk()?) as f32,
            Self::Int | Self::Long => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{ScalarType, Storage, Strided};
    use std::path::Path;

    fn storage(scalar: ScalarType, len: usize) -> Storage<'static> {
        Storage { key: "0", scalar, count: len, from: 0, len }
    }

    fn read(bytes: &[u8], scalar: ScalarType, offset: usize, shape: &[usize], stride: &[usize]) -> Vec<f32> {
        let storage = storage(scalar, bytes.len() / scalar.size());
        let strided = Strided::new(storage, offset, shape.to_vec(), stride.to_vec()).unwrap();
        strided.placed(&(0..bytes.len())).unwrap().read(bytes, Path::new("x.pth")).unwrap()
    }

    #[test]
    fn strides_are_followed() {
        let bytes: Vec<u8> = (0..24).flat_map(|n| (n as f32).to_le_bytes()).collect();
        let read = |offset, shape: &[usize], stride: &[usize]| read(&bytes, ScalarType::Float, offset, shape, stride);
        assert_eq!(read(1, &[2, 3], &[3, 1]), [1., 2., 3., 4., 5., 6.]);
        assert_eq!(read(0, &[3, 2], &[1, 3]), [0., 3., 1., 4., 2., 5.]);
        // Channels last: (2, 3, 2, 2) over (2, 2, 2, 3).
        let expected: Vec<f32> = (0..24).map(|n| (n / 12 * 12 + n % 4 * 3 + n / 4 % 3) as f32).collect();
        assert_eq!(read(0, &[2, 3, 2, 2], &[12, 1, 6, 3]), expected);
        assert_eq!(read(5, &[1, 3], &[usize::MAX >> 1, 0]), [5., 5., 5.]);
        assert_eq!(read(7, &[], &[]), [7.]);
        assert_eq!(read(99, &[2, 0, 3], &[1, 1, 1]), [0.0; 0]);
    }

    #[test]
    fn every_floating_point_type_is_read() {
        let read = |bytes: &[u8], scalar| read(bytes, scalar, 0, &[2], &[1]);
        let doubles: Vec<u8> = [0.1_f64, -3.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(read(&doubles, ScalarType::Double), [0.1, -3.0]);
        assert_eq!(read(&[0x00, 0x3c, 0x00, 0xc2], ScalarType::Half), [1.0, -3.0]);
        assert_eq!(read(&[0x80, 0x3f, 0x40, 0xc0], ScalarType::BFloat16), [1.0, -3.0]);
    }

    #[test]
    fn what_leads_out_of_its_storage_is_refused() {
        let storage = storage(ScalarType::Float, 12);
        let huge = usize::MAX >> 1;
        for (offset, shape, stride) in [
            (7, vec![2, 3], vec![3, 1]),
            (0, vec![2, 3], vec![10, 1]),
            (huge, vec![1], vec![1]),
            (0, vec![2], vec![huge]),
            (0, vec![huge, 4], vec![0, 0]),
            (0, vec![2; 8], vec![huge; 8]),
            (0, vec![1; 9], vec![1; 9]),
            (0, vec![1, 1], vec![1]),
        ] {
            let told = Strided::new(storage, offset, shape, stride).unwrap_err();
            assert!(told.starts_with("a tensor "), "{told}");
        }
        let whole = Strided::new(storage, 0, vec![12], vec![1]).unwrap();
        let told = whole.placed(&(0..47)).unwrap_err();
        assert_eq!(told, "storage \"0\" of 12 values of Float has 47 bytes; the file is damaged");
    }
}
