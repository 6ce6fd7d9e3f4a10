//! The kernels for AVX2. The inverse DCT of 8x8 samples and the conversion from YCbCr use intrinsics. The other kernels are the
//! portable code, compiled again for AVX2.
#![cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

// SAFETY of all below: guaranteed by the caller; the CPU has AVX2, as `Kernels::new` checks.

#[target_feature(enable = "avx2")]
pub(super) unsafe extern "C" fn inverse_dct8(
    coefficients: *const i16,
    quantization: *const u16,
    rows: *const *mut u8,
    column: usize,
) {
    // SAFETY: see above.
    unsafe {
        let load = |from: *const i16, i: usize| _mm_loadu_si128(from.add(8 * i).cast());
        let mut x = [_mm_setzero_si128(); 8];
        let mut below = _mm_setzero_si128();
        for (i, x) in x.iter_mut().enumerate() {
            *x = load(coefficients, i);
            below = if i == 0 { below } else { _mm_or_si128(below, *x) };
        }
        let beside = _mm_srli_si128::<2>(x[0]);
        if is_zero(_mm_or_si128(below, beside)) {
            let flat = (*coefficients).wrapping_mul(*quantization as i16).wrapping_shl(2);
            let sample = ((i32::from(flat) + 16) >> 5).clamp(-128, 127) + 128;
            let eight = u64::from_ne_bytes([sample as u8; 8]);
            for i in 0..8 {
                (*rows.add(i)).add(column).cast::<u64>().write_unaligned(eight);
            }
            return;
        }
        for (i, x) in x.iter_mut().enumerate() {
            *x = _mm_mullo_epi16(*x, load(quantization.cast(), i));
        }
        // A single row of frequencies gives eight equal rows.
        let x = if is_zero(below) { [_mm_slli_epi16::<2>(x[0]); 8] } else { pass::<11>(x) };
        store(pass::<18>(transposed(x)), rows, column);
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn is_zero(x: __m128i) -> bool {
    _mm_testz_si128(x, x) != 0
}

/// One pass of the inverse DCT over eight columns at once, like `eight` in `scalar.rs`.
#[inline]
#[target_feature(enable = "avx2")]
fn pass<const BITS: i32>(x: [__m128i; 8]) -> [__m128i; 8] {
    let z = pairs(x[2], x[6]);
    let (t2, t3) = (dot::<4433, { 4433 - 15137 }>(z), dot::<{ 4433 + 6270 }, 4433>(z));
    let t0 = _mm256_slli_epi32::<13>(_mm256_cvtepi16_epi32(_mm_add_epi16(x[0], x[4])));
    let t1 = _mm256_slli_epi32::<13>(_mm256_cvtepi16_epi32(_mm_sub_epi16(x[0], x[4])));
    let even = [_mm256_add_epi32(t0, t3), _mm256_add_epi32(t1, t2), _mm256_sub_epi32(t1, t2), _mm256_sub_epi32(t0, t3)];

    let z = pairs(_mm_add_epi16(x[7], x[3]), _mm_add_epi16(x[5], x[1]));
    let (a, b) = (dot::<{ 9633 - 16069 }, 9633>(z), dot::<9633, { 9633 - 3196 }>(z));
    let (outer, inner) = (pairs(x[7], x[1]), pairs(x[5], x[3]));
    let odd = [
        _mm256_add_epi32(dot::<-7373, { 12299 - 7373 }>(outer), b),
        _mm256_add_epi32(dot::<-20995, { 25172 - 20995 }>(inner), a),
        _mm256_add_epi32(dot::<{ 16819 - 20995 }, -20995>(inner), b),
        _mm256_add_epi32(dot::<{ 2446 - 7373 }, -7373>(outer), a),
    ];
    let mut out = [_mm_setzero_si128(); 8];
    for i in 0..4 {
        out[i] = round::<BITS>(_mm256_add_epi32(even[i], odd[i]));
        out[7 - i] = round::<BITS>(_mm256_sub_epi32(even[i], odd[i]));
    }
    out
}

/// Interleaves the elements of two vectors.
#[inline]
#[target_feature(enable = "avx2")]
fn pairs(a: __m128i, b: __m128i) -> __m256i {
    _mm256_set_m128i(_mm_unpackhi_epi16(a, b), _mm_unpacklo_epi16(a, b))
}

#[inline]
#[target_feature(enable = "avx2")]
fn dot<const F: i32, const G: i32>(pairs: __m256i) -> __m256i {
    _mm256_madd_epi16(pairs, _mm256_set1_epi32(F & 0xFFFF | G << 16))
}

#[inline]
#[target_feature(enable = "avx2")]
fn round<const BITS: i32>(x: __m256i) -> __m128i {
    let x = _mm256_srai_epi32::<BITS>(_mm256_add_epi32(x, _mm256_set1_epi32(1 << (BITS - 1))));
    _mm_packs_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256::<1>(x))
}

#[inline]
#[target_feature(enable = "avx2")]
fn transposed(x: [__m128i; 8]) -> [__m128i; 8] {
    let twos = |a: usize, b: usize| (_mm_unpacklo_epi16(x[a], x[b]), _mm_unpackhi_epi16(x[a], x[b]));
    let ((a, b), (c, d), (e, f), (g, h)) = (twos(0, 1), twos(2, 3), twos(4, 5), twos(6, 7));
    let fours = |a, b| (_mm_unpacklo_epi32(a, b), _mm_unpackhi_epi32(a, b));
    let ((a, c), (b, d), (e, g), (f, h)) = (fours(a, c), fours(b, d), fours(e, g), fours(f, h));
    let eights = |a, b| [_mm_unpacklo_epi64(a, b), _mm_unpackhi_epi64(a, b)];
    let ([a, e], [c, g], [b, f], [d, h]) = (eights(a, e), eights(c, g), eights(b, f), eights(d, h));
    [a, e, c, g, b, f, d, h]
}

/// Writes samples that are given column by column.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn store(x: [__m128i; 8], rows: *const *mut u8, column: usize) {
    let middle = _mm_set1_epi8(-128);
    let bytes = |i: usize| _mm_xor_si128(_mm_packs_epi16(x[i], x[i + 4]), middle);
    let (a, b, c, d) = (bytes(0), bytes(1), bytes(2), bytes(3));
    // Columns 0 and 2, 4 and 6, 1 and 3, 5 and 7; then 0 to 3, 4 to 7; then rows.
    let (ac, ac4) = (_mm_unpacklo_epi8(a, c), _mm_unpackhi_epi8(a, c));
    let (bd, bd4) = (_mm_unpacklo_epi8(b, d), _mm_unpackhi_epi8(b, d));
    let fours = [
        (_mm_unpacklo_epi8(ac, bd), _mm_unpacklo_epi8(ac4, bd4)),
        (_mm_unpackhi_epi8(ac, bd), _mm_unpackhi_epi8(ac4, bd4)),
    ];
    for (i, (left, right)) in fours.into_iter().enumerate() {
        for (k, two) in [_mm_unpacklo_epi32(left, right), _mm_unpackhi_epi32(left, right)].into_iter().enumerate() {
            // SAFETY: see above.
            unsafe {
                let row = rows.add(4 * i + 2 * k);
                _mm_storel_epi64((*row).add(column).cast(), two);
                _mm_storel_epi64((*row.add(1)).add(column).cast(), _mm_unpackhi_epi64(two, two));
            }
        }
    }
}

