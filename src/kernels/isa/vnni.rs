//! Sixteen 32-bit sums of products of bytes in a 512-bit register.
#![cfg(target_arch = "x86_64")]
#![allow(unsafe_code)]
use super::avx512::Avx512;
use super::{ByteKernel, ByteLanes};
use std::arch::x86_64::*;

/// Runs a kernel compiled for this instruction set.
///
/// # Safety
/// The CPU has it.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
pub(super) unsafe fn enter<K: ByteKernel>(kernel: K) {
    kernel.run::<Avx512>();
}

// SAFETY of every block below: a kernel comes to these lanes through `enter` alone, so the CPU has the instructions;
// addresses are the caller's word.
impl ByteLanes for Avx512 {
    type Sums = __m512i;

    #[inline(always)]
    fn zero() -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    unsafe fn weights(from: *const i8) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }

    #[inline(always)]
    unsafe fn pixels(from: *const u8) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_set1_epi32(from.cast::<i32>().read_unaligned()) }
    }

    #[inline(always)]
    fn dot(sums: __m512i, pixels: __m512i, weights: __m512i) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_dpbusd_epi32(sums, pixels, weights) }
    }

    #[inline(always)]
    fn float(sums: __m512i) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_cvtepi32_ps(sums) })
    }
}
