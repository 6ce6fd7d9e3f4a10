//! A path through kernels: an instruction set, and how convolutions multiply on it.
use super::Isa;
use crate::error::{Error, Result};
use std::fmt;

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

/// An instruction set and a precision: what layers of inference are packed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelPath {
    isa: Isa,
    precision: Precision,
}

impl KernelPath {
    /// This instruction set at this precision.
    pub const fn new(isa: Isa, precision: Precision) -> Self {
        Self { isa, precision }
    }

    /// The fastest instruction set here, or the one that `SASSL_ISA` names, at this precision.
    ///
    /// # Errors
    /// [`Isa::detect`]'s.
    pub fn detect(precision: Precision) -> Result<Self> {
        Ok(Self::new(Isa::detect()?, precision))
    }

    /// Every path that differs from the others on this machine, the reference first and the fastest last.
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

    /// Whether convolutions multiply bytes.
    pub fn in_bytes(self) -> bool {
        self.precision == Precision::Fast && self.isa.multiplies_bytes()
    }
}

impl fmt::Display for KernelPath {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}{}", self.isa.name(), if self.in_bytes() { " in bytes" } else { "" })
    }
}
