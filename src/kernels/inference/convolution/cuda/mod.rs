//! Convolution on CUDA: the packed weights and the launch. The kernel in `convolution.cu` fuses operations before and after the
//! convolution.
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

/// A convolution whose weights are stored on the device.
#[derive(Clone, Debug)]
pub struct Conv {
    /// Shape of the convolution that the kernel computes. For an upsampling convolution, this is a convolution over the cells
    /// of the small map, with the outputs of all four phases (see `upsampling.rs`).
    shape: Shape,
    number: Number,
    weight: At,
    bias: At,
    biased: bool,
    depthwise: Option<Depthwise>,
    /// If the outputs are in four phases: side of the original kernel, and number of outputs stored for one phase.
    folded: Option<(usize, usize)>,
    layout: WeightLayout,
    /// Number of outputs of the largest block, in units of eight.
    largest: usize,
}

/// Input of a convolution.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// A feature map. If there is an [`Affine`], each value x of the map is replaced by `relu(scale x + shift)`.
    Map(&'a Map, Option<Affine>),
    /// The user's images, the address of the list of image indices to read, and the length of the list.
    Images(&'a DeviceImages, At, usize),
}

/// Input of a launch: a map with an optional norm, or the user's images with the list of indices to read. With a [`Skip`], both
/// are present.
#[derive(Default)]
struct Input<'a> {
    map: Option<&'a Map>,
    norm: Option<Affine>,
    images: Option<(&'a DeviceImages, At)>,
}

/// Output of a launch, and operations that are fused after the convolution.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The output map.
    pub map: &'a Map,
    /// First channel to write, if the output is a slice of the channels of a concatenated map.
    pub slice: Option<usize>,
    /// Convolution added to the sums.
    pub skip: Option<Skip<'a>>,
    /// Destination of the moments of the output, if they are computed.
    pub moments: Option<&'a Moments>,
}

/// A convolution of the user's images that is added to the sums of another convolution.
///
/// The borders are reflected, and the padding gives the output the size of the sums. There is no bias.
#[derive(Clone, Copy, Debug)]
pub struct Skip<'a> {
    /// The convolution.
    pub conv: &'a Conv,
    /// The input images.
    pub images: &'a DeviceImages,
    /// Address of the list of indices of the images to read.
    pub rows: At,
    /// Factor for each colour: the first three values of an image's row in the table.
    pub gain: Table,
}

impl Skip<'_> {
    /// Padding above and to the left. A kernel shifted into four phases has the same padding there as the original kernel.
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
    /// Creates a convolution with `weight` in `[outputs, inputs, rows, columns]` order.
    pub fn new(number: Number, shape: Shape, weight: &[f32], bias: Option<&[f32]>, weights: &mut Weights) -> Self {
        Self::packed(number, shape, weight, bias, (None, None), weights)
    }

    /// Creates a pointwise convolution that follows `depthwise`. One launch computes both.
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

    /// Creates an upsampling convolution, computed over the cells of the small map. `room` outputs are stored for each phase.
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
        // Each phase has the same biases.
        let biases: Option<Vec<f32>> =
            bias.map(|bias| (0..4 * room).map(|o| bias.get(o % room).copied().unwrap_or(0.0)).collect());
        let shape = Shape { outputs: 4 * room, kernel: (cells, cells), upsample: false, ..shape };
        Self::packed(number, shape, &roomy, biases.as_deref(), (None, Some((kernel, room))), weights)
    }

    /// Creates a convolution without bias that computes 2x2 output pixels at a time, for maps with even sides.
    ///
    /// It becomes a convolution of stride 2 with the outputs of all four phases.
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

    /// Shape of the layer that reads the input: the depthwise convolution if there is one, otherwise this convolution.
    fn first(&self) -> &Shape {
        self.depthwise.as_ref().map_or(&self.shape, Depthwise::shape)
    }

    /// Side of the square kernel that reads the input.
    ///
    /// # Panics
    /// If the kernel is not square.
    pub fn side(&self) -> usize {
        self.first().side()
    }

    /// Stride of the layer that reads the input.
    pub fn stride(&self) -> usize {
        self.first().stride
    }

    /// Number of output channels; for an upsampling convolution, summed over the four phases.
    pub fn outputs(&self) -> usize {
        self.shape.outputs
    }

    /// Allocates a map for the output with `channels` channels in memory. If there are phases, `channels` is ignored: the map
    /// has the channels that are stored for one phase.
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

    /// Number of channels that a launch writes to each pixel.
    fn written(&self, y: &Target) -> usize {
        if y.slice.is_some() { stored(self.shape.outputs) } else { y.map.cells().2 }
    }

    /// Creates the launch. `border` determines the contents of the padding. `pad` is ignored if a depthwise convolution
    /// upsamples.
    ///
    /// # Panics
    /// If the maps do not match the convolution, or `y` has both a slice and moments.
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
