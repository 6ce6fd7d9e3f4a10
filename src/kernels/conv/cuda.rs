//! Convolution on CUDA: its weights as `conv.cu` reads them, and its launch.
use super::{Activation, Shape};
use crate::kernels::cuda::{Arg, At, Kernel, Launch, Map, Number, SHARED, Space, Weights, count, stored};
use crate::kernels::{Border, Pad};
use std::sync::Arc;

/// Pixels of a block.
const TILE: (usize, usize) = (8, 16);

/// Outputs of a block, at most.
const BLOCK: usize = 64;

/// Input channels in shared memory, at most.
const CHUNK: usize = 64;

/// A convolution whose weights lie on the device.
#[derive(Clone, Debug)]
pub struct Conv {
    shape: Shape,
    number: Number,
    weight: At,
    bias: At,
    /// Outputs of a block.
    block: usize,
    /// Input channels at a time.
    chunk: usize,
}

/// What a convolution adds to, instead of writing: y + gain (sum), a gain for each image and colour.
#[derive(Clone, Copy, Debug)]
pub struct Gain {
    /// `[images][colours]`.
    pub at: At,
    /// Output channels are phases of as many.
    pub colours: usize,
}

impl Conv {
    /// `weight` is `[outputs, inputs, kernel, kernel]`.
    pub fn new(number: Number, shape: Shape, weight: &[f32], bias: Option<&[f32]>, weights: &mut Weights) -> Self {
        let blocks = shape.outputs.div_ceil(BLOCK);
        let block = shape.outputs.div_ceil(blocks).next_multiple_of(8);
        let inputs = stored(shape.inputs);
        let fits =
            |&chunk: &usize| inputs.is_multiple_of(chunk) && window(&shape, number, chunk) * number.size() <= SHARED;
        // Four channels of the largest kernel fit.
        let chunk = (1..=CHUNK / 8).rev().map(|n| 8 * n).find(fits).unwrap_or(4);
        let unset = At::from(Space::Weights);
        let conv = Self { shape, number, weight: unset, bias: unset, block, chunk };
        let at = |o: usize, c: usize, tap: usize| {
            let taps = shape.kernel * shape.kernel;
            if o < shape.outputs && c < shape.inputs && tap < taps {
                weight[(o * shape.inputs + c) * taps + tap]
            } else {
                0.0
            }
        };
        let packed: Vec<f32> = match number {
            Number::F16 => conv.lanes(blocks, at),
            Number::F32 => conv.rows(blocks, at),
        };
        let biases = (0..blocks * block).map(|o| bias.and_then(|bias| bias.get(o)).copied().unwrap_or(0.0));
        Self { weight: weights.push(number, packed), bias: weights.push(Number::F32, biases), ..conv }
    }

    /// `[block][chunk][step][output / 8][lane][4]`, of which a lane holds the terms 2 pair, 2 pair + 1, and those 8 further.
    fn lanes(&self, blocks: usize, at: impl Fn(usize, usize, usize) -> f32) -> Vec<f32> {
        let (steps, chunks) = (self.steps(), stored(self.shape.inputs) / self.chunk);
        let mut packed = Vec::with_capacity(blocks * chunks * steps * self.block * 16);
        for n in 0..blocks * chunks * steps * (self.block / 8) * 32 * 4 {
            let (i, lane, rest) = (n % 4, n / 4 % 32, n / 128);
            let (eights, rest) = (rest % (self.block / 8), rest / (self.block / 8));
            let (step, rest) = (rest % steps, rest / steps);
            let (chunk, block) = (rest % chunks, rest / chunks);
            let (eight, term) = (2 * step + i / 2, lane % 4 * 2 + i % 2);
            let (tap, c) = match self.chunk {
                4 => (2 * eight + term / 4, term % 4),
                chunk => (eight / (chunk / 8), eight % (chunk / 8) * 8 + term),
            };
            packed.push(at(block * self.block + eights * 8 + lane / 4, chunk * self.chunk + c, tap));
        }
        packed
    }

