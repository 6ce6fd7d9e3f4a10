//! The arithmetic of libjpeg-turbo's SSE2 code on x86-64, value by value.
//!
//! The coefficients of a damaged file may overflow. The SSE2 code then multiplies in 16 bits and saturates. libjpeg-turbo's
//! plain C code, which runs on other machines, gives different pixels.
use std::ops::Range;

/// Fractional bits of the constants.
const BITS: u32 = 13;

/// N values, each from a different column or row.
type Lanes<T, const N: usize> = [T; N];

#[inline(always)]
fn zip<A: Copy, B: Copy, C, const N: usize>(a: [A; N], b: [B; N], op: impl Fn(A, B) -> C) -> [C; N] {
    std::array::from_fn(|i| op(a[i], b[i]))
}

#[inline(always)]
fn add<const N: usize>(a: Lanes<i32, N>, b: Lanes<i32, N>) -> Lanes<i32, N> {
    zip(a, b, i32::wrapping_add)
}

#[inline(always)]
fn sub<const N: usize>(a: Lanes<i32, N>, b: Lanes<i32, N>) -> Lanes<i32, N> {
    zip(a, b, i32::wrapping_sub)
}

/// Computes `a f + b g`, like the corresponding SSE2 instruction.
#[inline(always)]
fn dot<const N: usize>(a: Lanes<i16, N>, b: Lanes<i16, N>, f: i32, g: i32) -> Lanes<i32, N> {
    zip(a, b, |a, b| i32::from(a) * f + i32::from(b) * g)
}

/// Drops the last `bits` bits, with rounding.
#[inline(always)]
fn round<const N: usize>(x: Lanes<i32, N>, bits: u32) -> Lanes<i32, N> {
    x.map(|x| x.wrapping_add(1 << (bits - 1)) >> bits)
}

#[inline(always)]
fn saturated<const N: usize>(x: Lanes<i32, N>) -> Lanes<i16, N> {
    x.map(|x| x.clamp(i16::MIN.into(), i16::MAX.into()) as i16)
}

/// Converts to samples, clamped to [0, 255]; zero becomes the middle value, 128.
#[inline(always)]
fn samples<const N: usize>(x: Lanes<i16, N>) -> [u8; N] {
    x.map(|x| (x.clamp(-128, 127) + 128) as u8)
}

#[inline(always)]
fn transposed<T: Copy + Default, const N: usize, const M: usize>(x: [[T; N]; M]) -> [[T; M]; N] {
    let mut out = [[T::default(); M]; N];
    for (m, row) in x.iter().enumerate() {
        for (n, x) in row.iter().enumerate() {
            out[n][m] = *x;
        }
    }
    out
}

/// One pass of Loeffler's inverse DCT: eight values from eight frequencies.
#[inline(always)]
fn eight<const N: usize>(x: [Lanes<i16, N>; 8], bits: u32) -> [Lanes<i16, N>; 8] {
    let (t2, t3) = (dot(x[2], x[6], 4433, 4433 - 15137), dot(x[2], x[6], 4433 + 6270, 4433));
    let t0 = zip(x[0], x[4], |a, b| i32::from(a.wrapping_add(b)) << BITS);
    let t1 = zip(x[0], x[4], |a, b| i32::from(a.wrapping_sub(b)) << BITS);
    let even = [add(t0, t3), add(t1, t2), sub(t1, t2), sub(t0, t3)];

    let (z3, z4) = (zip(x[7], x[3], i16::wrapping_add), zip(x[5], x[1], i16::wrapping_add));
    let (a, b) = (dot(z3, z4, 9633 - 16069, 9633), dot(z3, z4, 9633, 9633 - 3196));
    let odd = [
        add(dot(x[7], x[1], -7373, 12299 - 7373), b),
        add(dot(x[5], x[3], -20995, 25172 - 20995), a),
        add(dot(x[5], x[3], 16819 - 20995, -20995), b),
        add(dot(x[7], x[1], 2446 - 7373, -7373), a),
    ];
    let mut out = [[0; N]; 8];
    for i in 0..4 {
        out[i] = saturated(round(add(even[i], odd[i]), bits));
        out[7 - i] = saturated(round(sub(even[i], odd[i]), bits));
    }
    out
}

/// Like [`eight`], with four output values.
#[inline(always)]
fn four<const N: usize>(x: [Lanes<i16, N>; 8], bits: u32) -> [Lanes<i16, N>; 4] {
    let (t0, t2) = (x[0].map(|x| i32::from(x) << (BITS + 1)), dot(x[2], x[6], 15137, -6270));
    let (far, near) = (add(t0, t2), sub(t0, t2));
    let outer = add(dot(x[1], x[3], 20995, 7373), dot(x[5], x[7], -4926, -4176));
    let inner = add(dot(x[1], x[3], 8697, -17799), dot(x[5], x[7], 11893, -1730));
    [add(far, outer), add(near, inner), sub(near, inner), sub(far, outer)].map(|x| saturated(round(x, bits)))
}

/// Like [`eight`], with two output values, which are not yet saturated. The value of the first frequency may exceed 16 bits.
#[inline(always)]
fn two<const N: usize>(first: Lanes<i32, N>, x: [Lanes<i16, N>; 8], bits: u32) -> [Lanes<i32, N>; 2] {
    let even = first.map(|x| x.wrapping_shl(BITS + 2));
    let odd = add(dot(x[1], x[3], 29692, -10426), dot(x[5], x[7], 6967, -5906));
    [add(even, odd), sub(even, odd)].map(|x| round(x, bits))
}

