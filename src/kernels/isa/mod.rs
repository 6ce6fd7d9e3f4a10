//! Instruction sets: which there are, which this machine has, and how a kernel runs on one.
//!
//! A kernel is written once, generic over `Lanes`; `Isa::dispatch` compiles it again for each instruction set and
//! enters the copy that was asked for.
mod avx2;
mod avx2_bytes;
mod avx512;
mod extent;
mod portable;
mod vnni;

pub use extent::Extent;
pub(crate) use extent::LaneExtents;

use crate::error::{Error, Result};
use std::ops::Range;
use std::sync::OnceLock;

/// A path through the kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// Plain loops without SIMD types or reordering: the truth that the others are tested against.
    Scalar,
    /// Arrays of eight that the compiler maps to what every CPU of the target has (SSE2, NEON).
    Portable,
    /// AVX2 with FMA.
    Avx2,
    /// The same, and convolutions multiply bytes.
    Avx2Bytes,
    /// AVX-512 F, BW, DQ and VL.
    Avx512,
    /// The same, and VNNI: convolutions multiply bytes.
    Avx512Vnni,
}

/// How convolutions multiply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// The fastest way here: in whole numbers where the machine has instructions for it (activations in the range of each map or
    /// channel, weights in that of each output channel, 32-bit sums), else as [`Precision::Exact`].
    #[default]
    Fast,
    /// In float32.
    Exact,
}

impl Precision {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Exact => "exact",
        }
    }

    /// The precision of this name.
    ///
    /// # Errors
    /// There is none.
    pub fn named(name: &str) -> Result<Self> {
        let found = [Self::Fast, Self::Exact].into_iter().find(|precision| precision.name() == name);
        found.ok_or_else(|| Error::value("precision", format!("{name:?}"), "there are \"fast\" and \"exact\""))
    }
}

impl Isa {
    const ALL: [Self; 6] = [Self::Scalar, Self::Portable, Self::Avx2, Self::Avx2Bytes, Self::Avx512, Self::Avx512Vnni];

    /// Its name: what `SASSL_ISA` and `sassl info` say.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx2Bytes => "avx2bytes",
            Self::Avx512 => "avx512",
            Self::Avx512Vnni => "avx512vnni",
        }
    }

    /// Whether this machine can run it.
    pub fn is_supported(self) -> bool {
        match self {
            Self::Scalar | Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 | Self::Avx2Bytes => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                Self::Avx2.is_supported()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => Self::Avx512.is_supported() && is_x86_feature_detected!("avx512vnni"),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 | Self::Avx2Bytes | Self::Avx512 | Self::Avx512Vnni => false,
        }
    }

    /// Every path that this machine can run, the truth first and the fastest last.
    pub fn supported() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|isa| isa.is_supported())
    }

    /// The fastest path here, or the one that the environment variable `SASSL_ISA` names, at this precision.
    ///
    /// # Errors
    /// `SASSL_ISA` names no path, or one that this machine lacks.
    pub fn detect(precision: Precision) -> Result<Self> {
        Ok(match (precision, Self::detect_fast()?) {
            (Precision::Exact, Self::Avx2Bytes) => Self::Avx2,
            (Precision::Exact, Self::Avx512Vnni) => Self::Avx512,
            (_, path) => path,
        })
    }

    fn detect_fast() -> Result<Self> {
        static BEST: OnceLock<Isa> = OnceLock::new();
        let Some(wanted) = std::env::var_os("SASSL_ISA").filter(|name| !name.is_empty()) else {
            return Ok(*BEST.get_or_init(|| Self::supported().last().unwrap_or(Self::Portable)));
        };
        let wanted = wanted.to_string_lossy();
        Self::supported().find(|isa| isa.name() == wanted).ok_or_else(|| {
            let known: Vec<_> = Self::supported().map(Self::name).collect();
            Error::value(
                "SASSL_ISA",
                &wanted,
                format!("this machine runs {}; unset it for the fastest", known.join(", ")),
            )
        })
    }

    /// Floats in one vector.
    pub(crate) fn lanes(self) -> usize {
        match self {
            Self::Scalar => 1,
            Self::Portable | Self::Avx2 | Self::Avx2Bytes => 8,
            Self::Avx512 | Self::Avx512Vnni => 16,
        }
    }

    /// Whether convolutions multiply bytes.
    pub fn in_bytes(self) -> bool {
        matches!(self, Self::Avx2Bytes | Self::Avx512Vnni)
    }

    /// The largest of these weights, which may become 127; or where it is larger, as AVX2 adds two products in 16 bits, the
    /// largest sum of neighbours.
    pub fn largest_weight(self, weights: &[f32]) -> f32 {
        let largest = weights.iter().fold(0.0, |all: f32, w| all.max(w.abs()));
        match self {
            Self::Avx2Bytes => weights.chunks_exact(2).fold(largest, |all, w| all.max((w[0] + w[1]).abs())),
            _ => largest,
        }
    }

    /// Which number of a block of four vectors stands at this place of an interleaved one: [`ByteLanes::interleave`] goes
    /// through groups of sixteen bytes, four bytes to a vector.
    ///
    /// # Panics
    /// If this path does not multiply bytes.
    pub(crate) fn interleaved(self, place: usize) -> usize {
        assert!(self.in_bytes(), "{} has no bytes", self.name());
        let lanes = self.lanes();
        let (vector, lane) = (place / lanes, place % lanes);
        16 * (lane / 4) + 4 * vector + lane % 4
    }

    /// Runs a kernel on this path ([`Isa::Scalar`] has no vectors: it runs the portable ones).
    ///
    /// # Panics
    /// If the machine lacks the instruction set; [`Isa::is_supported`] tells.
    #[allow(unsafe_code)]
    pub(crate) fn dispatch<K: Kernel>(self, kernel: K) -> K::Output {
        assert!(self.is_supported(), "this CPU has no {}", self.name());
        match self {
            Self::Scalar | Self::Portable => kernel.run::<portable::Portable>(),
            // SAFETY: the CPU has the instruction set, as asserted above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 | Self::Avx2Bytes => unsafe { avx2::enter(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 | Self::Avx512Vnni => unsafe { avx512::enter(kernel) },
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 | Self::Avx2Bytes | Self::Avx512 | Self::Avx512Vnni => {
                unreachable!("not supported here, as asserted above")
            }
        }
    }

    /// Runs a kernel that multiplies bytes.
    ///
    /// # Panics
    /// If this path does not ([`Isa::in_bytes`]), or the machine lacks the instruction set.
    #[allow(unsafe_code)]
    pub(crate) fn dispatch_bytes<K: ByteKernel>(self, kernel: K) {
        assert!(self.in_bytes() && self.is_supported(), "this CPU has no {} in bytes", self.name());
        // SAFETY: the CPU has the instruction set, as asserted above.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            match self {
                Self::Avx2Bytes => avx2_bytes::enter(kernel),
                _ => vnni::enter(kernel),
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = kernel;
    }
}

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
/// where `interleave` brings its byte: [`Isa::interleaved`] tells where.
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
const MIRRORED: [u8; 16] = [15, 12, 13, 14, 9, 10, 11, 6, 7, 8, 3, 4, 5, 0, 1, 2];

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
