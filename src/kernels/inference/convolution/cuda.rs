//! Convolution on CUDA, with what `conv.cu` does before and after it: its weights as the kernel reads them, and its launch.
use super::{Activation, Shape, pixel_shuffle_weight, shifted_weight};
use crate::kernels::cuda::{
    Arg, At, DeviceImages, Kernel, Launch, Map, Moments, Number, Room, SHARED, TILE, Weights, count, stored,
};
use crate::kernels::inference::depthwise::cuda::Depthwise;
use crate::kernels::inference::feature_map::{Border, Pad};
use crate::kernels::inference::instance_norm::cuda::{Affine, Table};
use std::sync::Arc;

const SOURCE: &str = concat!(include_str!("window.cuh"), include_str!("convolution.cu"));

/// Threads of a block.
const THREADS: usize = 128;

/// Outputs of a block, at most, in eights: as many sums as a thread has registers for. Behind a depthwise convolution, which
/// each block computes, more of them.
const EIGHTS: usize = 8;
const EIGHTS_BEHIND: usize = 12;

/// Blocks that keep a GPU busy; where there are fewer, they have fewer outputs each. (Not behind a depthwise convolution.)
const BUSY: usize = 512;

/// Input channels in shared memory, at most.
const CHUNK: usize = 64;

/// Products of a lane that are written out one after the other.
const UNROLLED: usize = 160;

/// Bytes of shared memory, if less channels at a time can do with them: as many blocks then run beside each other.
const MODEST: usize = 36 << 10;

/// A convolution whose weights lie on the device.
#[derive(Clone, Debug)]
pub struct Conv {
    /// Of what is multiplied: one that upsamples is one over cells, whose outputs are those of four phases.
    shape: Shape,
    number: Number,
    weight: At,
    bias: At,
    biased: bool,
    depthwise: Option<Depthwise>,
    /// The kernel that was folded or shifted to four phases, and the room for the outputs of one.
    folded: Option<(usize, usize)>,
    /// Outputs in memory, in eights, and in the largest block.
    eights: usize,
    largest: usize,
    /// Input channels at a time.
    chunk: usize,
}

/// What a convolution reads.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// A map; `relu(scale x + shift)` of it, if so.
    Map(&'a Map, Option<Affine>),
    /// The images that `rows` names, so many of them.
    Images(&'a DeviceImages, At, usize),
}

/// A map, and the norm that is taken of it.
type Normed<'a> = (&'a Map, Option<Affine>);

/// What becomes of the sums.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Where they go.
    pub map: &'a Map,
    /// What is added to them before.
    pub skip: Option<Skip<'a>>,
    /// Where their moments go.
    pub moments: Option<&'a Moments>,
}

/// A convolution of the images that `rows` names, without bias, with reflected borders and as much padding on each side that its
/// output has the size of what it is added to.
#[derive(Clone, Copy, Debug)]
pub struct Skip<'a> {
    /// It.
    pub conv: &'a Conv,
    /// Its input.
    pub images: &'a DeviceImages,
    /// Which of them.
    pub rows: At,
    /// What it is multiplied with, for each colour: the first three numbers of each row.
    pub gain: Table,
}

impl Skip<'_> {
    /// What lies before a phase's kernel is what lay before the whole one's.
    fn before(&self) -> usize {
        (self.conv.shape.kernel - self.conv.shape.stride) / 2
    }
}

impl Source<'_> {
    fn size(&self) -> (usize, usize) {
        match self {
            Self::Map(x, _) => x.size(),
            Self::Images(images, ..) => (images.height, images.width),
        }
    }
}

impl Conv {
    /// `weight` is `[outputs, inputs, kernel, kernel]`.
    pub fn new(number: Number, shape: Shape, weight: &[f32], bias: Option<&[f32]>, weights: &mut Weights) -> Self {
        Self::packed(number, shape, weight, bias, (None, None), weights)
    }

    /// A pointwise one behind a depthwise one.
    pub fn behind(
        number: Number,
        depthwise: Depthwise,
        shape: Shape,
        weight: &[f32],
        bias: Option<&[f32]>,
        weights: &mut Weights,
    ) -> Self {
        Self::packed(number, shape, weight, bias, (Some(depthwise), None), weights)
    }

