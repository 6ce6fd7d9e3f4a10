//! Arguments of `convolution.cu`: the struct that is passed to a launch, and the table of defines.
use super::{Conv, Input, Target, block};
use crate::kernels::cuda::interface::{AnyPixel, DeviceEnum, DeviceStruct, Field, In, MapValue, Out};
use crate::kernels::cuda::{DeviceImages, Strides, int, stored};
use crate::kernels::inference::feature_map::{Border, Pad};
use crate::kernels::inference::layer_shape::Activation;
use bytemuck::{Pod, Zeroable};
use std::sync::LazyLock;

/// The complete kernel source: generated definitions, borders and activations, the window, the convolution.
pub(super) static SOURCE: LazyLock<String> = LazyLock::new(|| {
    let written = [Border::definition(), Activation::definition(), ConvolutionArgs::definition()].concat();
    let shared = [include_str!("../../border.cuh"), include_str!("../../activation.cuh")].concat();
    written + &shared + include_str!("../window.cuh") + include_str!("../convolution.cu")
});

/// The arguments of a launch. Unused addresses are null.
#[derive(Clone, Copy, Debug, Zeroable, Pod)]
#[repr(C)]
pub(super) struct ConvolutionArgs {
    /// The map, and the scale and shift of its norm. Scale and shift are `[images][channels]` each.
    x: In<MapValue>,
    scale: In<f32>,
    shift: In<f32>,
    /// The user's images, their strides, and the indices of the images to read.
    images: In<AnyPixel>,
    strides: Strides,
    rows: In<i32>,
    /// Weights `[tap][channel]` and bias `[channel]` of the depthwise convolution.
    depthwise: In<MapValue>,
    depthwise_bias: In<f32>,
    /// Weights, in the order of [`super::layout`], and bias of the convolution.
    weight: In<MapValue>,
    bias: In<f32>,
    /// Weights and gains of the skip convolution. It reads the images, and is added to the output.
    skip: In<MapValue>,
    gain: In<f32>,
    out: Out<MapValue>,
    /// Moments of the output, `[image][block][2][outputs]`.
    moments: Out<f32>,
    /// Sizes of the map, of the user's images, and of the output.
    height: i32,
    width: i32,
    image_height: i32,
    image_width: i32,
    out_height: i32,
    out_width: i32,
    /// Padding above and to the left; `skip_before` is that of the skip convolution.
    top: i32,
    left: i32,
    skip_before: i32,
    /// Number of values from the gains of one image to the gains of the next image.
    gain_pitch: i32,
}

impl DeviceStruct for ConvolutionArgs {
    const NAME: &'static str = "ConvolutionArgs";
    const FIELDS: &'static [Field<Self>] = &[
        ("x", |args| &args.x),
        ("scale", |args| &args.scale),
        ("shift", |args| &args.shift),
        ("images", |args| &args.images),
        ("strides", |args| &args.strides),
        ("rows", |args| &args.rows),
        ("depthwise", |args| &args.depthwise),
        ("depthwise_bias", |args| &args.depthwise_bias),
        ("weight", |args| &args.weight),
        ("bias", |args| &args.bias),
        ("skip", |args| &args.skip),
        ("gain", |args| &args.gain),
        ("out", |args| &args.out),
        ("moments", |args| &args.moments),
        ("height", |args| &args.height),
        ("width", |args| &args.width),
        ("image_height", |args| &args.image_height),
        ("image_width", |args| &args.image_width),
        ("out_height", |args| &args.out_height),
        ("out_width", |args| &args.out_width),
        ("top", |args| &args.top),
        ("left", |args| &args.left),
        ("skip_before", |args| &args.skip_before),
        ("gain_pitch", |args| &args.gain_pitch),
    ];
}