#[target_feature(enable = "avx2")]
pub(super) unsafe extern "C" fn h2v1(samples: *const u8, wide: *mut u8, width: usize, from: usize, to: usize) {
    // SAFETY: see above.
    unsafe { super::h2v1(samples, wide, width, from, to) }
}

#[target_feature(enable = "avx2")]
pub(super) unsafe extern "C" fn h2v2(
    near: *const u8,
    far: *const u8,
    wide: *mut u8,
    width: usize,
    from: usize,
    to: usize,
) {
    // SAFETY: see above.
    unsafe { super::h2v2(near, far, wide, width, from, to) }
}

#[target_feature(enable = "avx2")]
pub(super) unsafe extern "C" fn ycc_to_rgb(ycc: *const *const u8, pixels: *mut u8, from: usize, to: usize) {
    // SAFETY: see above.
    unsafe {
        let ycc = *ycc.cast::<[*const u8; 3]>();
        let mut i = from;
        while i + 16 <= to {
            let load = |row: *const u8| _mm_loadu_si128(row.add(i).cast());
            store_pixels([load(ycc[0]), load(ycc[1]), load(ycc[2])], pixels.add(3 * i));
            i += 16;
        }
        super::ycc_to_rgb(ycc.as_ptr(), pixels, i, to);
    }
}

