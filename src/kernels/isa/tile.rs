//! The innermost loop of matrix products. A tile of sums stays in vector registers while the loop runs over k, the index of
//! summation.
#![allow(unsafe_code)]
use super::lanes::Lanes;

/// The left factor: the value of row m and step k is at offset `m * row + k * step`.
#[derive(Clone, Copy)]
pub(crate) struct Left {
    pub(crate) from: *const f32,
    pub(crate) row: usize,
    pub(crate) step: usize,
}

/// The right factor: the vectors of step k are contiguous and start at offset `k * row`.
#[derive(Clone, Copy)]
pub(crate) struct Right {
    pub(crate) from: *const f32,
    pub(crate) row: usize,
}

/// Prefetches the cache line at `address`, which need not be a valid address. Does nothing on CPUs other than x86-64.
#[inline(always)]
pub(crate) fn prefetch<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 CPU has the instruction, and it has no visible effect.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// Adds `left[m][k] * right[k][v]` to `sums[m][v]` for each of `depth` steps of k, in order.
///
/// # Safety
/// For all `depth` steps, `left` is valid for reads of M rows, and `right` for reads of V vectors.
#[inline(always)]
pub(crate) unsafe fn add_products<L: Lanes, const M: usize, const V: usize>(
    sums: &mut [[L; V]; M],
    left: Left,
    right: Right,
    depth: usize,
) {
    let (mut pixels, mut weights) = (left.from, right.from);
    for _ in 0..depth {
        // SAFETY: guaranteed by the caller.
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
