//! The table of instruction sets. A new one is a file beside this one, and here a variant with its lines.
mod avx2;
mod avx2_bytes;
mod avx512;
mod avx512_vnni;
mod portable;

#[cfg(target_arch = "x86_64")]
use self::{avx2::Avx2Set, avx512::Avx512Set, avx512_vnni::Avx512VnniSet};
use super::lanes::{ByteKernel, Kernel};
use portable::{PortableSet, ScalarSet};

/// An instruction set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// Plain loops without SIMD types or reordering: the reference that the others are tested against.
    Scalar,
    /// Arrays of eight that the compiler maps to what every CPU of the target has (SSE2, NEON).
    Portable,
    /// AVX2 with FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 F, BW, DQ and VL.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// The same with VNNI.
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
}

impl Isa {
    /// All of them, the reference first and the fastest last.
    pub(super) const ALL: &[Self] = &[
        Self::Scalar,
        Self::Portable,
        #[cfg(target_arch = "x86_64")]
        Self::Avx2,
        #[cfg(target_arch = "x86_64")]
        Self::Avx512,
        #[cfg(target_arch = "x86_64")]
        Self::Avx512Vnni,
    ];

    /// Shows its row to the visitor.
    #[inline(always)]
    pub(super) fn visit<V: Visitor>(self, visitor: V) -> V::Output {
        match self {
            Self::Scalar => visitor.visit::<ScalarSet>(),
            Self::Portable => visitor.visit::<PortableSet>(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => visitor.visit::<Avx2Set>(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => visitor.visit::<Avx512Set>(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => visitor.visit::<Avx512VnniSet>(),
        }
    }
}

/// What an instruction set states.
pub(super) trait InstructionSet {
    /// What is known of it without running it.
    const ROW: Row;

    /// Runs a kernel compiled for it.
    ///
    /// # Safety
    /// The CPU has it.
    #[allow(unsafe_code)]
    unsafe fn enter<K: Kernel>(kernel: K) -> K::Output;

    /// The same for a kernel that multiplies bytes.
    ///
    /// # Safety
    /// The CPU has it.
    ///
    /// # Panics
    /// If [`Row::bytes`] is none.
    #[allow(unsafe_code)]
    unsafe fn enter_bytes<K: ByteKernel>(_: K) {
        unreachable!("{} does not multiply bytes, and says so", Self::ROW.name)
    }
}

/// A row of the table.
pub(super) struct Row {
    /// What `SASSL_ISA` and `sassl info` call it.
    pub(super) name: &'static str,
    /// Whether this machine has it.
    pub(super) is_supported: fn() -> bool,
    /// Floats in a vector, as weights are packed for it.
    pub(super) lanes: usize,
    /// Whether it has 32 vector registers rather than 16.
    pub(super) many_registers: bool,
    /// How it multiplies bytes, if it does.
    pub(super) bytes: Option<ByteProducts>,
    /// Whether it can run what is written in AVX2's own instructions.
    pub(super) includes_avx2: bool,
}

/// How bytes are multiplied.
pub(super) struct ByteProducts {
    /// Two products are added in 16 bits before they reach 32: two neighbouring weights together are limited as one of them is.
    pub(super) pairs_in_16_bits: bool,
}

/// What is done with a row.
pub(super) trait Visitor {
    /// What it gives.
    type Output;

    /// Does it.
    fn visit<S: InstructionSet>(self) -> Self::Output;
}
