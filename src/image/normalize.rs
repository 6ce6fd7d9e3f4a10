//! Bytes to numbers, `(x / 255 - mean) / std` for each colour, as torchvision's `ToTensor` and `Normalize` compute it.
use super::Planes;
use crate::error::{Error, Result};

/// What each byte of each colour becomes.
#[derive(Clone, Debug)]
pub struct Normalize {
    table: Box<[[f32; 256]; 3]>,
}

impl Normalize {
    /// With a mean and a standard deviation for each colour, of numbers in [0, 1].
    ///
    /// # Errors
    /// A deviation that is not above 0, or a number that is none.
    pub fn new(mean: [f32; 3], std: [f32; 3]) -> Result<Self> {
        if !std.iter().all(|&std| std > 0.0 && std.is_finite()) {
            return Err(Error::value("std", format!("{std:?}"), "three numbers above 0"));
        }
        if !mean.iter().all(|mean| mean.is_finite()) {
            return Err(Error::value("mean", format!("{mean:?}"), "three finite numbers"));
        }
        let table = std::array::from_fn(|c| std::array::from_fn(|x| (x as f32 / 255.0 - mean[c]) / std[c]));
        Ok(Self { table: Box::new(table) })
    }

    /// Into `[3][height][width]`.
    ///
    /// # Panics
    /// If `out` has not as many numbers as the picture.
    pub fn apply(&self, planes: &Planes, out: &mut [f32]) {
        assert_eq!(out.len(), planes.as_slice().len(), "numbers of a picture");
        let size = planes.height() * planes.width();
        for ((color, out), table) in
            planes.colors().into_iter().zip(out.chunks_exact_mut(size.max(1))).zip(&*self.table)
        {
            for (to, &x) in out.iter_mut().zip(color) {
                *to = table[usize::from(x)];
            }
        }
    }
}
