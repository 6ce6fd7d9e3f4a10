//! Convolution on CUDA, with what `convolution.cu` does before and after it: its weights as the kernel reads them, and its
//! launch.
mod arguments;
mod block;
mod layout;

use crate::kernels::cuda::{
    Arg, At, DeviceImages, Kernel, Launch, Map, Moments, Number, Room, TILE, Weights, count, stored,
};
use crate::kernels::inference::depthwise::cuda::Depthwise;
use crate::kernels::inference::feature_map::{Border, Pad};
use crate::kernels::inference::instance_norm::cuda::{Affine, Table};
use crate::kernels::inference::layer_shape::Shape;
use crate::kernels::inference::upsampling::{pixel_shuffle_weight, shifted_weight};
use arguments::ConvolutionArgs;
use layout::WeightLayout;
use std::sync::Arc;

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
    layout: WeightLayout,
    /// Outputs of the largest block, in eights.
    largest: usize,
}

/// What a convolution reads.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// A map; `relu(scale x + shift)` of it, if so.
    Map(&'a Map, Option<Affine>),
    /// The images that `rows` names, so many of them.
    Images(&'a DeviceImages, At, usize),
}

/// What a launch reads: a map, with a norm if one is taken of it; or the user's images with the rows that are read; both where
/// a convolution of the images is added.
#[derive(Default)]
struct Input<'a> {
    map: Option<&'a Map>,
    norm: Option<Affine>,
    images: Option<(&'a DeviceImages, At)>,
}

/// What becomes of the sums.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Where they go.
    pub map: &'a Map,
    /// The first of the map's channels that they go to, if these are not all: a map that is put together.
    pub slice: Option<usize>,
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
    /// What it is multiplied with, for each colour: the first three values of each row.
    pub gain: Table,
}

impl Skip<'_> {
    /// What lies before a phase's kernel is what lay before the whole one's.
    fn before(&self) -> usize {
        (self.conv.shape.side() - self.conv.shape.stride) / 2
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
    /// `weight` is `[outputs, inputs, rows, columns]`.
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

    /// One that upsamples, as one over cells, with `room` for the outputs of each phase.
    pub fn upsampling(
        number: Number,
        shape: Shape,
        weight: &[f32],
        bias: Option<&[f32]>,
        room: usize,
        weights: &mut Weights,
    ) -> Self {
        let (Shape { inputs, outputs, .. }, kernel) = (shape, shape.side());
        let (cells, weight) = pixel_shuffle_weight(outputs, inputs, kernel, weight);
        let (taps, mut roomy) = (inputs * cells * cells, vec![0.0; 4 * room * inputs * cells * cells]);
        for (o, filter) in weight.chunks_exact(taps).enumerate() {
            roomy[(o / outputs * room + o % outputs) * taps..][..taps].copy_from_slice(filter);
        }
        // Each phase has the same ones.
        let biases: Option<Vec<f32>> =
            bias.map(|bias| (0..4 * room).map(|o| bias.get(o % room).copied().unwrap_or(0.0)).collect());
        let shape = Shape { outputs: 4 * room, kernel: (cells, cells), upsample: false, ..shape };
        Self::packed(number, shape, &roomy, biases.as_deref(), (None, Some((kernel, room))), weights)
    }

    /// A convolution without bias of a map of even sides, of four pixels at a time: as one of stride 2 whose outputs are those of
    /// four phases.
    pub fn of_fours(number: Number, shape: Shape, weight: &[f32], weights: &mut Weights) -> Self {
        let (Shape { inputs, outputs, .. }, kernel) = (shape, shape.side());
        let (side, weight) = shifted_weight(outputs, inputs, kernel, weight);
        let shape = Shape { outputs: 4 * outputs, kernel: (side, side), stride: 2, ..shape };
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
        let (first, behind) = (depthwise.as_ref().map_or(&shape, Depthwise::shape), depthwise.is_some());
        let chunk = block::chunk(number, first, behind, shape.inputs);
        let (eights, largest) = block::eights(shape.outputs, behind);
        let layout = WeightLayout::new(number, shape.kernel, shape.inputs, chunk, eights);
        let taps = shape.taps();
        let mut packed = vec![0.0; layout.len()];
        for (n, &value) in weight.iter().enumerate() {
            let (output, channel, tap) = (n / taps / shape.inputs, n / taps % shape.inputs, n % taps);
            packed[layout.at(output, channel, tap)] = value;
        }
        let biases = (0..8 * eights).map(|o| bias.and_then(|bias| bias.get(o)).copied().unwrap_or(0.0));
        Self {
            weight: weights.push(number, packed),
            bias: weights.push(Number::F32, biases),
            biased: bias.is_some(),
            shape,
            number,
            depthwise,
            folded,
            layout,
            largest,
        }
    }

    /// Of what reads its input: the depthwise convolution, or itself.
    fn first(&self) -> &Shape {
        self.depthwise.as_ref().map_or(&self.shape, Depthwise::shape)
    }

    /// The side of the square kernel that reads its input.
    ///
    /// # Panics
    /// If it is not square.
    pub fn side(&self) -> usize {
        self.first().side()
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

    /// How many channels of each pixel a launch writes.
    fn written(&self, y: &Target) -> usize {
        if y.slice.is_some() { stored(self.shape.outputs) } else { y.map.cells().2 }
    }

    /// What lies outside of the input is given by the border. A depthwise convolution that upsamples needs no padding.
    ///
    /// # Panics
    /// If the maps do not fit.
    pub fn launch(&self, x: Source, pad: Pad, border: Border, y: Target) -> Launch {
        let ((height, width, _), outputs) = (y.map.cells(), self.written(&y));
        let room = self.shape.outputs..=8 * self.layout.eights;
        assert!(room.contains(&outputs), "{} outputs in {outputs}", self.shape.outputs);
        let beside = y.slice.is_none_or(|first| first.is_multiple_of(8) && first + outputs <= y.map.channels);
        assert!(beside && (y.slice.is_none() || y.moments.is_none()), "a slice of {:?}", y.map);
        if let Some(Skip { conv, .. }) = y.skip {
            let fits =
                conv.shape.inputs == 3 && conv.layout.eights == self.layout.eights && matches!(x, Source::Map(..));
            assert!(fits, "{:?}", conv.shape);
        }
        let input = match x {
            Source::Map(map, norm) => {
                assert_eq!((map.channels, map.images), (stored(self.shape.inputs), y.map.images));
                Input { map: Some(map), norm, images: y.skip.map(|skip| (skip.images, skip.rows)) }
            }
            Source::Images(images, rows, _) => Input { images: Some((images, rows)), ..Input::default() },
        };
        let tiles = height.div_ceil(TILE.0) * width.div_ceil(TILE.1);
        let eights = self.outputs_of_block(tiles * y.map.images);
        let defines = arguments::defines(self, &input, border, &y, eights);
        Launch {
            kernel: Arc::new(Kernel { name: "conv", source: &arguments::SOURCE, defines }),
            grid: [count(tiles), count(self.layout.eights / eights), count(y.map.images)],
            block: count(block::THREADS),
            shared: self.shared(8 * eights).max(y.skip.map_or(0, |skip| skip.conv.shared(8 * eights))),
            args: vec![Arg::of(&ConvolutionArgs::new(self, &input, pad, &y))],
        }
    }
}