    /// One without bias that upsamples, as one over cells, with `room` for the outputs of each phase.
    pub fn upsampling(number: Number, shape: Shape, weight: &[f32], room: usize, weights: &mut Weights) -> Self {
        let Shape { inputs, outputs, kernel, .. } = shape;
        let (cells, weight) = pixel_shuffle_weight(outputs, inputs, kernel, weight);
        let (taps, mut roomy) = (inputs * cells * cells, vec![0.0; 4 * room * inputs * cells * cells]);
        for (o, filter) in weight.chunks_exact(taps).enumerate() {
            roomy[(o / outputs * room + o % outputs) * taps..][..taps].copy_from_slice(filter);
        }
        let shape = Shape { outputs: 4 * room, kernel: cells, upsample: false, ..shape };
        Self::packed(number, shape, &roomy, None, (None, Some((kernel, room))), weights)
    }

    /// A convolution without bias of a map of even sides, of four pixels at a time: as one of stride 2 whose outputs are those of
    /// four phases.
    pub fn of_fours(number: Number, shape: Shape, weight: &[f32], weights: &mut Weights) -> Self {
        let Shape { inputs, outputs, kernel, .. } = shape;
        let (side, weight) = shifted_weight(outputs, inputs, kernel, weight);
        let shape = Shape { outputs: 4 * outputs, kernel: side, stride: 2, ..shape };
        Self::packed(number, shape, &weight, None, (None, Some((kernel, outputs))), weights)
    }

    fn packed(
        number: Number,
        shape: Shape,
        weight: &[f32],
        bias: Option<&[f32]>,
        (depthwise, folded): (Option<Depthwise>, Option<(usize, usize)>),
        weights: &mut Weights,
    ) -> Self {
        let most = if depthwise.is_some() { EIGHTS_BEHIND } else { EIGHTS };
        let used = shape.outputs.div_ceil(8);
        let largest = used.div_ceil(used.div_ceil(most));
        let inputs = stored(shape.inputs);
        let unset = weights.push(number, []);
        let conv = Self {
            shape,
            number,
            weight: unset,
            bias: unset,
            biased: bias.is_some(),
            depthwise,
            folded,
            eights: used.next_multiple_of(largest),
            largest,
            chunk: 4,
        };
        let fits = |bytes: usize| {
            let mut chunks = (1..=CHUNK / 8).rev().map(|n| 8 * n);
            chunks.find(|&chunk| inputs.is_multiple_of(chunk) && conv.window(chunk) * number.size() <= bytes)
        };
        // Four channels of the largest kernel fit.
        let chunk = fits(MODEST).or_else(|| fits(SHARED)).unwrap_or(4);
        let conv = Self { chunk, ..conv };
        let at = |o: usize, c: usize, tap: usize| {
            let taps = shape.kernel * shape.kernel;
            if o < shape.outputs && c < shape.inputs && tap < taps {
                weight[(o * shape.inputs + c) * taps + tap]
            } else {
                0.0
            }
        };
        let packed: Vec<f32> = match number {
            Number::F16 => conv.lanes(at),
            Number::F32 => conv.rows(at),
        };
        let biases = (0..8 * conv.eights).map(|o| bias.and_then(|bias| bias.get(o)).copied().unwrap_or(0.0));
        Self { weight: weights.push(number, packed), bias: weights.push(Number::F32, biases), ..conv }
    }

    /// `[chunk][step][output / 8][lane][4]`, of which a lane holds the terms 2 pair, 2 pair + 1, and those 8 further.
    fn lanes(&self, at: impl Fn(usize, usize, usize) -> f32) -> Vec<f32> {
        let (steps, chunks) = (self.steps(), stored(self.shape.inputs) / self.chunk);
        let place = |n: usize| {
            let (i, lane, rest) = (n % 4, n / 4 % 32, n / 128);
            let (eights, rest) = (rest % self.eights, rest / self.eights);
            let (step, chunk) = (rest % steps, rest / steps);
            let (eight, term) = (2 * step + i / 2, lane % 4 * 2 + i % 2);
            let (tap, c) = match self.chunk {
                // Two taps of four channels, beside each other.
                4 => {
                    let (side, pairs) = (self.shape.kernel, self.shape.kernel.div_ceil(2));
                    let (row, column) = (eight / pairs, eight % pairs * 2 + term / 4);
                    (if column < side { row * side + column } else { side * side }, term % 4)
                }
                chunk => (eight / (chunk / 8), eight % (chunk / 8) * 8 + term),
            };
            at(eights * 8 + lane / 4, chunk * self.chunk + c, tap)
        };
        (0..chunks * steps * self.eights * 32 * 4).map(place).collect()
    }

