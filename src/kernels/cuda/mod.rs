//! Kernels for CUDA, as values: a [`Launch`] says which kernel runs, over how many blocks, on which memory. What makes them is
//! free of CUDA, so that a machine without a GPU can make them, check them and, through `tests/cuda/emulator.h`, run them.
mod batch;
#[cfg(feature = "cuda")]
pub mod compiler;
#[cfg(feature = "cuda")]
pub mod device;
mod images;
pub mod interface;
mod plan;

use batch::put;
pub use batch::{Row, blend};
pub use images::{DeviceImages, PixelType, Strides};
pub use plan::{Plan, Room};

use interface::{DeviceEnum, DeviceStruct, StructArg};
use std::fmt::Write;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Where memory begins that a launch reads or writes; whoever launches knows its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Space {
    /// What [`Weights`] holds.
    Weights,
    /// What is needed while a batch is at work.
    Workspace,
    /// What [`Plan::put`] was given, behind the workspace.
    Words,
    /// The user's images.
    Images,
    /// Where results go.
    Out,
    /// Style vectors.
    Styles,
}

impl Space {
    /// All of them, in the order of their numbers.
    const ALL: [Self; 6] = [Self::Weights, Self::Workspace, Self::Words, Self::Images, Self::Out, Self::Styles];
}

/// A place in one of them, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct At {
    /// Which.
    pub space: Space,
    /// From its beginning.
    pub bytes: usize,
}

impl At {
    /// So many numbers of four bytes further.
    pub fn plus(self, numbers: usize) -> Self {
        self.plus_values(Number::F32, numbers)
    }

    /// The place that lies so many values of a map further on.
    pub fn plus_values(self, number: Number, values: usize) -> Self {
        Self { bytes: self.bytes + number.size() * values, ..self }
    }
}

/// The start of one of them.
impl From<Space> for At {
    fn from(space: Space) -> Self {
        Self { space, bytes: 0 }
    }
}

/// An argument of a kernel.
#[derive(Clone, Debug, PartialEq)]
pub enum Arg {
    /// An address.
    At(At),
    /// No address.
    Null,
    /// `int`.
    Int(i32),
    /// `float`.
    Float(f32),
    /// A struct.
    Struct(StructArg),
}

impl Arg {
    /// A struct, by value.
    pub fn of<S: DeviceStruct>(arg: &S) -> Self {
        Self::Struct(StructArg::new(arg))
    }

    /// Its bytes as the kernel takes them, in eights.
    pub fn placed(&self, mut address: impl FnMut(At) -> u64) -> Vec<u64> {
        match self {
            &Self::At(at) => vec![address(at)],
            Self::Null => vec![0],
            &Self::Int(x) => vec![u64::from(x.cast_unsigned())],
            &Self::Float(x) => vec![u64::from(x.to_bits())],
            Self::Struct(arg) => arg.placed(address),
        }
    }
}

impl From<At> for Arg {
    fn from(at: At) -> Self {
        Self::At(at)
    }
}

impl From<usize> for Arg {
    /// # Panics
    /// If it is too large for an `int`; sizes are checked where images come in.
    fn from(n: usize) -> Self {
        Self::Int(int(n))
    }
}

/// A size as kernels count it.
///
/// # Panics
/// If it is too large for an `int`; sizes are checked where images come in.
pub(super) fn int(n: usize) -> i32 {
    i32::try_from(n).expect("a checked size")
}

/// A kernel: its source, its name in it, and what is defined before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Of the function.
    pub name: &'static str,
    /// What Rust writes for it, and a `.cu` file.
    pub source: &'static str,
    /// Names and their values.
    pub defines: Vec<(&'static str, usize)>,
}

impl Hash for Kernel {
    /// Without the source, which goes with the name.
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.name, &self.defines).hash(state);
    }
}

impl Kernel {
    /// The whole text that a compiler gets.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let tile = [("BLOCK_ROWS", TILE.0), ("BLOCK_COLUMNS", TILE.1)];
        for (name, number) in tile.iter().chain(&self.defines) {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "#define {name} {number}");
        }
        [&text, &PixelType::definition(), &Strides::definition(), include_str!("prelude.cuh"), self.source].concat()
    }
}

