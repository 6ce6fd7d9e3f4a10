//! Eight floats in a 256-bit register.
#![cfg(target_arch = "x86_64")]
#![allow(unsafe_code)]
use super::{ByteProducts, InstructionSet, Row};
use crate::kernels::isa::lanes::{ByteKernel, Kernel, Lanes, MIRRORED};
use std::arch::x86_64::*;
use std::ops::Range;

/// AVX2 with FMA.
pub(super) struct Avx2Set;

impl InstructionSet for Avx2Set {
    const ROW: Row = Row {
        name: "avx2",
        is_supported: || is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
        lanes: Avx2::N,
        many_registers: Avx2::MANY_REGISTERS,
        bytes: Some(ByteProducts { pairs_in_16_bits: true }),
        includes_avx2: true,
    };

    #[target_feature(enable = "avx2,fma")]
    unsafe fn enter<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<Avx2>()
    }

    #[target_feature(enable = "avx2,fma")]
    unsafe fn enter_bytes<K: ByteKernel>(kernel: K) {
        kernel.run::<Avx2>();
    }
}

#[derive(Clone, Copy)]
pub(super) struct Avx2(pub(super) __m256);

// SAFETY of every block below: a kernel reaches these lanes only through `enter`, so the CPU has the instructions;
// addresses are guaranteed by the caller.
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
        // SAFETY: see above; lanes outside the range are not written.
        unsafe {
            match lanes {
                Range { start: 0, end } => self.store_first(to, end),
                _ => _mm256_maskstore_ps(to, mask(lanes), self.0),
            }
        }
    }

    #[inline(always)]
    unsafe fn load_pixels(from: *const u8, lanes: Range<usize>) -> Self {
        let mut some = [0; 8];
        // SAFETY: see above.
        unsafe {
            let eight = if lanes == (0..8) {
                from
            } else {
                std::ptr::copy_nonoverlapping(from.add(lanes.start), some.as_mut_ptr().add(lanes.start), lanes.len());
                some.as_ptr()
            };
            Self(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(eight.cast()))))
        }
    }

    #[inline(always)]
    unsafe fn store_pixels(self, to: *mut u8, used: usize) {
        // SAFETY: see above.
        unsafe {
            let integers = _mm256_cvttps_epi32(self.0);
            let words = _mm_packus_epi32(_mm256_castsi256_si128(integers), _mm256_extracti128_si256::<1>(integers));
            let bytes = _mm_packus_epi16(words, words);
            if used == 8 {
                _mm_storel_epi64(to.cast(), bytes);
            } else {
                let mut all = [0_u8; 16];
                _mm_storeu_si128(all.as_mut_ptr().cast(), bytes);
                std::ptr::copy_nonoverlapping(all.as_ptr(), to, used);
            }
        }
    }

    #[inline(always)]
    fn div(self, by: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_div_ps(self.0, by.0) })
    }

    #[inline(always)]
    fn times_two_to(self, n: Self) -> Self {
        // SAFETY: see above.
        unsafe {
            let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n.0), _mm256_set1_epi32(127));
            Self(_mm256_mul_ps(self.0, _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent))))
        }
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

    #[inline(always)]
    fn mirror(pixels: [u8; 16]) -> [u8; 16] {
        mirror(pixels)
    }
}

impl Avx2 {
    /// Writes the first `used` lanes with up to three stores of 4, 2 and 1 floats. A masked store takes dozens of cycles on
    /// some CPUs.
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, used: usize) {
        // SAFETY: see above; lanes from `used` on are not written.
        unsafe {
            if used == 8 {
                return _mm256_storeu_ps(to, self.0);
            }
            let (mut to, mut rest) = (to, _mm256_castps256_ps128(self.0));
            if used & 4 > 0 {
                _mm_storeu_ps(to, rest);
                (to, rest) = (to.add(4), _mm256_extractf128_ps::<1>(self.0));
            }
            if used & 2 > 0 {
                _mm_storel_pd(to.cast(), _mm_castps_pd(rest));
                (to, rest) = (to.add(2), _mm_movehl_ps(rest, rest));
            }
            if used & 1 > 0 {
                _mm_store_ss(to, rest);
            }
        }
    }
}

/// [`Lanes::mirror`] for instruction sets that include AVX2.
#[inline(always)]
pub(super) fn mirror(pixels: [u8; 16]) -> [u8; 16] {
    let mut out = [0; 16];
    // SAFETY: as above; each address points to sixteen bytes.
    unsafe {
        let order = _mm_loadu_si128(MIRRORED.as_ptr().cast());
        let pixels = _mm_loadu_si128(pixels.as_ptr().cast());
        _mm_storeu_si128(out.as_mut_ptr().cast(), _mm_shuffle_epi8(pixels, order));
    }
    out
}

#[inline(always)]
pub(super) fn mask(lanes: Range<usize>) -> __m256i {
    // SAFETY: as above.
    unsafe {
        let lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        let before = _mm256_cmpgt_epi32(_mm256_set1_epi32(lanes.start as i32), lane);
        let up_to = _mm256_cmpgt_epi32(_mm256_set1_epi32(lanes.end as i32), lane);
        _mm256_andnot_si256(before, up_to)
    }
}
