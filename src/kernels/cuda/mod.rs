//! CUDA kernel launches as plain data. A [`Launch`] states which kernel runs, over how many blocks, on which memory. Building
//! launches does not need CUDA. A machine without a GPU can thus build and check them. It can also run them, through
//! `tests/cuda/emulator.h`.
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

/// A memory region that kernel launches read or write. Its address is supplied when the launches run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Space {
    /// Contents of [`Weights`].
    Weights,
    /// Temporary memory for processing a batch.
    Workspace,
    /// Values passed to [`Plan::put`], stored after the workspace.
    Words,
    /// The user's images.
    Images,
    /// The output.
    Out,
    /// Style vectors.
    Styles,
}

impl Space {
    /// All memory regions, in declaration order.
    const ALL: [Self; 6] = [Self::Weights, Self::Workspace, Self::Words, Self::Images, Self::Out, Self::Styles];
}

/// A position in a memory region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct At {
    /// The region.
    pub space: Space,
    /// Offset from the start of the region, in bytes.
    pub bytes: usize,
}

impl At {
    /// Returns the position that is `numbers` 4-byte values after this position.
    pub fn plus(self, numbers: usize) -> Self {
        self.plus_values(Number::F32, numbers)
    }

    /// Returns the position that is `values` map elements of type `number` after this position.
    pub fn plus_values(self, number: Number, values: usize) -> Self {
        Self { bytes: self.bytes + number.size() * values, ..self }
    }
}

/// The start of a region.
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
    /// A null pointer.
    Null,
    /// `int`.
    Int(i32),
    /// `float`.
    Float(f32),
    /// A struct.
    Struct(StructArg),
}

impl Arg {
    /// Creates a struct argument, which is passed by value.
    pub fn of<S: DeviceStruct>(arg: &S) -> Self {
        Self::Struct(StructArg::new(arg))
    }

    /// Returns the argument's bytes as the kernel takes them, in 8-byte words. `address` maps a position to its device address.
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
    /// Converts a size to an `int` argument.
    ///
    /// # Panics
    /// If `n` is too large for an `int`; sizes are checked at the API boundary.
    fn from(n: usize) -> Self {
        Self::Int(int(n))
    }
}

/// Converts a size to the type `int`, which the kernels use.
///
/// # Panics
/// If `n` is too large for an `int`; sizes are checked at the API boundary.
pub(super) fn int(n: usize) -> i32 {
    i32::try_from(n).expect("a checked size")
}

/// A kernel: its source, the name of its function, and its defines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Name of the function.
    pub name: &'static str,
    /// Definitions generated in Rust, followed by a `.cu` file.
    pub source: &'static str,
    /// Names and values of the macros defined before the source.
    pub defines: Vec<(&'static str, usize)>,
}

impl Hash for Kernel {
    /// Hashes the name and the defines. The source is determined by the name.
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.name, &self.defines).hash(state);
    }
}

impl Kernel {
    /// The complete source that is passed to the compiler.
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

/// A launch of a kernel over a grid of blocks.
#[derive(Clone, Debug, PartialEq)]
pub struct Launch {
    /// The kernel.
    pub kernel: Arc<Kernel>,
    /// Number of blocks along each axis. Along the third axis, there is one block for each image.
    pub grid: [u32; 3],
    /// Number of threads in a block.
    pub block: u32,
    /// Number of bytes of shared memory of a block, at most [`SHARED`].
    pub shared: usize,
    /// Arguments, in the kernel's order.
    pub args: Vec<Arg>,
}

/// Shared memory, in bytes, that a block can use on every device without opting in to more.
pub const SHARED: usize = 48 << 10;

/// Maximum number of images in a launch: the limit of a grid's third axis.
pub const IMAGES: usize = 65_535;

/// Default number of threads in a block.
const BLOCK: u32 = 256;

impl Launch {
    /// Creates a launch with `threads` threads, rounded up to whole blocks, for each of `images` images.
    pub(super) fn each(kernel: &Arc<Kernel>, threads: usize, images: usize, args: Vec<Arg>) -> Self {
        let blocks = threads.div_ceil(BLOCK as usize);
        Self { kernel: kernel.clone(), grid: [count(blocks), 1, count(images)], block: BLOCK, shared: 0, args }
    }
}

/// Converts a size to a grid dimension.
///
/// # Panics
/// If `n` is 2^32 or more; sizes are checked at the API boundary.
pub(super) fn count(n: usize) -> u32 {
    u32::try_from(n).expect("a checked size")
}

/// Element type of a map: float16, or float32 for full precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// float16: fast.
    F16,
    /// float32: exact.
    F32,
}

impl Number {
    /// Size in bytes.
    pub fn size(self) -> usize {
        match self {
            Self::F16 => 2,
            Self::F32 => 4,
        }
    }

    /// The entry of [`Kernel::defines`] for this type.
    pub(super) fn define(self) -> (&'static str, usize) {
        ("EXACT", usize::from(self == Self::F32))
    }
}

/// Returns the number of channels of a map in memory: 4, or else a multiple of 8. Kernels can then read four channels, or
/// multiply eight channels, at once.
pub fn stored(channels: usize) -> usize {
    if channels <= 4 { 4 } else { channels.next_multiple_of(8) }
}

/// Feature maps of a batch, `[image][row][column][channel]`.
///
/// The output of an upsampling convolution has another layout (see [`Map::phased`]):
/// `[image][row / 2][column / 2][row % 2][column % 2][channel]`.
#[derive(Clone, Copy, Debug)]
pub struct Map {
    /// Address of the first map.
    pub at: At,
    /// Number of images.
    pub images: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Number of channels in memory, including padding.
    pub channels: usize,
    /// Whether the maps have the layout of an upsampling convolution's output.
    pub phased: bool,
}

impl Map {
    /// Rows and columns.
    pub fn size(&self) -> (usize, usize) {
        (self.height, self.width)
    }

    /// Number of pixels of one image.
    pub fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Rows, columns and channels of the memory layout. In a phased map, each 2x2 cell counts as one pixel with four times the
    /// channels.
    pub fn cells(&self) -> (usize, usize, usize) {
        match self.phased {
            true => (self.height / 2, self.width / 2, 4 * self.channels),
            false => (self.height, self.width, self.channels),
        }
    }
}

/// Rows and columns of a tile of pixels. One thread block of a convolution computes a tile, and one block of [`Moments`] covers
/// a tile.
pub(super) const TILE: (usize, usize) = (8, 16);

/// Mean and sum of squared deviations of each channel over each block of 8x16 pixels, `[image][block][2][channel]`.
#[derive(Clone, Copy, Debug)]
pub struct Moments {
    /// Address of the moments of the first image.
    pub at: At,
    /// Number of blocks in an image.
    pub blocks: usize,
    /// The map they describe.
    pub of: Map,
}

impl Moments {
    /// Allocates the moments of a map.
    pub fn new(of: &Map, room: &mut Room) -> Self {
        let (height, width, channels) = of.cells();
        let blocks = height.div_ceil(TILE.0) * width.div_ceil(TILE.1);
        Self { at: room.take(of.images * blocks * 2 * channels), blocks, of: *of }
    }
}

/// A network's weights for the GPU, concatenated.
#[derive(Clone, Debug, Default)]
pub struct Weights {
    /// The bytes as they are stored on the device.
    pub bytes: Vec<u8>,
}

impl Weights {
    /// Alignment of every tensor, in bytes.
    const ALIGN: usize = 256;

    /// Appends a tensor of values `numbers`, converted to type `number`, and returns its position.
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
