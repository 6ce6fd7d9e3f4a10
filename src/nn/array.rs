//! A batch of maps in NHWC, and the engine that computes on it.
use crate::error::Result;
use crate::kernels::isa::Isa;
use crate::kernels::threads::pool;
use crate::memory;

/// Number of values that a thread adds at a time.
const PART: usize = 1 << 16;

/// The values of a batch: `[n][height][width][channels]`; for vectors, height and width are 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Images, rows, columns, channels.
    pub shape: [usize; 4],
    /// The values, in the order of `shape`.
    pub numbers: Vec<f32>,
}

/// A borrowed [`Array`].
#[derive(Clone, Copy, Debug)]
pub struct ArrayRef<'a> {
    /// Images, rows, columns, channels.
    pub shape: [usize; 4],
    /// The values, in the order of `shape`.
    pub numbers: &'a [f32],
}

/// The instruction set of the kernels, and the number of threads.
#[derive(Clone, Copy, Debug)]
pub struct Engine {
    /// The instruction set, in float32.
    pub isa: Isa,
    /// The number of threads, at least 1.
    pub threads: usize,
}

impl Array {
    /// Creates an array of zeros.
    pub fn zeros(shape: [usize; 4]) -> Self {
        let numbers = memory::zeros("a batch's maps", shape.iter().product());
        Self { shape, numbers: memory::or_unwind(numbers) }
    }

    /// Borrows the array without a copy.
    pub fn borrowed(&self) -> ArrayRef<'_> {
        ArrayRef { shape: self.shape, numbers: &self.numbers }
    }

    /// The pixels of a map: rows times columns.
    pub fn pixels(&self) -> usize {
        self.shape[1] * self.shape[2]
    }

    /// Adds another array of the same shape.
    ///
    /// # Panics
    /// If the shapes differ.
    pub fn add(&mut self, engine: Engine, other: &Self) {
        assert_eq!(self.shape, other.shape);
        let parts = self.numbers.chunks_mut(PART).zip(other.numbers.chunks(PART));
        pool::each(engine.threads, parts, |(to, from)| to.iter_mut().zip(from).for_each(|(to, from)| *to += from));
    }

    /// The number of channels.
    pub fn channels(&self) -> usize {
        self.shape[3]
    }
}

impl Engine {
    /// Creates an engine with the fastest instruction set for float32.
    ///
    /// # Errors
    /// `SASSL_ISA` names an instruction set that this machine does not have.
    pub fn new(threads: usize) -> Result<Self> {
        Ok(Self { isa: Isa::detect()?, threads: threads.max(1) })
    }
}