/// Multiplies coefficients by their quantization steps; products wrap around at 16 bits.
#[inline(always)]
fn dequantized(coefficients: &[i16; 64], quantization: &[u16; 64]) -> [Lanes<i16, 8>; 8] {
    let row = |i: usize| std::array::from_fn(|c| coefficients[8 * i + c].wrapping_mul(quantization[8 * i + c] as i16));
    std::array::from_fn(row)
}

/// Returns whether all coefficients of these rows are 0. If so, the pass over the columns is skipped. This changes the results
/// of overflows.
#[inline(always)]
fn are_zero<const N: usize>(coefficients: &[i16; 64], rows: [usize; N]) -> bool {
    rows.into_iter().all(|i| coefficients[8 * i..8 * i + 8] == [0; 8])
}

#[inline(always)]
pub(super) fn inverse_dct8(coefficients: &[i16; 64], quantization: &[u16; 64]) -> [[u8; 8]; 8] {
    let x = dequantized(coefficients, quantization);
    let columns = match are_zero(coefficients, [1, 2, 3, 4, 5, 6, 7]) {
        true => [x[0].map(|x| x.wrapping_shl(2)); 8],
        false => eight(x, BITS - 2),
    };
    transposed(eight(transposed(columns), BITS + 5).map(samples))
}

#[inline(always)]
pub(super) fn inverse_dct4(coefficients: &[i16; 64], quantization: &[u16; 64]) -> [[u8; 4]; 4] {
    let x = dequantized(coefficients, quantization);
    let columns = match are_zero(coefficients, [1, 2, 3, 5, 6, 7]) {
        true => [x[0].map(|x| x.wrapping_shl(2)); 4],
        false => four(x, BITS - 1),
    };
    transposed(four(transposed(columns), BITS + 6).map(samples))
}

#[inline(always)]
pub(super) fn inverse_dct2(coefficients: &[i16; 64], quantization: &[u16; 64]) -> [[u8; 2]; 2] {
    let x = dequantized(coefficients, quantization);
    let columns = two(x[0].map(i32::from), x, BITS);
    let first = columns.map(|row| row[0]);
    transposed(two(first, transposed(columns.map(saturated)), BITS + 7).map(|x| samples(saturated(x))))
}

#[inline(always)]
pub(super) fn inverse_dct1(coefficients: &[i16; 64], quantization: &[u16; 64]) -> u8 {
    let x = (i32::from(coefficients[0]) * i32::from(quantization[0] as i16) + 4) >> 3;
    // Wraps like a table of 1024 entries.
    samples([((x << 22) >> 22) as i16])[0]
}

/// Doubles the width with triangle weights: 3/4 of the nearer and 1/4 of the further sample.
#[inline(always)]
pub(super) fn h2v1(samples: &[u8], wide: &mut [u8], part: Range<usize>) {
    smooth::<1>([samples; 1], wide, part, [1, 2], 2);
}

/// Like [`h2v1`], for a row that is first mixed from two rows: 3/4 of the nearer and 1/4 of the further row.
#[inline(always)]
pub(super) fn h2v2(near: &[u8], far: &[u8], wide: &mut [u8], part: Range<usize>) {
    smooth::<2>([near, far], wide, part, [8, 7], 4);
}

/// Number of samples processed at once. The buffer also holds one neighbour on either side of them.
const CHUNK: usize = 64;

#[inline(always)]
fn smooth<const ROWS: usize>(rows: [&[u8]; ROWS], wide: &mut [u8], part: Range<usize>, half: [u16; 2], bits: u32) {
    let width = rows[0].len();
    let wide = &mut wide[..2 * width].as_chunks_mut::<2>().0;
    for first in part.clone().step_by(CHUNK) {
        let n = CHUNK.min(part.end - first);
        let mut sums = [0; CHUNK + 2];
        // At the ends of the row, the neighbour is the sample itself.
        (sums[0], sums[n + 1]) = (sum(rows, first.saturating_sub(1)), sum(rows, (first + n).min(width - 1)));
        for i in 0..n {
            sums[i + 1] = sum(rows, first + i);
        }
        for (out, x) in wide[first..first + n].iter_mut().zip(sums.windows(3)) {
            let thrice = 3 * x[1];
            *out = [((thrice + x[0] + half[0]) >> bits) as u8, ((thrice + x[2] + half[1]) >> bits) as u8];
        }
    }
}

/// Sample `i` of a single row. For two rows, it is three times the sample of the nearer row plus the sample of the further row.
#[inline(always)]
fn sum<const ROWS: usize>(rows: [&[u8]; ROWS], i: usize) -> u16 {
    let near = u16::from(rows[0][i]);
    if ROWS == 1 { near } else { 3 * near + u16::from(rows[1][i]) }
}

/// Converts JFIF's YCbCr to RGB.
#[inline(always)]
pub(super) fn ycc_to_rgb(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    let red = y + cr + ((26345 * cr + 32768) >> 16);
    let green = y - cr + ((-22554 * cb + 18734 * cr + 32768) >> 16);
    let blue = y + 2 * cb + ((-14942 * cb + 32768) >> 16);
    [red, green, blue].map(|x| x.clamp(0, 255) as u8)
}

/// Converts inverted CMYK, as written by Adobe, to RGB as Pillow does.
#[inline(always)]
pub(super) fn cmyk_to_rgb(cmyk: &[u8], pixels: &mut [u8]) {
    for (pixel, ink) in pixels.as_chunks_mut::<3>().0.iter_mut().zip(cmyk.as_chunks::<4>().0) {
        let paper = u32::from(ink[3]);
        *pixel = std::array::from_fn(|i| {
            let product = u32::from(255 - ink[i]) * paper + 128;
            paper.saturating_sub(((product >> 8) + product) >> 8) as u8
        });
    }
}