    /// `[chunk][tap][channel][output]`.
    fn rows(&self, at: impl Fn(usize, usize, usize) -> f32) -> Vec<f32> {
        let (taps, chunks) = (self.shape.kernel * self.shape.kernel, stored(self.shape.inputs) / self.chunk);
        let place = |n: usize| {
            let (o, c, rest) =
                (n % (8 * self.eights), n / (8 * self.eights) % self.chunk, n / (8 * self.eights * self.chunk));
            at(o, rest / taps * self.chunk + c, rest % taps)
        };
        (0..chunks * taps * self.chunk * 8 * self.eights).map(place).collect()
    }

    /// Steps of 16 terms in a chunk.
    fn steps(&self) -> usize {
        let (side, chunk) = (self.shape.kernel, self.chunk);
        let row = if chunk == 4 { side.next_multiple_of(2) } else { side };
        (side * row * chunk).div_ceil(16)
    }

    /// Of what reads its input: the depthwise convolution, or itself.
    fn first(&self) -> &Shape {
        self.depthwise.as_ref().map_or(&self.shape, Depthwise::shape)
    }

    /// The side of the kernel that reads its input.
    pub fn kernel(&self) -> usize {
        self.first().kernel
    }

    /// The stride of what reads its input.
    pub fn stride(&self) -> usize {
        self.first().stride
    }

    /// Output channels; of one that upsamples, those of four phases.
    pub fn outputs(&self) -> usize {
        self.shape.outputs
    }

    /// A map for its output, in new memory; it has room for so many channels, or for as many as there are of each phase.
    pub fn output(&self, x: Source, pad: Pad, channels: usize, room: &mut Room) -> Map {
        let images = match x {
            Source::Map(x, _) => x.images,
            Source::Images(.., images) => images,
        };
        let (height, width) = self.first().size_of(x.size(), pad);
        match self.folded {
            Some((_, channels)) => {
                Map { phased: true, ..room.map(self.number, images, (2 * height, 2 * width), channels) }
            }
            None => room.map(self.number, images, (height, width), channels),
        }
    }

    /// What lies outside of the input is given by the border. A depthwise convolution that upsamples needs no padding.
    ///
    /// # Panics
    /// If the maps do not fit.
    pub fn launch(&self, x: Source, pad: Pad, border: Border, y: Target) -> Launch {
        let (height, width, outputs) = y.map.cells();
        let room = self.shape.outputs..=8 * self.eights;
        assert!(room.contains(&outputs), "{} outputs in {outputs}", self.shape.outputs);
        if let Some(Skip { conv, .. }) = y.skip {
            let fits = conv.shape.inputs == 3 && conv.eights == self.eights && matches!(x, Source::Map(..));
            assert!(fits, "{:?}", conv.shape);
        }
        let (map, pictures) = match x {
            Source::Map(x, norm) => {
                assert_eq!((x.channels, x.images), (stored(self.shape.inputs), y.map.images));
                (Some((x, norm)), y.skip.map(|skip| (skip.images, skip.rows)))
            }
            Source::Images(images, rows, _) => (None, Some((images, rows))),
        };
        let tiles = height.div_ceil(TILE.0) * width.div_ceil(TILE.1);
        let block = self.block(tiles * y.map.images);
        let mut defines = vec![
            ("PIXELS", pictures.map_or(4, |(images, _)| images.pixels as usize)),
            ("FROM_IMAGES", map.is_none().into()),
            ("PHASED", map.is_some_and(|(x, _)| x.phased).into()),
            ("NORMED", map.is_some_and(|(_, norm)| norm.is_some()).into()),
            ("OUTPUTS", outputs),
            ("BORDER", border.code()),
            ("SKIP", y.skip.map_or(0, |skip| skip.conv.shape.kernel)),
            ("SKIP_STRIDE", y.skip.map_or(1, |skip| skip.conv.shape.stride)),
            ("MEASURED", y.moments.is_some().into()),
        ];
        defines.extend(self.defines(block));
        Launch {
            kernel: Arc::new(Kernel { name: "conv", source: SOURCE, defines }),
            grid: [count(tiles), count(self.eights / block), count(y.map.images)],
            block: THREADS as u32,
            shared: self.shared(8 * block).max(y.skip.map_or(0, |skip| skip.conv.shared(8 * block))),
            args: self.args((map, pictures), pad, y),
        }
    }