/// A kernel over a grid of blocks.
#[derive(Clone, Debug, PartialEq)]
pub struct Launch {
    /// What runs.
    pub kernel: Arc<Kernel>,
    /// Blocks along each axis; the last one counts images.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub block: u32,
    /// Bytes of shared memory of a block, at most [`SHARED`].
    pub shared: usize,
    /// In the kernel's order.
    pub args: Vec<Arg>,
}

/// What every device gives a block without being asked twice.
pub const SHARED: usize = 48 << 10;

/// Images of a launch, at most: a grid's third axis.
pub const IMAGES: usize = 65_535;

/// Threads of a block where nothing else decides.
const BLOCK: u32 = 256;

impl Launch {
    /// A thread for each of `threads` things of each of `images`.
    pub(super) fn each(kernel: &Arc<Kernel>, threads: usize, images: usize, args: Vec<Arg>) -> Self {
        let blocks = threads.div_ceil(BLOCK as usize);
        Self { kernel: kernel.clone(), grid: [count(blocks), 1, count(images)], block: BLOCK, shared: 0, args }
    }
}

/// How large a grid is along one axis.
///
/// # Panics
/// Beyond 2^32; sizes are checked where images come in.
pub(super) fn count(n: usize) -> u32 {
    u32::try_from(n).expect("a checked size")
}

/// Numbers of a map: float16, or float32 where every digit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// Fast.
    F16,
    /// Exact.
    F32,
}

impl Number {
    /// Bytes of one.
    pub fn size(self) -> usize {
        match self {
            Self::F16 => 2,
            Self::F32 => 4,
        }
    }

    /// What [`Kernel::defines`] says of it.
    pub(super) fn define(self) -> (&'static str, usize) {
        ("EXACT", usize::from(self == Self::F32))
    }
}

/// Channels that a map has in memory for so many that count: four at a time are read, or eight multiplied.
pub fn stored(channels: usize) -> usize {
    if channels <= 4 { 4 } else { channels.next_multiple_of(8) }
}

/// Maps of as many images, `[image][row][column][channel]`; or, as a convolution that upsamples leaves them,
/// `[image][row / 2][column / 2][row % 2][column % 2][channel]`.
#[derive(Clone, Copy, Debug)]
pub struct Map {
    /// Where the first begins.
    pub at: At,
    /// How many.
    pub images: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// In memory.
    pub channels: usize,
    /// The second form.
    pub phased: bool,
}

impl Map {
    /// Rows and columns.
    pub fn size(&self) -> (usize, usize) {
        (self.height, self.width)
    }

    /// Of one image.
    pub fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Rows, columns and channels as they lie in memory: of a map with phases, its cells.
    pub fn cells(&self) -> (usize, usize, usize) {
        match self.phased {
            true => (self.height / 2, self.width / 2, 4 * self.channels),
            false => (self.height, self.width, self.channels),
        }
    }
}

/// Pixels of a block of a convolution, and of moments.
pub(super) const TILE: (usize, usize) = (8, 16);

/// Means and squared deviations of each channel of maps over each block of 8x16 pixels, `[image][block][2][channel]`.
#[derive(Clone, Copy, Debug)]
pub struct Moments {
    /// Where the first begins.
    pub at: At,
    /// How many blocks an image has.
    pub blocks: usize,
    /// Their map.
    pub of: Map,
}

impl Moments {
    /// Memory for those of a map.
    pub fn new(of: &Map, room: &mut Room) -> Self {
        let (height, width, channels) = of.cells();
        let blocks = height.div_ceil(TILE.0) * width.div_ceil(TILE.1);
        Self { at: room.take(of.images * blocks * 2 * channels), blocks, of: *of }
    }
}

/// The weights of a network's kernels, one after the other.
#[derive(Clone, Debug, Default)]
pub struct Weights {
    /// As they lie on the device.
    pub bytes: Vec<u8>,
}

impl Weights {
    /// Every tensor begins at a multiple of as many bytes.
    const ALIGN: usize = 256;

    /// Appends numbers of this kind.
    pub(super) fn push(&mut self, number: Number, numbers: impl IntoIterator<Item = f32>) -> At {
        let bytes = self.bytes.len().next_multiple_of(Self::ALIGN);
        self.bytes.resize(bytes, 0);
        for x in numbers {
            match number {
                Number::F16 => self.bytes.extend(half::f16::from_f32(x).to_le_bytes()),
                Number::F32 => self.bytes.extend(x.to_le_bytes()),
            }
        }
        At { space: Space::Weights, bytes }
    }
}
