//! InceptionV3 up to Mixed_6e, the body of Magenta's F. Each branch of a block writes directly into its slice of the block's
//! output channels.
use super::layers::{LayerScratch, run_conv, shape_of};
use crate::error::Result;
use crate::kernels::inference::any_map::{AnyMap, Input};
use crate::kernels::inference::convolution::Conv;
use crate::kernels::inference::feature_map::{Border, FeatureMap, Pad};
use crate::kernels::inference::layer_shape::Activation;
use crate::kernels::inference::pooling::{AveragePool, MaxPool};
use crate::kernels::isa::{Extent, KernelPath};
use crate::weights::Model;
use crate::weights::inception_v3::{self, InceptionLayers, InceptionStage};
use crate::weights::layers::Layer;
use crate::weights::network::Rectifier;

/// The network with its weights.
#[derive(Clone, Debug)]
pub(super) struct InceptionV3 {
    path: KernelPath,
    activation: Activation,
    stages: Vec<Stage>,
}

#[derive(Clone, Debug)]
enum Stage {
    Conv(Padded),
    MaxPool,
    Mixed(Vec<Branch>),
}

#[derive(Clone, Debug)]
enum Branch {
    Convs(Vec<Padded>),
    MaxPool,
    /// A pointwise convolution and an average pool. The convolution is applied first, because it commutes with the pool and
    /// reduces the number of channels.
    AveragePool(Conv, AveragePool),
}

/// A convolution, with the zero padding of its input.
#[derive(Clone, Debug)]
struct Padded {
    conv: Conv,
    pad: Pad,
}

/// Returns the activation after a convolution.
pub(super) fn activation_of(rectifier: Rectifier) -> Activation {
    match rectifier {
        Rectifier::Relu => Activation::Relu,
        Rectifier::Relu6 => Activation::Relu6,
    }
}

/// Returns the zero padding of a convolution's input. It is half a kernel, which preserves the map's size at stride 1, or
/// nothing if the layer is `valid`.
pub(super) fn zeros_around(layer: &Layer) -> Pad {
    let (rows, columns) = if layer.valid { (0, 0) } else { (layer.kernel.0 / 2, layer.kernel.1 / 2) };
    Pad { top: rows, left: columns, bottom: rows, right: columns }
}

impl InceptionV3 {
    /// Creates the network of this model for a kernel path.
    ///
    /// # Errors
    /// A tensor is missing.
    pub(super) fn new(model: &Model, path: KernelPath, layers: &InceptionLayers) -> Result<Self> {
        let activation = activation_of(layers.activation);
        let padded = |layer: &Layer| -> Result<Padded> {
            let (weight, bias) = model.weight_and_bias(&layer.name)?;
            let conv = Conv::new(path, shape_of(layer, activation), weight, Some(bias));
            Ok(Padded { conv, pad: zeros_around(layer) })
        };
        let branch = |branch: &inception_v3::Branch| -> Result<Branch> {
            Ok(match branch {
                inception_v3::Branch::Convs(layers) => Branch::Convs(layers.iter().map(padded).collect::<Result<_>>()?),
                inception_v3::Branch::MaxPool => Branch::MaxPool,
                inception_v3::Branch::AveragePool(layer) => {
                    let (weight, bias) = model.weight_and_bias(&layer.name)?;
                    let conv = Conv::new(path, shape_of(layer, Activation::None), weight, None);
                    let bias = bias.to_vec();
                    Branch::AveragePool(conv, AveragePool { counts_zeros: layers.pools_count_zeros, bias, activation })
                }
            })
        };
        let stage = |stage: &InceptionStage| -> Result<Stage> {
            Ok(match stage {
                InceptionStage::Conv(layer) => Stage::Conv(padded(layer)?),
                InceptionStage::MaxPool => Stage::MaxPool,
                InceptionStage::Mixed(branches) => Stage::Mixed(branches.iter().map(branch).collect::<Result<_>>()?),
            })
        };
        let stages = layers.stages.iter().map(stage).collect::<Result<_>>()?;
        Ok(Self { path, activation, stages })
    }

