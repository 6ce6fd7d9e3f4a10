//! Kernel paths: an instruction set and the arithmetic of convolutions.
use super::Isa;
use crate::error::{Error, Result};
use std::fmt;

/// Arithmetic of convolutions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// The fastest arithmetic of this machine.
    ///
    /// If the instruction set has products of bytes, convolutions multiply integers and sum the products in 32 bits.
    /// Activations are quantized over the range of each map or channel, and weights over the range of each output channel.
    /// Without products of bytes, the arithmetic is that of [`Precision::Exact`].
    #[default]
    Fast,
    /// float32.
    Exact,
}

impl Precision {
    /// Name of the precision.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Exact => "exact",
        }
    }

    /// Returns the precision called `name`.
    ///
    /// # Errors
    /// The name is unknown.
    pub fn named(name: &str) -> Result<Self> {
        let found = [Self::Fast, Self::Exact].into_iter().find(|precision| precision.name() == name);
        found.ok_or_else(|| Error::value("precision", format!("{name:?}"), "must be \"fast\" or \"exact\""))
    }
}

/// An instruction set and a precision. The weights of inference layers are packed for one kernel path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelPath {
    isa: Isa,
    precision: Precision,
}

impl KernelPath {
    /// Combines an instruction set and a precision.
    pub const fn new(isa: Isa, precision: Precision) -> Self {
        Self { isa, precision }
    }

    /// Combines the instruction set that [`Isa::detect`] returns with this precision.
    ///
    /// # Errors
    /// The same as [`Isa::detect`].
    pub fn detect(precision: Precision) -> Result<Self> {
        Ok(Self::new(Isa::detect()?, precision))
    }

    /// Every distinct path on this machine, the reference first and the fastest last.
    pub fn supported() -> impl Iterator<Item = Self> {
        Isa::supported().flat_map(|isa| {
            let fast = isa.multiplies_bytes().then_some(Precision::Fast);
            std::iter::once(Precision::Exact).chain(fast).map(move |precision| Self::new(isa, precision))
        })
    }

    /// The instruction set.
    pub fn isa(self) -> Isa {
        self.isa
    }

    /// Returns whether convolutions multiply bytes on this path.
    pub fn in_bytes(self) -> bool {
        self.precision == Precision::Fast && self.isa.multiplies_bytes()
    }
}

impl fmt::Display for KernelPath {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}{}", self.isa.name(), if self.in_bytes() { " in bytes" } else { "" })
    }
}