impl ConvolutionArgs {
    /// Collects the arguments of one launch.
    pub(super) fn new(conv: &Conv, input: &Input, pad: Pad, y: &Target) -> Self {
        let (first, depthwise, map, norm) = (conv.first(), conv.depthwise.as_ref(), input.map, input.norm);
        let pad = if first.upsample { Pad::all(first.side() / 2) } else { pad };
        let size = |images: &DeviceImages| (images.height, images.width);
        let (height, width) = map.map_or((0, 0), |x| x.size());
        let (image_height, image_width) = input.images.map_or((0, 0), |(images, _)| size(images));
        let (out_height, out_width, _) = y.map.cells();
        Self {
            x: map.map(|x| x.at).into(),
            scale: norm.map(|norm| norm.scale).into(),
            shift: norm.map(|norm| norm.shift).into(),
            images: input.images.map(|(images, _)| images.at).into(),
            strides: input.images.map_or(Strides::zeroed(), |(images, _)| images.strides),
            rows: input.images.map(|(_, rows)| rows).into(),
            depthwise: depthwise.map(|depthwise| depthwise.weight).into(),
            depthwise_bias: depthwise.map(|depthwise| depthwise.bias).into(),
            weight: conv.weight.into(),
            bias: conv.bias.into(),
            skip: y.skip.map(|skip| skip.conv.weight).into(),
            gain: y.skip.map(|skip| skip.gain.at).into(),
            out: y.map.at.plus_values(conv.number, y.slice.unwrap_or(0)).into(),
            moments: y.moments.map(|moments| moments.at).into(),
            height: int(height),
            width: int(width),
            image_height: int(image_height),
            image_width: int(image_width),
            out_height: int(out_height),
            out_width: int(out_width),
            top: int(pad.top),
            left: int(pad.left),
            skip_before: y.skip.map_or(0, |skip| int(skip.before())),
            gain_pitch: y.skip.map_or(0, |skip| int(skip.gain.pitch)),
        }
    }
}

/// Returns the table of all defines. `outputs` is the number of outputs of a block, in units of eight.
pub(super) fn defines(
    conv: &Conv,
    input: &Input,
    border: Border,
    y: &Target,
    outputs: usize,
) -> Vec<(&'static str, usize)> {
    let (first, skip) = (conv.first(), y.skip.map(|skip| skip.conv.shape));
    let (folded, phase) = conv.folded.unwrap_or((1, 0));
    let mut defines = vec![
        // Threads in a block, and concurrent blocks.
        ("THREADS", block::THREADS),
        ("MOST", block::beside(outputs)),
        // Whether values are float32 rather than float16.
        conv.number.define(),
        // Whether the input is the user's images; whether a map is phased, `[row / 2][column / 2][row % 2][column % 2]`;
        // whether relu(scale x + shift) is applied to it.
        ("FROM_IMAGES", input.map.is_none().into()),
        ("PHASED", input.map.is_some_and(|x| x.phased).into()),
        ("NORMED", input.norm.is_some().into()),
        // A `Border`.
        ("BORDER", border.code()),
        // Channels in memory.
        ("INPUTS", stored(conv.shape.inputs)),
        ("OUTPUTS", conv.written(y)),
        // From one pixel of the output to the next.
        ("OUT_PITCH", y.map.cells().2),
        // The kernel that reads the input: the depthwise one if there is one, which may upsample first, or else the only one.
        ("KERNEL_ROWS", first.kernel.0),
        ("KERNEL_COLUMNS", first.kernel.1),
        ("STRIDE", first.stride),
        ("DEPTHWISE", conv.depthwise.is_some().into()),
        ("UPSAMPLE", (conv.depthwise.is_some() && first.upsample).into()),
        // Each an `Activation`.
        ("DEPTHWISE_ACTIVATION", first.activation.code()),
        ("ACTIVATION", conv.shape.activation.code()),
        ("BIASED", conv.biased.into()),
        // Channels of each of the four phases of outputs; 0 if there are no phases, or if the channels are not a multiple of
        // eight. Then, the kernel that was folded into the phases.
        ("PHASE", if phase.is_multiple_of(8) { phase } else { 0 }),
        ("FOLDED", folded),
        // Outputs in the packed weights, and in a block.
        ("PACKED", 8 * conv.layout.eights),
        ("BLOCK", 8 * outputs),
        // Input channels in shared memory, and the distance of two pixels there, in values.
        ("CHUNK", conv.layout.chunk),
        ("PITCH", block::pitch(conv.number, conv.layout.chunk)),
        // Number of unrolled steps.
        ("UNROLL", block::unrolled(conv.layout.steps(), outputs)),
        // The kernel of the convolution that is added, 0 if there is none, and its stride.
        ("SKIP", skip.map_or(0, |shape| shape.side())),
        ("SKIP_STRIDE", skip.map_or(1, |shape| shape.stride)),
        // Whether moments are computed.
        ("MEASURED", y.moments.is_some().into()),
    ];
    // The `PixelType` of the user's images, if they are read.
    defines.extend(input.images.map(|(images, _)| ("PIXELS", images.pixels.code())));
    defines
}

impl DeviceEnum for Activation {
    const NAMES: &'static [(Self, &'static str)] =
        &[(Self::None, "ACTIVATION_NONE"), (Self::Relu, "ACTIVATION_RELU"), (Self::Relu6, "ACTIVATION_RELU6")];
}

impl DeviceEnum for Border {
    const NAMES: &'static [(Self, &'static str)] =
        &[(Self::Zero, "BORDER_ZERO"), (Self::Edge, "BORDER_EDGE"), (Self::Reflect, "BORDER_REFLECT")];
}