    /// Computes the feature map of Mixed_6e from an image in [0, 1], given as a map without padding.
    pub(super) fn run(&self, image: FeatureMap, scratch: &mut LayerScratch) -> FeatureMap {
        let mut x = AnyMap::Floats(image);
        for (i, stage) in self.stages.iter().enumerate() {
            let pad = match self.stages.get(i + 1) {
                Some(Stage::Conv(next)) => next.pad,
                _ => Pad::NONE,
            };
            let mut out = match (stage.output_size(x.view()), i + 1 == self.stages.len()) {
                ((height, width, channels), false) => self.map((height, width), channels, pad, scratch),
                ((height, width, channels), true) => AnyMap::Floats(scratch.maps.take(height, width, channels, pad)),
            };
            match stage {
                Stage::Conv(Padded { conv, .. }) => conv.run(&x, &mut out, &mut scratch.quantize),
                Stage::MaxPool => MaxPool::INCEPTION.run(self.path.isa(), x.view(), &mut out, 0),
                Stage::Mixed(branches) => self.run_mixed(branches, x.view(), &mut out, scratch),
            }
            out.fill_border(Border::Zero);
            scratch.maps.put_any(std::mem::replace(&mut x, out));
        }
        match x {
            AnyMap::Floats(map) => map,
            AnyMap::Bytes(_) => unreachable!("the last map is allocated as float32"),
        }
    }

    fn run_mixed(&self, branches: &[Branch], x: Input, out: &mut AnyMap, scratch: &mut LayerScratch) {
        let mut channel = 0;
        for branch in branches {
            match branch {
                Branch::Convs(convs) => self.run_convs(convs, x, (out, channel), scratch),
                Branch::MaxPool => MaxPool::INCEPTION.run(self.path.isa(), x, out, channel),
                Branch::AveragePool(conv, pool) => {
                    let raw = run_conv(conv, x, Pad::NONE, scratch);
                    pool.run(self.path.isa(), &raw, out, channel);
                    scratch.maps.put(raw);
                }
            }
            channel += branch.outputs(x);
        }
    }

    /// Runs a sequence of convolutions; the last one writes into the channels of `out` that start at `channel`.
    fn run_convs(&self, convs: &[Padded], x: Input, (out, channel): (&mut AnyMap, usize), scratch: &mut LayerScratch) {
        let mut between: Option<AnyMap> = None;
        for (i, Padded { conv, .. }) in convs.iter().enumerate() {
            let from = between.as_ref().map_or(x, AnyMap::view);
            let Some(next) = convs.get(i + 1) else {
                conv.run_beside(channel, from, &mut *out, &mut scratch.quantize);
                break;
            };
            let mut map = self.map(conv.shape().output_size(from), conv.shape().outputs, next.pad, scratch);
            conv.run(from, &mut map, &mut scratch.quantize);
            map.fill_border(Border::Zero);
            if let Some(done) = between.replace(map) {
                scratch.maps.put_any(done);
            }
        }
        if let Some(done) = between {
            scratch.maps.put_any(done);
        }
    }

    /// Allocates the output map of a convolution. The map holds bytes if the kernel path multiplies bytes and the activation is
    /// ReLU6, because the range of the values must be known in advance. Otherwise, the map holds floats.
    fn map(&self, (height, width): (usize, usize), channels: usize, pad: Pad, scratch: &mut LayerScratch) -> AnyMap {
        if self.activation != Activation::Relu6 {
            return AnyMap::Floats(scratch.maps.take(height, width, channels, pad));
        }
        let mut map = scratch.maps.take_any(self.path, height, width, channels, pad);
        map.set_range(Extent { low: 0.0, high: 6.0 });
        map
    }
}

impl Stage {
    /// Returns height, width and channels of the output for this input.
    fn output_size(&self, x: Input) -> (usize, usize, usize) {
        let of = |(height, width): (usize, usize), channels| (height, width, channels);
        match self {
            Self::Conv(Padded { conv, .. }) => of(conv.shape().output_size(x), conv.shape().outputs),
            Self::MaxPool => of(MaxPool::INCEPTION.output_size(x), x.shape().2),
            Self::Mixed(branches) => {
                let size = if branches.iter().any(|branch| matches!(branch, Branch::MaxPool)) {
                    MaxPool::INCEPTION.output_size(x)
                } else {
                    (x.shape().0, x.shape().1)
                };
                of(size, branches.iter().map(|branch| branch.outputs(x)).sum())
            }
        }
    }
}

impl Branch {
    /// Returns the number of output channels for this input.
    fn outputs(&self, x: Input) -> usize {
        match self {
            Self::Convs(convs) => convs.last().map_or(0, |last| last.conv.shape().outputs),
            Self::MaxPool => x.shape().2,
            Self::AveragePool(conv, _) => conv.shape().outputs,
        }
    }
}
