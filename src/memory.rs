//! Fallible allocation for sizes set by users and files, and overflow-checked element counts.
use crate::error::{Error, Result, tuple};
use bytemuck::Zeroable;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// The maximum scratch memory, in bytes, that a thread keeps for its next image: enough for an image of about 1200x1200 pixels.
pub const MOST_KEPT: usize = 64 << 20;

/// Returns the number of elements of a shape.
///
/// # Errors
/// The count overflows; the error names `what`.
pub fn count(what: &str, shape: &[usize]) -> Result<usize> {
    let product = shape.iter().try_fold(1_usize, |n, &side| n.checked_mul(side));
    product.ok_or_else(|| Error::shape(what, "must have fewer elements than memory can hold", tuple(shape)))
}

/// Returns `n` zeros.
///
/// # Errors
/// There is not enough memory; the error names `what`.
pub fn zeros<T: Zeroable>(what: &str, n: usize) -> Result<Vec<T>> {
    bytemuck::try_zeroed_vec(n).map_err(|()| refused::<T>(what, n))
}

/// Returns an empty vector with capacity for `n` elements.
///
/// # Errors
/// The same as [`zeros`].
pub fn room<T>(what: &str, n: usize) -> Result<Vec<T>> {
    let mut room = vec![];
    room.try_reserve_exact(n).map_err(|_| refused::<T>(what, n))?;
    Ok(room)
}

/// Returns the value, or unwinds with the error as payload. [`fallible`] or another panic handler then catches the error. Use
/// this for errors deep inside a calculation that does not return a `Result`.
pub fn or_unwind<T>(found: Result<T>) -> T {
    found.unwrap_or_else(|error| resume_unwind(Box::new(error)))
}

/// Extends a vector to `len` elements with copies of `with`; a vector that already has `len` or more elements is unchanged. If
/// memory is exhausted, unwinds like [`or_unwind`] with an error that names `what`.
pub fn lengthen<T: Clone>(what: &str, numbers: &mut Vec<T>, len: usize, with: T) {
    let more = len.saturating_sub(numbers.len());
    or_unwind(numbers.try_reserve_exact(more).map_err(|_| refused::<T>(what, more)));
    numbers.resize(len.max(numbers.len()), with);
}

/// Runs a calculation. If the calculation unwinds with an [`Error`] as payload (see [`or_unwind`]), returns that error. Other
/// panics are propagated.
///
/// # Errors
/// The calculation unwinds with an [`Error`], usually because memory is exhausted.
pub fn fallible<T>(work: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).or_else(|payload| match payload.downcast::<Error>() {
        Ok(error) => Err(*error),
        Err(other) => resume_unwind(other),
    })
}

fn refused<T>(what: &str, n: usize) -> Error {
    Error::Memory { what: what.into(), bytes: n.saturating_mul(size_of::<T>()) }
}

#[cfg(test)]
mod tests {
    use super::{count, fallible, lengthen, room, zeros};
    use crate::error::Error;

    #[test]
    fn what_no_machine_has_is_an_error() {
        for n in [1 << 58, usize::MAX] {
            let zeros = zeros::<f32>("weights", n).unwrap_err();
            assert!(matches!(zeros, Error::Memory { ref what, .. } if what == "weights"), "{zeros}");
            assert!(matches!(room::<f32>("weights", n), Err(Error::Memory { .. })));
        }
        assert_eq!(zeros::<f32>("weights", 3).unwrap(), [0.0; 3]);
        assert!(room::<u8>("weights", 3).unwrap().capacity() >= 3);
    }

    #[test]
    fn a_calculation_that_wants_for_memory_is_an_error() {
        let mut numbers = vec![1.0_f32];
        let grown = fallible(|| lengthen("a map", &mut numbers, usize::MAX / 8, 0.0));
        assert!(matches!(grown, Err(Error::Memory { .. })));
        fallible(|| lengthen("a map", &mut numbers, 3, 2.0)).unwrap();
        assert_eq!(numbers, [1.0, 2.0, 2.0]);
    }

    #[test]
    fn products_do_not_wrap() {
        assert_eq!(count("size", &[2, 3, 4]).unwrap(), 24);
        assert_eq!(count("size", &[]).unwrap(), 1);
        let told = count("size", &[1 << 33, 1 << 33]).unwrap_err().to_string();
        assert!(
            told.starts_with("size must have fewer elements than memory can hold, got (8589934592, 8589934592)"),
            "{told}"
        );
    }
}
