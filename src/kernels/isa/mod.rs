//! Instruction sets: the table of supported sets, detection, and dispatch of kernels.
//!
//! A kernel is written once, generic over `Lanes`, and compiled for each instruction set. `Isa::dispatch` calls the requested
//! version.
//!
//! - `sets`: the table of instruction sets, and a file with the vector types of each set.
//! - `lanes`: the vector traits that kernels use.
//! - `path`: an instruction set and a precision.
//! - `extent`: the range of values.
//! - `tile`: the innermost loop of matrix products.
//! - `winograd`: the Winograd transforms of 3x3 convolutions.
mod extent;
mod lanes;
mod path;
mod sets;
mod tile;
pub(crate) mod winograd;

pub use extent::Extent;
pub(crate) use extent::LaneExtents;
pub(crate) use lanes::{ByteKernel, ByteLanes, Kernel, Lanes, MOST_LANES, load_block, mul_add_block, period};
pub use path::{KernelPath, Precision};
pub use sets::Isa;
pub(crate) use tile::{Left, Right, add_products, prefetch};

use crate::error::{Error, Result};
use sets::{InstructionSet, Row, Visitor};
use std::sync::OnceLock;

impl Isa {
    /// Name of the instruction set, as in `SASSL_ISA` and `sassl info`.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// Returns whether this machine supports the instruction set.
    pub fn is_supported(self) -> bool {
        (self.row().is_supported)()
    }

    /// Every instruction set that this machine supports, the reference first and the fastest last.
    pub fn supported() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(|isa| isa.is_supported())
    }

    /// Returns the fastest instruction set of this machine, or the one named by the environment variable `SASSL_ISA`.
    ///
    /// # Errors
    /// `SASSL_ISA` is set to an unknown name, or to an instruction set that this machine does not support.
    pub fn detect() -> Result<Self> {
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
                format!("must be one of {} on this machine; unset it for the fastest", known.join(", ")),
            )
        })
    }

    /// Number of floats in a vector register; 1 for [`Isa::Scalar`].
    pub fn lanes(self) -> usize {
        self.row().lanes
    }

    /// Returns whether there are 32 vector registers rather than 16.
    pub(crate) fn many_registers(self) -> bool {
        self.row().many_registers
    }

    /// Returns whether the instruction set has instructions for products of bytes.
    pub fn multiplies_bytes(self) -> bool {
        self.row().bytes.is_some()
    }

    /// Returns whether the instruction set includes AVX2, so that code written with AVX2 intrinsics can run.
    pub(crate) fn includes_avx2(self) -> bool {
        self.row().includes_avx2
    }

    /// Returns AVX2 if this instruction set includes AVX2, otherwise the set itself. This is for loops in which the compiler
    /// would emit AVX-512 gathers: separate loads are faster.
    pub(crate) fn without_gathers(self) -> Self {
        if self.includes_avx2() { Self::Avx2 } else { self }
    }

    /// Returns the magnitude that is quantized to at most 127.
    ///
    /// This is the largest absolute value of a weight. If the instruction set adds two products in 16 bits, the absolute
    /// values of the sums of pairs of weights (0 and 1, 2 and 3, ...) are included in the maximum.
    pub fn largest_weight(self, weights: &[f32]) -> f32 {
        let largest = weights.iter().fold(0.0, |all: f32, w| all.max(w.abs()));
        match self.row().bytes.as_ref().is_some_and(|bytes| bytes.pairs_in_16_bits) {
            true => weights.chunks_exact(2).fold(largest, |all, w| all.max((w[0] + w[1]).abs())),
            false => largest,
        }
    }

    /// Converts a position in an interleaved block to the index of its value in the original block.
    ///
    /// [`ByteLanes::interleave`] works on groups of sixteen bytes, and puts four bytes of each group into each of the four
    /// vectors.
    ///
    /// # Panics
    /// If the instruction set does not multiply bytes.
    pub(crate) fn interleaved(self, place: usize) -> usize {
        assert!(self.multiplies_bytes(), "{} has no bytes", self.name());
        let lanes = self.lanes();
        let (vector, lane) = (place / lanes, place % lanes);
        16 * (lane / 4) + 4 * vector + lane % 4
    }

    /// Runs a kernel. [`Isa::Scalar`] has no vectors, and runs the portable version.
    ///
    /// # Panics
    /// If the machine does not support the instruction set; see [`Isa::is_supported`].
    #[inline]
    pub(crate) fn dispatch<K: Kernel>(self, kernel: K) -> K::Output {
        assert!(self.is_supported(), "this CPU has no {}", self.name());
        self.visit(Enter(kernel))
    }

    /// Runs a kernel that multiplies bytes.
    ///
    /// # Panics
    /// If the instruction set does not multiply bytes ([`Isa::multiplies_bytes`]), or the machine does not support the set.
    #[inline]
    pub(crate) fn dispatch_bytes<K: ByteKernel>(self, kernel: K) {
        assert!(self.multiplies_bytes() && self.is_supported(), "this CPU has no {} in bytes", self.name());
        self.visit(EnterBytes(kernel));
    }

    #[inline]
    fn row(self) -> &'static Row {
        self.visit(ShowRow)
    }
}

struct ShowRow;

impl Visitor for ShowRow {
    type Output = &'static Row;

    #[inline(always)]
    fn visit<S: InstructionSet>(self) -> &'static Row {
        const { assert!(S::ROW.lanes <= MOST_LANES, "raise MOST_LANES") }
        const { &S::ROW }
    }
}

/// A kernel to run. This type is only constructed after checking that the CPU supports the instruction set.
struct Enter<K>(K);

impl<K: Kernel> Visitor for Enter<K> {
    type Output = K::Output;

    #[inline(always)]
    #[allow(unsafe_code)]
    fn visit<S: InstructionSet>(self) -> K::Output {
        // SAFETY: the CPU has the instruction set.
        unsafe { S::enter(self.0) }
    }
}

/// Like [`Enter`], for a kernel that multiplies bytes.
struct EnterBytes<K>(K);

impl<K: ByteKernel> Visitor for EnterBytes<K> {
    type Output = ();

    #[inline(always)]
    #[allow(unsafe_code)]
    fn visit<S: InstructionSet>(self) {
        // SAFETY: the CPU has the instruction set.
        unsafe { S::enter_bytes(self.0) }
    }
}
