//! Eight floats in a 256-bit register.
#![cfg(target_arch = "x86_64")]
#![allow(unsafe_code)]
use super::{Kernel, Lanes};
use std::arch::x86_64::*;
use std::ops::Range;

/// Runs a kernel compiled for this instruction set.
///
/// # Safety
/// The CPU has it.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn enter<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Avx2>()
}

#[derive(Clone, Copy)]
pub(super) struct Avx2(__m256);

// SAFETY of every block below: a kernel comes to these lanes through `enter` alone, so the CPU has the instructions;
// addresses are the caller's word.
impl Lanes for Avx2 {
    const N: usize = 8;
    const MANY_REGISTERS: bool = false;

    #[inline(always)]
    fn splat(x: f32) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_set1_ps(x) })
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_loadu_ps(from) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: see above.
        unsafe { _mm256_storeu_ps(to, self.0) }
    }

    #[inline(always)]
    unsafe fn load_some(from: *const f32, lanes: Range<usize>) -> Self {
        // SAFETY: see above; lanes outside the mask are not read.
        Self(unsafe { _mm256_maskload_ps(from, mask(lanes)) })
    }

    #[inline(always)]
    unsafe fn store_some(self, to: *mut f32, lanes: Range<usize>) {
        // SAFETY: see above; lanes outside the mask are not written.
        unsafe { _mm256_maskstore_ps(to, mask(lanes), self.0) }
    }

    #[inline(always)]
    fn mul_add(self, by: Self, plus: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_fmadd_ps(self.0, by.0, plus.0) })
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_max_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_min_ps(self.0, other.0) })
    }
}

#[inline(always)]
fn mask(lanes: Range<usize>) -> __m256i {
    // SAFETY: as above.
    unsafe {
        let lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        let before = _mm256_cmpgt_epi32(_mm256_set1_epi32(lanes.start as i32), lane);
        let up_to = _mm256_cmpgt_epi32(_mm256_set1_epi32(lanes.end as i32), lane);
        _mm256_andnot_si256(before, up_to)
    }
}