    /// `[block][chunk][tap][channel][output]`.
    fn rows(&self, blocks: usize, at: impl Fn(usize, usize, usize) -> f32) -> Vec<f32> {
        let (taps, chunks) = (self.shape.kernel * self.shape.kernel, stored(self.shape.inputs) / self.chunk);
        let mut packed = Vec::with_capacity(blocks * chunks * taps * self.chunk * self.block);
        for n in 0..blocks * chunks * taps * self.chunk * self.block {
            let (o, c, rest) = (n % self.block, n / self.block % self.chunk, n / (self.block * self.chunk));
            let (tap, rest) = (rest % taps, rest / taps);
            let (chunk, block) = (rest % chunks, rest / chunks);
            packed.push(at(block * self.block + o, chunk * self.chunk + c, tap));
        }
        packed
    }

    /// Steps of 16 terms in a chunk.
    fn steps(&self) -> usize {
        (self.shape.kernel * self.shape.kernel * self.chunk).div_ceil(16)
    }

    /// Its shape.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Into `y`; what lies outside of `x` is given by the border. An upsampling convolution needs no padding.
    ///
    /// # Panics
    /// If the maps do not fit.
    pub fn launch(&self, x: &Map, pad: Pad, border: Border, y: &Map, add: Option<Gain>) -> Launch {
        let Shape { inputs, outputs, kernel, stride, upsample, activation } = self.shape;
        assert_eq!((x.channels, x.images), (stored(inputs), y.images));
        assert!((outputs..=stored(outputs)).contains(&y.channels), "{outputs} outputs in {}", y.channels);
        let reach = kernel / 2;
        let (top, left) = if upsample { (reach, reach) } else { (pad.top, pad.left) };
        let defines = vec![
            self.number.define(),
            ("INPUTS", x.channels),
            ("OUTPUTS", y.channels),
            ("SIDE", kernel),
            ("STRIDE", stride),
            ("UPSAMPLE", upsample.into()),
            ("BORDER", border.code()),
            ("ACTIVATION", activation.code()),
            ("ADD", add.is_some().into()),
            ("COLOURS", add.map_or(1, |gain| gain.colours)),
            ("BLOCK", self.block),
            ("CHUNK", self.chunk),
            ("PITCH", pitch(self.number, self.chunk)),
            ("STEPS", self.steps()),
        ];
        Launch {
            kernel: Arc::new(Kernel { name: "conv", source: include_str!("conv.cu"), defines }),
            grid: [
                count(y.height.div_ceil(TILE.0) * y.width.div_ceil(TILE.1)),
                count(outputs.div_ceil(self.block)),
                count(y.images),
            ],
            block: 128,
            shared: window(&self.shape, self.number, self.chunk) * self.number.size(),
            args: vec![
                x.at.into(),
                self.weight.into(),
                self.bias.into(),
                add.map_or(Arg::Null, |gain| gain.at.into()),
                y.at.into(),
                x.height.into(),
                x.width.into(),
                y.height.into(),
                y.width.into(),
                top.into(),
                left.into(),
            ],
        }
    }
}

/// Numbers between two pixels in shared memory: so many that the lanes of a warp do not meet in a bank.
fn pitch(number: Number, chunk: usize) -> usize {
    match number {
        Number::F32 if chunk > 4 => chunk + 4,
        Number::F16 if chunk > 4 && chunk / 2 % 8 != 4 => chunk + 8,
        _ => chunk,
    }
}

/// Numbers in shared memory: the window that a block's pixels need.
fn window(shape: &Shape, number: Number, chunk: usize) -> usize {
    let side = |n: usize| match shape.upsample {
        true => (n + shape.kernel - 2) / 2 + 2,
        false => (n - 1) * shape.stride + shape.kernel,
    };
    side(TILE.0) * side(TILE.1) * pitch(number, chunk)
}

impl Activation {
    /// As `prelude.cuh` numbers them.
    pub(in crate::kernels) fn code(self) -> usize {
        match self {
            Self::None => 0,
            Self::Relu => 1,
            Self::Relu6 => 2,
        }
    }
}

impl Border {
    /// As `prelude.cuh` numbers them.
    pub(in crate::kernels) fn code(self) -> usize {
        match self {
            Self::Zero => 0,
            Self::Edge => 1,
            Self::Reflect => 2,
        }
    }
}
