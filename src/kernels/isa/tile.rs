//! The innermost loop of matrix products: a tile of sums stays in registers while k runs.
#![allow(unsafe_code)]
use super::lanes::Lanes;

/// The left factor: the one of row m and step k stands at `m row + k step`.
#[derive(Clone, Copy)]
pub(crate) struct Left {
    pub(crate) from: *const f32,
    pub(crate) row: usize,
    pub(crate) step: usize,
}

/// The right factor: the vectors of step k stand side by side from `k row` on.
#[derive(Clone, Copy)]
pub(crate) struct Right {
    pub(crate) from: *const f32,
    pub(crate) row: usize,
}

/// Asks for the line at an address, which may be anywhere, to be brought near; nothing where the compiler has no word for it.
#[inline(always)]
pub(crate) fn prefetch<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 has it, and it reads nothing that the program could see.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// `sums[m][v] += left[m][k] right[k][v]`, for each of `depth` steps of k in their order.
///
/// # Safety
/// Both factors can be read for M rows, V vectors and `depth` steps.
#[inline(always)]
pub(crate) unsafe fn add_products<L: Lanes, const M: usize, const V: usize>(
    sums: &mut [[L; V]; M],
    left: Left,
    right: Right,
    depth: usize,
) {
    let (mut pixels, mut weights) = (left.from, right.from);
    for _ in 0..depth {
        // SAFETY: the caller's word.
        unsafe {
            let row: [L; V] = std::array::from_fn(|v| L::load(weights.add(v * L::N)));
            for (m, sums) in sums.iter_mut().enumerate() {
                let by = L::splat(*pixels.add(m * left.row));
                for (sum, x) in sums.iter_mut().zip(row) {
                    *sum = by.mul_add(x, *sum);
                }
            }
        }
        pixels = pixels.wrapping_add(left.step);
        weights = weights.wrapping_add(right.row);
    }
}
