//! The table of instruction sets. To add an instruction set, add a file to this folder, and a variant of [`Isa`] with its entry
//! in `Isa::ALL` and its arm in `Isa::visit`.
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
    /// Plain loops without SIMD types or reordering. This is the reference in tests of the other instruction sets.
    Scalar,
    /// Arrays of eight floats, which the compiler maps to the baseline instructions of the target (SSE2 or NEON).
    Portable,
    /// AVX2 with FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 F, BW, DQ and VL.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// [`Isa::Avx512`] with VNNI.
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
}

impl Isa {
    /// All instruction sets, the reference first and the fastest last.
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

    /// Calls the visitor with the type that implements this instruction set.
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

/// Interface of an instruction set.
pub(super) trait InstructionSet {
    /// Static properties, which can be read on any machine.
    const ROW: Row;

    /// Runs a kernel compiled for this instruction set.
    ///
    /// # Safety
    /// The CPU supports the instruction set.
    #[allow(unsafe_code)]
    unsafe fn enter<K: Kernel>(kernel: K) -> K::Output;

    /// Runs a kernel that multiplies bytes.
    ///
    /// # Safety
    /// The CPU supports the instruction set.
    ///
    /// # Panics
    /// If [`Row::bytes`] is `None`.
    #[allow(unsafe_code)]
    unsafe fn enter_bytes<K: ByteKernel>(_: K) {
        unreachable!("{} does not multiply bytes, and says so", Self::ROW.name)
    }
}

/// A row of the table: the properties of an instruction set.
pub(super) struct Row {
    /// Name in `SASSL_ISA` and `sassl info`.
    pub(super) name: &'static str,
    /// Whether this machine supports the instruction set.
    pub(super) is_supported: fn() -> bool,
    /// Number of floats in a vector register; weights are packed to this width.
    pub(super) lanes: usize,
    /// Whether there are 32 vector registers rather than 16.
    pub(super) many_registers: bool,
    /// Properties of the multiplication of bytes; `None` if there are no instructions for it.
    pub(super) bytes: Option<ByteProducts>,
    /// Whether CPUs with this instruction set can run code written with AVX2 intrinsics.
    pub(super) includes_avx2: bool,
}

/// Properties of the multiplication of bytes.
pub(super) struct ByteProducts {
    /// Whether two products are added in 16 bits before the sum is extended to 32 bits. If so, the sum of two neighbouring
    /// weights must not exceed the limit of a single weight.
    pub(super) pairs_in_16_bits: bool,
}

/// An operation that is generic over the instruction set.
pub(super) trait Visitor {
    /// Result of the operation.
    type Output;

    /// Runs the operation.
    fn visit<S: InstructionSet>(self) -> Self::Output;
}
