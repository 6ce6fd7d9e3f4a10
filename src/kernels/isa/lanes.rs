//! The vector traits over which kernels are generic.
use std::ops::Range;

/// The largest number of lanes of any instruction set. A buffer of this size holds a vector of any instruction set.
pub(crate) const MOST_LANES: usize = 16;

/// A loop over floats, compiled once for each instruction set.
pub(crate) trait Kernel {
    /// Result of the loop.
    type Output;

    /// Runs the loop.
    ///
    /// Implementations are `#[inline(always)]`, so that the body is compiled for the caller's instruction set. Closures cannot
    /// have this attribute. If the compiler does not inline a closure, its intrinsics become function calls, at a tenth of the
    /// speed.
    fn run<L: Lanes>(self) -> Self::Output;
}

/// A loop over bytes, compiled once for each instruction set that can multiply bytes.
pub(crate) trait ByteKernel {
    /// Runs the loop. Implementations are `#[inline(always)]`, as for [`Kernel::run`].
    fn run<L: ByteLanes>(self);
}

/// Vectors for products of bytes: [`Lanes::N`] floats, or [`Lanes::N`] 32-bit integers. An integer is a sum, or holds
/// four bytes or two 16-bit words to multiply.
///
/// A *block* is four vectors, that is 4 [`Lanes::N`] values. Converted to bytes, a block fills one vector. In an *interleaved*
/// block, the values are permuted as by [`ByteLanes::interleave`]; [`super::Isa::interleaved`] is the permutation.
pub(crate) trait ByteLanes: Lanes {
    /// A vector of [`Lanes::N`] 32-bit integers.
    type Sums: Copy;

    /// Returns a vector of zeros.
    fn zero() -> Self::Sums;

    /// Loads four signed bytes for each lane.
    ///
    /// # Safety
    /// `from` is valid for 4 [`Lanes::N`] reads.
    #[allow(unsafe_code)]
    unsafe fn weights(from: *const i8) -> Self::Sums;

    /// Loads four unsigned bytes, and repeats them in every lane.
    ///
    /// # Safety
    /// `from` is valid for 4 reads.
    #[allow(unsafe_code)]
    unsafe fn pixels(from: *const u8) -> Self::Sums;

    /// Interleaves the bytes of four rows. Byte i of each row is put into the lane of value i of an interleaved block, so each
    /// lane has four bytes. Bytes from index `used` on are zeros.
    ///
    /// # Safety
    /// Each row is valid for `used` reads.
    #[allow(unsafe_code)]
    unsafe fn interleave(rows: [*const u8; 4], used: usize) -> [Self::Sums; 4];

    /// Adds the products of the four unsigned and the four signed bytes in each lane to `sums`.
    fn dot(sums: Self::Sums, pixels: Self::Sums, weights: Self::Sums) -> Self::Sums;

    /// Adds the two products of signed 16-bit words in each lane to `sums`.
    fn dot_words(sums: Self::Sums, pixels: Self::Sums, weights: Self::Sums) -> Self::Sums;

    /// Writes the first `used` lanes, each rounded to the nearest 16-bit integer.
    ///
    /// # Safety
    /// `to` is valid for `used` writes.
    #[allow(unsafe_code)]
    unsafe fn store_words(self, to: *mut i16, used: usize);

    /// Converts the integers to floats.
    fn float(sums: Self::Sums) -> Self;

    /// Writes the first `used` values of a block, each rounded to the nearest byte; NaN becomes 0.
    ///
    /// # Safety
    /// `to` is valid for `used` writes.
    #[allow(unsafe_code)]
    unsafe fn store_bytes(block: [Self; 4], to: *mut u8, used: usize);

    /// Like [`ByteLanes::store_bytes`], for an interleaved block.
    ///
    /// # Safety
    /// `to` is valid for `used` writes.
    #[allow(unsafe_code)]
    unsafe fn store_bytes_interleaved(block: [Self; 4], to: *mut u8, used: usize);

    /// Restores the original order of an interleaved block.
    fn ordered(block: [Self; 4]) -> [Self; 4];

    /// Writes the lanes of the range, each rounded to the nearest byte; NaN becomes 0.
    ///
    /// # Safety
    /// `to` is valid for writes of these lanes.
    #[allow(unsafe_code)]
    unsafe fn store_some_bytes(self, to: *mut u8, lanes: Range<usize>);
}