    /// What the kernel knows of the convolution itself, and of how many outputs, in eights, a block has.
    fn defines(&self, block: usize) -> Vec<(&'static str, usize)> {
        let first = self.first();
        vec![
            self.number.define(),
            ("INPUTS", stored(self.shape.inputs)),
            ("SIDE", first.kernel),
            ("STRIDE", first.stride),
            ("DEPTHWISE", if self.depthwise.is_none() { 0 } else { 1 + usize::from(first.upsample) }),
            ("DEPTHWISE_ACTIVATION", first.activation.code()),
            ("ACTIVATION", self.shape.activation.code()),
            ("BIASED", self.biased.into()),
            ("UPSAMPLED", self.folded.map_or(1, |(kernel, _)| kernel)),
            ("PHASE", self.folded.map_or(0, |(_, room)| if room.is_multiple_of(8) { room } else { 0 })),
            ("PACKED", 8 * self.eights),
            ("BLOCK", 8 * block),
            ("CHUNK", self.chunk),
            ("PITCH", pitch(self.number, self.chunk)),
            ("UNROLL", if self.steps() * block <= UNROLLED { self.steps() } else { 2 }),
            ("MOST", beside(block)),
        ]
    }

    /// Of a map and its norm, and of the images, one or both; in the kernel's order.
    fn args(&self, (map, pictures): (Option<Normed>, Option<(&DeviceImages, At)>), pad: Pad, y: Target) -> Vec<Arg> {
        let or_null = |at: Option<At>| at.map_or(Arg::Null, Arg::At);
        let (norm, depthwise) = (map.and_then(|(_, norm)| norm), self.depthwise.as_ref());
        let mut args = vec![
            or_null(map.map(|(x, _)| x.at)),
            or_null(norm.map(|norm| norm.scale)),
            or_null(norm.map(|norm| norm.shift)),
            or_null(pictures.map(|(images, _)| images.at)),
            pictures.map_or([0; 4], |(images, _)| images.strides).into(),
            or_null(pictures.map(|(_, rows)| rows)),
            or_null(depthwise.map(|depthwise| depthwise.weight)),
            or_null(depthwise.map(|depthwise| depthwise.bias)),
            self.weight.into(),
            self.bias.into(),
            or_null(y.skip.map(|skip| skip.conv.weight)),
            or_null(y.skip.map(|skip| skip.gain.at)),
            y.map.at.into(),
            or_null(y.moments.map(|moments| moments.at)),
        ];
        let first = self.first();
        let (top, left) = if first.upsample { (first.kernel / 2, first.kernel / 2) } else { (pad.top, pad.left) };
        let (rows, columns) = map.map_or((0, 0), |(x, _)| x.size());
        let (image_rows, image_columns) = pictures.map_or((0, 0), |(images, _)| (images.height, images.width));
        let (height, width, _) = y.map.cells();
        let (before, gain_pitch) = y.skip.map_or((0, 0), |skip| (skip.before(), skip.gain.pitch));
        let sizes = [rows, columns, image_rows, image_columns, height, width, top, left, before, gain_pitch];
        args.extend(sizes.map(Arg::from));
        args
    }

    /// Outputs of a block, in eights, where a launch has so many times the pixels of one.
    fn block(&self, tiles: usize) -> usize {
        if self.depthwise.is_some() {
            return self.largest;
        }
        let divides = |&n: &usize| self.largest.is_multiple_of(n);
        let busy = |&n: &usize| tiles * (self.eights / n) >= BUSY;
        let sizes = || (1..=self.largest).filter(divides);
        sizes().rev().find(busy).or_else(|| sizes().find(|&n| n > 1)).unwrap_or(1)
    }

    /// Numbers of the window that a block's pixels need, and of what is made of it.
    fn window(&self, chunk: usize) -> usize {
        let shape = self.first();
        let side = |n: usize| match shape.upsample {
            true => (n + shape.kernel - 2) / 2 + 2,
            false => (n - 1) * shape.stride + shape.kernel,
        };
        let pitch = pitch(self.number, chunk);
        // Of four channels a row of taps is even.
        let more = if chunk == 4 && shape.kernel > 1 && !shape.upsample { shape.kernel % 2 } else { 0 };
        let pixels = side(TILE.0) * (side(TILE.1) + more);
        match self.depthwise {
            Some(_) => pixels * chunk + TILE.0 * TILE.1 * pitch,
            None => pixels * pitch,
        }
    }

    /// Bytes of shared memory: of the window; later of moments, two numbers of each warp's outputs and another of each; and of what
    /// leaves.
    fn shared(&self, block: usize) -> usize {
        let moments = (THREADS / 32 * 2 + 1) * block * 4;
        let leaving = if self.number == Number::F16 { TILE.0 * TILE.1 * (block + 8) * 2 } else { 0 };
        (self.window(self.chunk) * self.number.size()).max(moments).max(leaving)
    }
}

/// Blocks of so many outputs, in eights, that run beside each other, as the registers of their sums let them.
fn beside(block: usize) -> usize {
    match block {
        0..=4 => 6,
        5..=8 => 4,
        _ => 2,
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
