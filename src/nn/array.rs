//! A batch of feature maps in NHWC order, and the engine that computes on it.
use crate::error::Result;
use crate::kernels::isa::Isa;
use crate::kernels::threads::pool;
use crate::memory;

/// Number of values that a thread adds at a time in [`Array::add`].
const PART: usize = 1 << 16;

/// The values of a batch, `[n][height][width][channels]`. For a batch of vectors, height and width are 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Number of images, rows, columns and channels.
    pub shape: [usize; 4],
    /// The values, contiguous in memory; the last axis of `shape` varies fastest.
    pub numbers: Vec<f32>,
}

/// A borrowed [`Array`].
#[derive(Clone, Copy, Debug)]
pub struct ArrayRef<'a> {
    /// Number of images, rows, columns and channels.
    pub shape: [usize; 4],
    /// The values, contiguous in memory; the last axis of `shape` varies fastest.
    pub numbers: &'a [f32],
}

/// The instruction set of the kernels, and the number of threads.
#[derive(Clone, Copy, Debug)]
pub struct Engine {
    /// The instruction set; kernels compute in float32.
    pub isa: Isa,
    /// The number of threads, at least 1.
    pub threads: usize,
}

impl Array {
    /// Creates an array of zeros. If memory is exhausted, this unwinds like [`memory::or_unwind`].
    pub fn zeros(shape: [usize; 4]) -> Self {
        let numbers = memory::zeros("a batch's maps", shape.iter().product());
        Self { shape, numbers: memory::or_unwind(numbers) }
    }

    /// Borrows the array without a copy.
    pub fn borrowed(&self) -> ArrayRef<'_> {
        ArrayRef { shape: self.shape, numbers: &self.numbers }
    }

    /// The number of pixels of a map: rows times columns.
    pub fn pixels(&self) -> usize {
        self.shape[1] * self.shape[2]
    }

    /// Adds another array of the same shape in place.
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
    /// Creates an engine. Its instruction set is the one in the environment variable `SASSL_ISA`, or else the fastest supported
    /// one. 0 threads count as 1.
    ///
    /// # Errors
    /// `SASSL_ISA` is set to an unknown name, or to an instruction set that this machine does not support.
    pub fn new(threads: usize) -> Result<Self> {
        Ok(Self { isa: Isa::detect()?, threads: threads.max(1) })
    }
}