/// A vector of [`Lanes::N`] floats.
pub(crate) trait Lanes: Copy {
    /// Number of floats.
    const N: usize;
    /// Whether there are 32 vector registers rather than 16.
    const MANY_REGISTERS: bool;

    /// Sets all lanes to `x`.
    fn splat(x: f32) -> Self;

    /// Loads the next [`Lanes::N`] floats.
    ///
    /// # Safety
    /// `from` is valid for that many reads.
    #[allow(unsafe_code)]
    unsafe fn load(from: *const f32) -> Self;

    /// Writes [`Lanes::N`] floats.
    ///
    /// # Safety
    /// `to` is valid for that many writes.
    #[allow(unsafe_code)]
    unsafe fn store(self, to: *mut f32);

    /// Loads the given lanes of the next [`Lanes::N`] floats, with 0 in the other lanes.
    ///
    /// # Safety
    /// `from` is valid for reads of these lanes.
    #[allow(unsafe_code)]
    unsafe fn load_some(from: *const f32, lanes: Range<usize>) -> Self;

    /// Writes the given lanes to the next [`Lanes::N`] floats.
    ///
    /// # Safety
    /// `to` is valid for writes of these lanes.
    #[allow(unsafe_code)]
    unsafe fn store_some(self, to: *mut f32, lanes: Range<usize>);

    /// Loads the given lanes of the next [`Lanes::N`] bytes as floats, with 0 in the other lanes.
    ///
    /// # Safety
    /// `from` is valid for reads of these lanes.
    #[allow(unsafe_code)]
    unsafe fn load_pixels(from: *const u8, lanes: Range<usize>) -> Self;

    /// Truncates the first `used` lanes to bytes and writes them. Their values must be in [0, 256).
    ///
    /// # Safety
    /// `to` is valid for `used` writes.
    #[allow(unsafe_code)]
    unsafe fn store_pixels(self, to: *mut u8, used: usize);

    /// `self * by + plus`, rounded once where the instruction set has FMA.
    fn mul_add(self, by: Self, plus: Self) -> Self;

    /// `self / by`.
    fn div(self, by: Self) -> Self;

    /// `self * 2^n` for an integer n in [-126, 127].
    fn times_two_to(self, n: Self) -> Self;

    /// The larger value in each lane; `other` if either value is NaN.
    fn max(self, other: Self) -> Self;

    /// The smaller value in each lane; `other` if either value is NaN.
    fn min(self, other: Self) -> Self;

    /// Reverses the order of the first five RGB pixels, of three bytes each. The first byte of the result is arbitrary; the
    /// pixels follow.
    #[inline(always)]
    fn mirror(pixels: [u8; 16]) -> [u8; 16] {
        MIRRORED.map(|at| pixels[usize::from(at)])
    }
}

/// Source index of each byte that [`Lanes::mirror`] returns.
pub(super) const MIRRORED: [u8; 16] = [15, 12, 13, 14, 9, 10, 11, 6, 7, 8, 3, 4, 5, 0, 1, 2];

/// Returns the least common multiple of `channels` and `lanes`: after this many values of a row, each lane holds the same
/// channel again.
pub(crate) fn period(channels: usize, lanes: usize) -> usize {
    let (mut a, mut b) = (channels, lanes);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    channels / a * lanes
}

/// Loads a block of four vectors: `used` floats, followed by zeros.
///
/// # Safety
/// `from` is valid for `used` reads.
#[inline(always)]
#[allow(unsafe_code)]
pub(crate) unsafe fn load_block<L: Lanes>(from: *const f32, used: usize) -> [L; 4] {
    let mut block = [L::splat(0.0); 4];
    for (i, x) in block.iter_mut().enumerate() {
        let at = from.wrapping_add(i * L::N);
        // SAFETY: guaranteed by the caller; lanes from `used` on are not read.
        *x = unsafe {
            match used == 4 * L::N {
                true => L::load(at),
                false => L::load_some(at, 0..used.saturating_sub(i * L::N).min(L::N)),
            }
        };
    }
    block
}

/// `x[i] * by[i] + plus[i]` for each vector of a block.
#[inline(always)]
pub(crate) fn mul_add_block<L: Lanes>(mut block: [L; 4], by: [L; 4], plus: [L; 4]) -> [L; 4] {
    for (x, (by, plus)) in block.iter_mut().zip(by.into_iter().zip(plus)) {
        *x = x.mul_add(by, plus);
    }
    block
}
