//! Sixteen 32-bit sums of products of bytes in a 512-bit register.
#![cfg(target_arch = "x86_64")]
#![allow(unsafe_code)]
use super::avx512::{Avx512, Avx512Set, mask};
use super::{ByteProducts, InstructionSet, Row};
use crate::kernels::isa::lanes::{ByteKernel, ByteLanes, Kernel};
use std::arch::x86_64::*;
use std::ops::Range;

/// AVX-512 with VNNI; float kernels run as on AVX-512.
pub(super) struct Avx512VnniSet;

impl InstructionSet for Avx512VnniSet {
    const ROW: Row = Row {
        name: "avx512vnni",
        is_supported: || (Avx512Set::ROW.is_supported)() && is_x86_feature_detected!("avx512vnni"),
        bytes: Some(ByteProducts { pairs_in_16_bits: false }),
        ..Avx512Set::ROW
    };

    unsafe fn enter<K: Kernel>(kernel: K) -> K::Output {
        // SAFETY: guaranteed by the caller: the CPU has AVX-512 and more.
        unsafe { Avx512Set::enter(kernel) }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
    unsafe fn enter_bytes<K: ByteKernel>(kernel: K) {
        kernel.run::<Avx512>();
    }
}

// SAFETY of every block below: a kernel reaches `ByteLanes` only through `enter_bytes`, so the CPU has AVX-512 VNNI;
// addresses are guaranteed by the caller.
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
    fn dot_words(sums: __m512i, pixels: __m512i, weights: __m512i) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_dpwssd_epi32(sums, pixels, weights) }
    }

    #[inline(always)]
    unsafe fn store_words(self, to: *mut i16, used: usize) {
        // SAFETY: see above; lanes outside the mask are not written.
        unsafe {
            let integers = _mm512_cvtps_epi32(self.0);
            match used {
                16 => _mm256_storeu_si256(to.cast(), _mm512_cvtsepi32_epi16(integers)),
                _ => _mm512_mask_cvtsepi32_storeu_epi16(to.cast(), mask(0..used), integers),
            }
        }
    }

    #[inline(always)]
    fn float(sums: __m512i) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_cvtepi32_ps(sums) })
    }

    #[inline(always)]
    unsafe fn interleave(rows: [*const u8; 4], used: usize) -> [__m512i; 4] {
        // SAFETY: see above; bytes outside the mask are not read.
        unsafe {
            let [a, b, c, d] = rows;
            let (a, b, c, d) = (load(a, used), load(b, used), load(c, used), load(d, used));
            let (low, high) = (_mm512_unpacklo_epi8(a, b), _mm512_unpackhi_epi8(a, b));
            let (low2, high2) = (_mm512_unpacklo_epi8(c, d), _mm512_unpackhi_epi8(c, d));
            [
                _mm512_unpacklo_epi16(low, low2),
                _mm512_unpackhi_epi16(low, low2),
                _mm512_unpacklo_epi16(high, high2),
                _mm512_unpackhi_epi16(high, high2),
            ]
        }
    }

    #[inline(always)]
    unsafe fn store_bytes(block: [Self; 4], to: *mut u8, used: usize) {
        // SAFETY: see above.
        unsafe {
            let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
            store(_mm512_permutexvar_epi32(order, pack(block)), to, used);
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
            let (ab, ab2) = (_mm512_shuffle_f32x4::<0x44>(a.0, b.0), _mm512_shuffle_f32x4::<0xEE>(a.0, b.0));
            let (cd, cd2) = (_mm512_shuffle_f32x4::<0x44>(c.0, d.0), _mm512_shuffle_f32x4::<0xEE>(c.0, d.0));
            [
                Self(_mm512_shuffle_f32x4::<0x88>(ab, cd)),
                Self(_mm512_shuffle_f32x4::<0xDD>(ab, cd)),
                Self(_mm512_shuffle_f32x4::<0x88>(ab2, cd2)),
                Self(_mm512_shuffle_f32x4::<0xDD>(ab2, cd2)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn store_some_bytes(self, to: *mut u8, lanes: Range<usize>) {
        // SAFETY: see above; lanes outside the mask are not written.
        unsafe {
            let numbers = _mm512_max_epi32(integers(self), _mm512_setzero_si512());
            _mm512_mask_cvtusepi32_storeu_epi8(to.cast(), mask(lanes), numbers);
        }
    }
}

/// Rounds to the nearest integers, at most 255. NaN becomes the minimum integer; packing then saturates the minimum to 0.
#[inline(always)]
unsafe fn integers(x: Avx512) -> __m512i {
    // SAFETY: guaranteed by the caller. A minimum returns its second operand for NaN.
    unsafe { _mm512_cvtps_epi32(_mm512_min_ps(_mm512_set1_ps(255.0), x.0)) }
}

/// Packs four vectors into bytes, clamped to [0, 255]. The bytes of an interleaved block are packed in their original order.
#[inline(always)]
unsafe fn pack(block: [Avx512; 4]) -> __m512i {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let [a, b, c, d] = block;
        let (ab, cd) = (_mm512_packus_epi32(integers(a), integers(b)), _mm512_packus_epi32(integers(c), integers(d)));
        _mm512_packus_epi16(ab, cd)
    }
}

/// Loads the first `used` bytes, followed by zeros.
#[inline(always)]
unsafe fn load(from: *const u8, used: usize) -> __m512i {
    // SAFETY: guaranteed by the caller; bytes outside the mask are not read.
    unsafe {
        match used {
            64 => _mm512_loadu_si512(from.cast()),
            _ => _mm512_maskz_loadu_epi8(first_bytes(used), from.cast()),
        }
    }
}

#[inline(always)]
unsafe fn store(bytes: __m512i, to: *mut u8, used: usize) {
    // SAFETY: guaranteed by the caller; bytes outside the mask are not written.
    unsafe {
        match used {
            64 => _mm512_storeu_si512(to.cast(), bytes),
            _ => _mm512_mask_storeu_epi8(to.cast(), first_bytes(used), bytes),
        }
    }
}

#[inline(always)]
fn first_bytes(used: usize) -> __mmask64 {
    debug_assert!(0 < used && used <= 64);
    u64::MAX >> (64 - used)
}
