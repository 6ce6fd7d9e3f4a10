//! Instruction sets: which there are, which this machine has, and how a kernel runs on one.
//!
//! A kernel is written once, generic over `Lanes`; `Isa::dispatch` compiles it again for each instruction set and
//! enters the copy that was asked for.
//!
//! - `sets`: the table of instruction sets, with a file for each row and its vectors.
//! - `lanes`: what kernels see of a vector.
//! - `path`: an instruction set and a precision.
//! - `extent`: the range of values.
//! - `tile`: the innermost loop of matrix products.
//! - `winograd`: the transforms of 3x3 convolutions in fewer products.
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
    /// Its name: what `SASSL_ISA` and `sassl info` say.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// Whether this machine can run it.
    pub fn is_supported(self) -> bool {
        (self.row().is_supported)()
    }

    /// Every instruction set that this machine can run, the reference first and the fastest last.
    pub fn supported() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(|isa| isa.is_supported())
    }

    /// The fastest one here, or the one that the environment variable `SASSL_ISA` names.
    ///
    /// # Errors
    /// `SASSL_ISA` names none, or one that this machine lacks.
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
                format!("this machine runs {}; unset it for the fastest", known.join(", ")),
            )
        })
    }

    /// Floats in one vector.
    pub fn lanes(self) -> usize {
        self.row().lanes
    }

    /// Whether there are 32 vector registers rather than 16.
    pub(crate) fn many_registers(self) -> bool {
        self.row().many_registers
    }

    /// Whether it has what multiplies bytes.
    pub fn multiplies_bytes(self) -> bool {
        self.row().bytes.is_some()
    }

    /// Whether it can run what is written in AVX2's own instructions.
    pub(crate) fn includes_avx2(self) -> bool {
        self.row().includes_avx2
    }

    /// AVX2 where it is included: for loops in which the compiler gathers values with AVX-512, which is slower than loading them.
    pub(crate) fn without_gathers(self) -> Self {
        if self.includes_avx2() { Self::Avx2 } else { self }
    }

    /// The largest of these weights, which may become 127; or where two products are added in 16 bits and it is larger, the
    /// largest sum of neighbours.
    pub fn largest_weight(self, weights: &[f32]) -> f32 {
        let largest = weights.iter().fold(0.0, |all: f32, w| all.max(w.abs()));
        match self.row().bytes.as_ref().is_some_and(|bytes| bytes.pairs_in_16_bits) {
            true => weights.chunks_exact(2).fold(largest, |all, w| all.max((w[0] + w[1]).abs())),
            false => largest,
        }
    }

    /// Which number of a block of four vectors stands at this place of an interleaved one: [`ByteLanes::interleave`] goes
    /// through groups of sixteen bytes, four bytes to a vector.
    ///
    /// # Panics
    /// If it does not multiply bytes.
    pub(crate) fn interleaved(self, place: usize) -> usize {
        assert!(self.multiplies_bytes(), "{} has no bytes", self.name());
        let lanes = self.lanes();
        let (vector, lane) = (place / lanes, place % lanes);
        16 * (lane / 4) + 4 * vector + lane % 4
    }

    /// Runs a kernel ([`Isa::Scalar`] has no vectors: it runs the portable ones).
    ///
    /// # Panics
    /// If the machine lacks the instruction set; [`Isa::is_supported`] tells.
    #[inline]
    pub(crate) fn dispatch<K: Kernel>(self, kernel: K) -> K::Output {
        assert!(self.is_supported(), "this CPU has no {}", self.name());
        self.visit(Enter(kernel))
    }

    /// Runs a kernel that multiplies bytes.
    ///
    /// # Panics
    /// If it does not ([`Isa::multiplies_bytes`]), or the machine lacks the instruction set.
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

/// A kernel on its way in. The instruction set is supported, as whoever makes one has asserted.
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

/// The same of a kernel that multiplies bytes.
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
