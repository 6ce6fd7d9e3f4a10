//! Sixteen floats in a 512-bit register.
#![cfg(target_arch = "x86_64")]
#![allow(unsafe_code)]
use super::{InstructionSet, Row};
use crate::kernels::isa::lanes::{Kernel, Lanes};
use std::arch::x86_64::*;
use std::ops::Range;

/// AVX-512 F, BW, DQ and VL.
pub(super) struct Avx512Set;

impl InstructionSet for Avx512Set {
    const ROW: Row = Row {
        name: "avx512",
        is_supported: || {
            is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
        },
        lanes: Avx512::N,
        many_registers: Avx512::MANY_REGISTERS,
        bytes: None,
        includes_avx2: true,
    };

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    unsafe fn enter<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<Avx512>()
    }
}

#[derive(Clone, Copy)]
pub(super) struct Avx512(pub(super) __m512);

// SAFETY of every block below: a kernel reaches these lanes only through `enter`, so the CPU has the instructions;
// addresses are guaranteed by the caller.
impl Lanes for Avx512 {
    const N: usize = 16;
    const MANY_REGISTERS: bool = true;

    #[inline(always)]
    fn splat(x: f32) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_set1_ps(x) })
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_loadu_ps(from) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: see above.
        unsafe { _mm512_storeu_ps(to, self.0) }
    }

    #[inline(always)]
    unsafe fn load_some(from: *const f32, lanes: Range<usize>) -> Self {
        // SAFETY: see above; lanes outside the mask are not read.
        Self(unsafe { _mm512_maskz_loadu_ps(mask(lanes), from) })
    }

    #[inline(always)]
    unsafe fn store_some(self, to: *mut f32, lanes: Range<usize>) {
        // SAFETY: see above; lanes outside the mask are not written.
        unsafe { _mm512_mask_storeu_ps(to, mask(lanes), self.0) }
    }

    #[inline(always)]
    unsafe fn load_pixels(from: *const u8, lanes: Range<usize>) -> Self {
        // SAFETY: see above; lanes outside the mask are not read.
        unsafe {
            let bytes = _mm_maskz_loadu_epi8(mask(lanes), from.cast());
            Self(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes)))
        }
    }

    #[inline(always)]
    unsafe fn store_pixels(self, to: *mut u8, used: usize) {
        // SAFETY: see above; lanes outside the mask are not written.
        unsafe { _mm512_mask_cvtepi32_storeu_epi8(to.cast(), mask(0..used), _mm512_cvttps_epi32(self.0)) }
    }

    #[inline(always)]
    fn div(self, by: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_div_ps(self.0, by.0) })
    }

    #[inline(always)]
    fn times_two_to(self, n: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_scalef_ps(self.0, n.0) })
    }

    #[inline(always)]
    fn mul_add(self, by: Self, plus: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_fmadd_ps(self.0, by.0, plus.0) })
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_max_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_min_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn mirror(pixels: [u8; 16]) -> [u8; 16] {
        super::avx2::mirror(pixels)
    }
}

#[inline(always)]
pub(super) fn mask(lanes: Range<usize>) -> __mmask16 {
    ((1_u32 << lanes.end) - (1_u32 << lanes.start)) as __mmask16
}