/// Writes sixteen pixels from sixteen samples of each component. The formulas are those of `ycc_to_rgb` in `scalar.rs`, but
/// with 16-bit factors.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn store_pixels(ycc: [__m128i; 3], pixels: *mut u8) {
    let (y, middle) = (_mm256_cvtepu8_epi16(ycc[0]), _mm256_set1_epi16(128));
    let cb = _mm256_sub_epi16(_mm256_cvtepu8_epi16(ycc[1]), middle);
    let cr = _mm256_sub_epi16(_mm256_cvtepu8_epi16(ycc[2]), middle);
    // `(2 f x / 2^16 + 1) / 2`.
    let part = |x: __m256i, f: i16| {
        let twice = _mm256_mulhi_epi16(_mm256_add_epi16(x, x), _mm256_set1_epi16(f));
        _mm256_srai_epi16::<1>(_mm256_add_epi16(twice, _mm256_set1_epi16(1)))
    };
    let red = _mm256_add_epi16(cr, part(cr, 26345));
    let blue = _mm256_add_epi16(_mm256_add_epi16(cb, cb), part(cb, -14942));
    let green = |pairs: __m256i| {
        let sum = _mm256_add_epi32(dot::<-22554, 18734>(pairs), _mm256_set1_epi32(1 << 15));
        _mm256_srai_epi32::<16>(sum)
    };
    let green = _mm256_packs_epi32(green(_mm256_unpacklo_epi16(cb, cr)), green(_mm256_unpackhi_epi16(cb, cr)));
    let bytes = |color: __m256i| {
        let x = _mm256_add_epi16(y, color);
        _mm_packus_epi16(_mm256_castsi256_si128(x), _mm256_extracti128_si256::<1>(x))
    };
    let colors = [bytes(red), bytes(_mm256_sub_epi16(green, cr)), bytes(blue)];
    for (i, order) in ORDER.iter().enumerate() {
        // SAFETY: sixteen bytes each, of a constant array and of the 48 bytes of output.
        unsafe {
            let part = |c: usize| _mm_shuffle_epi8(colors[c], _mm_loadu_si128(order[c].as_ptr().cast()));
            let sixteen = _mm_or_si128(_mm_or_si128(part(0), part(1)), part(2));
            _mm_storeu_si128(pixels.add(16 * i).cast(), sixteen);
        }
    }
}

/// Shuffle masks that interleave three colours, `[group of 16 bytes][colour][byte]`. An entry is the index of the sample for
/// this byte, or -1 if the byte belongs to another colour.
const ORDER: [[[i8; 16]; 3]; 3] = {
    let mut order = [[[-1; 16]; 3]; 3];
    let mut i = 0;
    while i < 48 {
        order[i / 16][i % 3][i % 16] = (i / 3) as i8;
        i += 1;
    }
    order
};

#[target_feature(enable = "avx2")]
pub(super) unsafe extern "C" fn cmyk_to_rgb(cmyk: *const u8, pixels: *mut u8, from: usize, to: usize) {
    // SAFETY: see above.
    unsafe { super::cmyk_to_rgb(cmyk, pixels, from, to) }
}
