//! Vectors, as kernels that are written once see them.
use std::ops::Range;

/// No instruction set has more lanes: what holds a vector of any of them holds so many.
pub(crate) const MOST_LANES: usize = 16;

/// A loop over numbers that is compiled once for each instruction set.
pub(crate) trait Kernel {
    /// What it gives.
    type Output;

    /// The loop. Implementations are `#[inline(always)]`: only so does the body take on the caller's instruction set. Closures
    /// cannot be: one that the compiler leaves out of line calls each instruction as a function, at a tenth of the speed.
    fn run<L: Lanes>(self) -> Self::Output;
}

/// A loop over bytes, compiled once for each instruction set that multiplies them.
pub(crate) trait ByteKernel {
    /// The loop, `#[inline(always)]` as in [`Kernel`].
    fn run<L: ByteLanes>(self);
}

/// Vectors of [`Lanes::N`] floats and of as many 32-bit integers, each with four bytes to multiply.
///
/// A *block* is four vectors: 4 [`Lanes::N`] numbers, as many as bytes fill a vector. In an *interleaved* block a number stands
/// where `interleave` brings its byte: [`super::Isa::interleaved`] tells where.
pub(crate) trait ByteLanes: Lanes {
    /// Integers.
    type Sums: Copy;

    /// Zeros.
    fn zero() -> Self::Sums;

    /// The next four signed bytes of each lane.
    ///
    /// # Safety
    /// `from` is valid for 4 [`Lanes::N`] reads.
    #[allow(unsafe_code)]
    unsafe fn weights(from: *const i8) -> Self::Sums;

    /// Four unsigned bytes, in every lane.
    ///
    /// # Safety
    /// `from` is valid for 4 reads.
    #[allow(unsafe_code)]
    unsafe fn pixels(from: *const u8) -> Self::Sums;

    /// Byte i of each of four rows, in the lane of number i of an interleaved block. Bytes from `used` on are zeros.
    ///
    /// # Safety
    /// Each row is valid for `used` reads.
    #[allow(unsafe_code)]
    unsafe fn interleave(rows: [*const u8; 4], used: usize) -> [Self::Sums; 4];

    /// `sums` and, in each lane, the four products.
    fn dot(sums: Self::Sums, pixels: Self::Sums, weights: Self::Sums) -> Self::Sums;

    /// `sums` and, in each lane, the two products of what is 16 bits wide, with signs.
    fn dot_words(sums: Self::Sums, pixels: Self::Sums, weights: Self::Sums) -> Self::Sums;

    /// Writes the first `used` lanes, each as the nearest word of 16 bits.
    ///
    /// # Safety
    /// `to` is valid for `used` writes.
    #[allow(unsafe_code)]
    unsafe fn store_words(self, to: *mut i16, used: usize);

    /// As floats.
    fn float(sums: Self::Sums) -> Self;

    /// Writes the first `used` numbers of a block, each as the nearest byte; NaN as 0.
    ///
    /// # Safety
    /// `to` is valid for `used` writes.
    #[allow(unsafe_code)]
    unsafe fn store_bytes(block: [Self; 4], to: *mut u8, used: usize);

    /// The same of an interleaved block.
    ///
    /// # Safety
    /// `to` is valid for `used` writes.
    #[allow(unsafe_code)]
    unsafe fn store_bytes_interleaved(block: [Self; 4], to: *mut u8, used: usize);

    /// An interleaved block in order.
    fn ordered(block: [Self; 4]) -> [Self; 4];

    /// Writes these lanes, each as the nearest byte; NaN as 0.
    ///
    /// # Safety
    /// `to` is valid for writes of these lanes.
    #[allow(unsafe_code)]
    unsafe fn store_some_bytes(self, to: *mut u8, lanes: Range<usize>);
}

/// A vector of [`Lanes::N`] floats.
pub(crate) trait Lanes: Copy {
    /// How many floats.
    const N: usize;
    /// Whether there are 32 vector registers rather than 16.
    const MANY_REGISTERS: bool;

    /// All lanes equal.
    fn splat(x: f32) -> Self;

    /// The next [`Lanes::N`] floats.
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

    /// These of the next [`Lanes::N`] floats, and 0 in the other lanes.
    ///
    /// # Safety
    /// `from` is valid for reads of these lanes.
    #[allow(unsafe_code)]
    unsafe fn load_some(from: *const f32, lanes: Range<usize>) -> Self;

    /// Writes these lanes.
    ///
    /// # Safety
    /// `to` is valid for writes of these lanes.
    #[allow(unsafe_code)]
    unsafe fn store_some(self, to: *mut f32, lanes: Range<usize>);

    /// These of the next [`Lanes::N`] bytes as floats, and 0 in the other lanes.
    ///
    /// # Safety
    /// `from` is valid for reads of these lanes.
    #[allow(unsafe_code)]
    unsafe fn load_pixels(from: *const u8, lanes: Range<usize>) -> Self;

    /// Writes the first `used` lanes as bytes: numbers in [0, 256), truncated.
    ///
    /// # Safety
    /// `to` is valid for `used` writes.
    #[allow(unsafe_code)]
    unsafe fn store_pixels(self, to: *mut u8, used: usize);

    /// `self * by + plus`, rounded once where the instruction set has FMA.
    fn mul_add(self, by: Self, plus: Self) -> Self;

    /// `self / by`.
    fn div(self, by: Self) -> Self;

    /// `self * 2^n` for a whole n in [-126, 127].
    fn times_two_to(self, n: Self) -> Self;

    /// The larger of each pair; the second where the first is NaN.
    fn max(self, other: Self) -> Self;

    /// The smaller of each pair; the second where the first is NaN.
    fn min(self, other: Self) -> Self;

    /// A byte of no meaning, and then the first five pixels of three bytes, the last of them first.
    #[inline(always)]
    fn mirror(pixels: [u8; 16]) -> [u8; 16] {
        MIRRORED.map(|at| pixels[usize::from(at)])
    }
}

/// Where [`Lanes::mirror`] takes each byte from.
pub(super) const MIRRORED: [u8; 16] = [15, 12, 13, 14, 9, 10, 11, 6, 7, 8, 3, 4, 5, 0, 1, 2];

/// The least common multiple of channels and lanes: after so many numbers of a row, the same channel stands in the same lane.
pub(crate) fn period(channels: usize, lanes: usize) -> usize {
    let (mut a, mut b) = (channels, lanes);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    channels / a * lanes
}

/// A block of four vectors: the first `used` of the next 4 N floats, and zeros.
///
/// # Safety
/// `from` is valid for `used` reads.
#[inline(always)]
#[allow(unsafe_code)]
pub(crate) unsafe fn load_block<L: Lanes>(from: *const f32, used: usize) -> [L; 4] {
    let mut block = [L::splat(0.0); 4];
    for (i, x) in block.iter_mut().enumerate() {
        let at = from.wrapping_add(i * L::N);
        // SAFETY: the caller's word; lanes from `used` on are not read.
        *x = unsafe {
            match used == 4 * L::N {
                true => L::load(at),
                false => L::load_some(at, 0..used.saturating_sub(i * L::N).min(L::N)),
            }
        };
    }
    block
}

/// `x[i] * by[i] + plus[i]` of a block.
#[inline(always)]
pub(crate) fn mul_add_block<L: Lanes>(mut block: [L; 4], by: [L; 4], plus: [L; 4]) -> [L; 4] {
    for (x, (by, plus)) in block.iter_mut().zip(by.into_iter().zip(plus)) {
        *x = x.mul_add(by, plus);
    }
    block
}
