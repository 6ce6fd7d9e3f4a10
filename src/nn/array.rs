//! A batch of maps in NHWC, and what computes on it.
use crate::error::Result;
use crate::kernels::isa::Isa;
use crate::kernels::threads::pool;
use crate::memory;

/// Numbers that a thread adds at a time.
const PART: usize = 1 << 16;

/// Numbers of a batch: `[n][height][width][channels]`; of vectors height and width are 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Images, rows, columns, channels.
    pub shape: [usize; 4],
    /// As many numbers.
    pub numbers: Vec<f32>,
}

/// The same, of someone else's numbers.
#[derive(Clone, Copy, Debug)]
pub struct ArrayRef<'a> {
    /// Images, rows, columns, channels.
    pub shape: [usize; 4],
    /// As many numbers.
    pub numbers: &'a [f32],
}

/// A path through the kernels, and how many threads.
#[derive(Clone, Copy, Debug)]
pub struct Engine {
    /// In float32.
    pub isa: Isa,
    /// At least 1.
    pub threads: usize,
}

impl Array {
    /// Zeros.
    pub fn zeros(shape: [usize; 4]) -> Self {
        let numbers = memory::zeros("a batch's maps", shape.iter().product());
        Self { shape, numbers: memory::or_unwind(numbers) }
    }

    /// Without a copy.
    pub fn borrowed(&self) -> ArrayRef<'_> {
        ArrayRef { shape: self.shape, numbers: &self.numbers }
    }

    /// Rows times columns.
    pub fn pixels(&self) -> usize {
        self.shape[1] * self.shape[2]
    }

    /// Adds another one of the same shape.
    ///
    /// # Panics
    /// If it has another.
    pub fn add(&mut self, engine: Engine, other: &Self) {
        assert_eq!(self.shape, other.shape);
        let parts = self.numbers.chunks_mut(PART).zip(other.numbers.chunks(PART));
        pool::each(engine.threads, parts, |(to, from)| to.iter_mut().zip(from).for_each(|(to, from)| *to += from));
    }

    /// Of an image.
    pub fn channels(&self) -> usize {
        self.shape[3]
    }
}

impl Engine {
    /// The fastest path in float32.
    ///
    /// # Errors
    /// `SASSL_ISA` names no path of this machine.
    pub fn new(threads: usize) -> Result<Self> {
        Ok(Self { isa: Isa::detect()?, threads: threads.max(1) })
    }
}
