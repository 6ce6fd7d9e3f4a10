//! Floating-point types of the values in weight files, and their conversion to float32.
use crate::error::Result;
use crate::memory;
use half::{bf16, f16};

/// A floating-point type, little endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// IEEE double precision, which is rounded to float32.
    F64,
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// bfloat16, the upper half of IEEE single precision.
    Bf16,
}

impl Stored {
    /// Returns the size of a value in bytes.
    pub fn size(self) -> u64 {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    /// Converts these bytes to float32.
    ///
    /// # Errors
    /// There is not enough memory; the error names `what`.
    pub fn to_f32(self, what: &str, bytes: &[u8]) -> Result<Vec<f32>> {
        let mut numbers = memory::room(what, bytes.len() / self.size() as usize)?;
        let halves = bytes.as_chunks::<2>().0.iter();
        match self {
            Self::F64 => numbers.extend(bytes.as_chunks::<8>().0.iter().map(|&x| f64::from_le_bytes(x) as f32)),
            Self::F32 => numbers.extend(bytes.as_chunks::<4>().0.iter().map(|&x| f32::from_le_bytes(x))),
            Self::F16 => numbers.extend(halves.map(|&x| f16::from_le_bytes(x).to_f32())),
            Self::Bf16 => numbers.extend(halves.map(|&x| bf16::from_le_bytes(x).to_f32())),
        }
        Ok(numbers)
    }
}

#[cfg(test)]
mod tests {
    use super::Stored;

    #[test]
    fn numbers_are_read_in_every_type() {
        let wanted = [1.5_f32, -2.0, 0.0];
        let (f16, bf16) = (half::f16::from_f32, half::bf16::from_f32);
        let stored: [(Stored, Vec<u8>); 4] = [
            (Stored::F64, wanted.iter().flat_map(|&x| f64::from(x).to_le_bytes()).collect()),
            (Stored::F32, wanted.iter().flat_map(|x| x.to_le_bytes()).collect()),
            (Stored::F16, wanted.iter().flat_map(|&x| f16(x).to_le_bytes()).collect()),
            (Stored::Bf16, wanted.iter().flat_map(|&x| bf16(x).to_le_bytes()).collect()),
        ];
        for (kind, bytes) in stored {
            assert_eq!(bytes.len() as u64, 3 * kind.size());
            assert_eq!(kind.to_f32("weights", &bytes).unwrap(), wanted, "{kind:?}");
        }
    }
}
