//! Instruction sets: which there are, which this machine has, and how a kernel runs on one.
//!
//! A kernel is written once, generic over `Lanes`; `Isa::dispatch` compiles it again for each instruction set and
//! enters the copy that was asked for.
mod avx2;
mod avx512;
mod portable;

use crate::error::{Error, Result};
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
    /// AVX-512 F, BW, DQ and VL.
    Avx512,
}

impl Isa {
    const ALL: [Self; 4] = [Self::Scalar, Self::Portable, Self::Avx2, Self::Avx512];

    /// Its name: what `SASSL_ISA` and `sassl info` say.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }

    /// Whether this machine can run it.
    pub fn is_supported(self) -> bool {
        match self {
            Self::Scalar | Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                Self::Avx2.is_supported()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 | Self::Avx512 => false,
        }
    }

    /// Every path that this machine can run, the truth first and the fastest last.
    pub fn supported() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|isa| isa.is_supported())
    }

    /// The fastest path here, or the one that the environment variable `SASSL_ISA` names.
    ///
    /// # Errors
    /// `SASSL_ISA` names no path, or one that this machine lacks.
    pub fn detect() -> Result<Self> {
        static BEST: OnceLock<Isa> = OnceLock::new();
        let Some(wanted) = std::env::var_os("SASSL_ISA") else {
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
            Self::Portable | Self::Avx2 => 8,
            Self::Avx512 => 16,
        }
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
            Self::Avx2 => unsafe { avx2::enter(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => unsafe { avx512::enter(kernel) },
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 | Self::Avx512 => unreachable!("not supported here, as asserted above"),
        }
    }
}

/// A loop over numbers that is compiled once for each instruction set.
pub(crate) trait Kernel {
    /// What it gives.
    type Output;

    /// The loop. Implementations are `#[inline(always)]`: only so does the body take on the caller's instruction set.
    fn run<L: Lanes>(self) -> Self::Output;
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

    /// `self * by + plus`, rounded once where the instruction set has FMA.
    fn mul_add(self, by: Self, plus: Self) -> Self;

    /// The larger of each pair.
    fn max(self, other: Self) -> Self;

    /// The smaller of each pair.
    fn min(self, other: Self) -> Self;
}
