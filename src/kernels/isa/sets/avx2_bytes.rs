//! Products of bytes with AVX2: eight 32-bit sums in a 256-bit register. Pairs of products are first added in 16 bits, and the
//! sums of the pairs then in 32 bits.
//!
//! The sum of a pair of products must fit in 16 bits. Each weight, and the sum of the two weights of a pair, is therefore at
//! most 128 in absolute value ([`super::Isa::largest_weight`]).
#![cfg(target_arch = "x86_64")]
#![allow(unsafe_code)]
use super::avx2::{Avx2, mask};
use crate::kernels::isa::lanes::ByteLanes;
use std::arch::x86_64::*;
use std::ops::Range;

// SAFETY of every block below: a kernel reaches `ByteLanes` only through `enter_bytes`, so the CPU has AVX2;
// addresses are guaranteed by the caller.
impl ByteLanes for Avx2 {
    type Sums = __m256i;

    #[inline(always)]
    fn zero() -> __m256i {
        // SAFETY: see above.
        unsafe { _mm256_setzero_si256() }
    }

    #[inline(always)]
    unsafe fn weights(from: *const i8) -> __m256i {
        // SAFETY: see above.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }

    #[inline(always)]
    unsafe fn pixels(from: *const u8) -> __m256i {
        // SAFETY: see above.
        unsafe { _mm256_set1_epi32(from.cast::<i32>().read_unaligned()) }
    }

    #[inline(always)]
    fn dot(sums: __m256i, pixels: __m256i, weights: __m256i) -> __m256i {
        // SAFETY: see above.
        unsafe {
            let pairs = _mm256_maddubs_epi16(pixels, weights);
            _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
        }
    }

    #[inline(always)]
    fn dot_words(sums: __m256i, pixels: __m256i, weights: __m256i) -> __m256i {
        // SAFETY: see above.
        unsafe { _mm256_add_epi32(sums, _mm256_madd_epi16(pixels, weights)) }
    }

    #[inline(always)]
    unsafe fn store_words(self, to: *mut i16, used: usize) {
        // SAFETY: see above; lanes from `used` on are not written.
        unsafe {
            let numbers = _mm256_cvtps_epi32(self.0);
            let words = _mm_packs_epi32(_mm256_castsi256_si128(numbers), _mm256_extracti128_si256::<1>(numbers));
            if used == 8 {
                _mm_storeu_si128(to.cast(), words);
            } else {
                let mut all = [0_i16; 8];
                _mm_storeu_si128(all.as_mut_ptr().cast(), words);
                std::ptr::copy_nonoverlapping(all.as_ptr(), to, used);
            }
        }
    }

    #[inline(always)]
    fn float(sums: __m256i) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_cvtepi32_ps(sums) })
    }

    #[inline(always)]
    unsafe fn interleave(rows: [*const u8; 4], used: usize) -> [__m256i; 4] {
        // SAFETY: see above; bytes from `used` on are not read.
        unsafe {
            let [a, b, c, d] = rows;
            let (a, b, c, d) = (load(a, used), load(b, used), load(c, used), load(d, used));
            let (low, high) = (_mm256_unpacklo_epi8(a, b), _mm256_unpackhi_epi8(a, b));
            let (low2, high2) = (_mm256_unpacklo_epi8(c, d), _mm256_unpackhi_epi8(c, d));
            [
                _mm256_unpacklo_epi16(low, low2),
                _mm256_unpackhi_epi16(low, low2),
                _mm256_unpacklo_epi16(high, high2),
                _mm256_unpackhi_epi16(high, high2),
            ]
        }
    }

    #[inline(always)]
    unsafe fn store_bytes(block: [Self; 4], to: *mut u8, used: usize) {
        // SAFETY: see above.
        unsafe {
            let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
            store(_mm256_permutevar8x32_epi32(pack(block), order), to, used);
        }
    }

    #[inline(always)]
    unsafe fn store_bytes_interleaved(block: [Self; 4], to: *mut u8, used: usize) {
        // SAFETY: see above.
        unsafe { store(pack(block), to, used) }
    }

    #[inline(always)]
    fn ordered([a, b, c, d]: [Self; 4]) -> [Self; 4] {
        // SAFETY: see above.
        unsafe {
            [
                Self(_mm256_permute2f128_ps::<0x20>(a.0, b.0)),
                Self(_mm256_permute2f128_ps::<0x20>(c.0, d.0)),
                Self(_mm256_permute2f128_ps::<0x31>(a.0, b.0)),
                Self(_mm256_permute2f128_ps::<0x31>(c.0, d.0)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn store_some_bytes(self, to: *mut u8, lanes: Range<usize>) {
        // SAFETY: see above; lanes outside the range are not written.
        unsafe {
            let numbers = integers(self);
            let words = _mm_packus_epi32(_mm256_castsi256_si128(numbers), _mm256_extracti128_si256::<1>(numbers));
            let bytes = _mm_packus_epi16(words, words);
            if lanes == (0..8) {
                _mm_storel_epi64(to.cast(), bytes);
            } else {
                let all = _mm_cvtsi128_si64(bytes).to_le_bytes();
                std::ptr::copy_nonoverlapping(all.as_ptr().add(lanes.start), to.add(lanes.start), lanes.len());
            }
        }
    }
}

/// Rounds to the nearest integers, at most 255. NaN becomes the minimum integer; packing then saturates the minimum to 0.
#[inline(always)]
unsafe fn integers(x: Avx2) -> __m256i {
    // SAFETY: guaranteed by the caller. A minimum returns its second operand for NaN.
    unsafe { _mm256_cvtps_epi32(_mm256_min_ps(_mm256_set1_ps(255.0), x.0)) }
}

/// Packs four vectors into bytes, clamped to [0, 255]. The bytes of an interleaved block are packed in their original order.
#[inline(always)]
unsafe fn pack(block: [Avx2; 4]) -> __m256i {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let [a, b, c, d] = block;
        let (ab, cd) = (_mm256_packus_epi32(integers(a), integers(b)), _mm256_packus_epi32(integers(c), integers(d)));
        _mm256_packus_epi16(ab, cd)
    }
}

/// Loads the first `used` bytes, followed by zeros.
#[inline(always)]
unsafe fn load(from: *const u8, used: usize) -> __m256i {
    debug_assert!(0 < used && used <= 32);
    // SAFETY: guaranteed by the caller; bytes from `used` on are not read.
    unsafe {
        match used {
            32 => _mm256_loadu_si256(from.cast()),
            _ if used.is_multiple_of(4) => _mm256_maskload_epi32(from.cast(), mask(0..used / 4)),
            _ => {
                let mut some = [0_u8; 32];
                std::ptr::copy_nonoverlapping(from, some.as_mut_ptr(), used);
                _mm256_loadu_si256(some.as_ptr().cast())
            }
        }
    }
}

#[inline(always)]
unsafe fn store(bytes: __m256i, to: *mut u8, used: usize) {
    debug_assert!(0 < used && used <= 32);
    // SAFETY: guaranteed by the caller; bytes from `used` on are not written.
    unsafe {
        match used {
            32 => _mm256_storeu_si256(to.cast(), bytes),
            _ if used.is_multiple_of(4) => _mm256_maskstore_epi32(to.cast(), mask(0..used / 4), bytes),
            _ => {
                let mut all = [0_u8; 32];
                _mm256_storeu_si256(all.as_mut_ptr().cast(), bytes);
                std::ptr::copy_nonoverlapping(all.as_ptr(), to, used);
            }
        }
    }
}
