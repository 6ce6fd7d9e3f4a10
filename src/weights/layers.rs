//! The layers of a network. The tensors of a file are checked against the layers. The style predictor F and the transformer T
//! are built from the layers, both on the CPU and on CUDA.
use super::inception_v3::{InceptionLayers, InceptionStage, stages};
use super::network::{
    AnyTransformer, EncoderBorder, INCEPTION_V3_LAST, MOBILENET_V2_LAST, MOBILENET_V2_STEM, Network, Predictor,
    Transformer, mobilenet_v2_blocks,
};
use super::vgg19;
use std::collections::BTreeMap;

/// A convolution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// The prefix of the names of the layer's tensors.
    pub name: String,
    /// Input channels.
    pub inputs: usize,
    /// Output channels.
    pub outputs: usize,
    /// Rows and columns of the kernel.
    pub kernel: (usize, usize),
    /// The stride.
    pub stride: usize,
    /// True if the input is not padded (TensorFlow's VALID).
    pub valid: bool,
    /// True if nearest x2 upsampling precedes the convolution.
    pub upsample: bool,
    /// True if the convolution is separable: depthwise, then pointwise, with no activation in between. False if it is dense.
    pub separable: bool,
}

impl Layer {
    /// Creates a dense convolution of stride 1.
    pub(super) fn plain(name: impl Into<String>, inputs: usize, outputs: usize, kernel: (usize, usize)) -> Self {
        let name = name.into();
        Self { name, inputs, outputs, kernel, stride: 1, valid: false, upsample: false, separable: false }
    }

    /// Returns the side of the kernel, which must be square.
    ///
    /// # Panics
    /// If the kernel is not square.
    pub fn side(&self) -> usize {
        assert_eq!(self.kernel.0, self.kernel.1, "{self:?}");
        self.kernel.0
    }

    /// Returns the shape of the dense weight.
    pub(super) fn weight(&self) -> Vec<usize> {
        vec![self.outputs, self.inputs, self.kernel.0, self.kernel.1]
    }

    /// Returns the shape of the depthwise weight.
    fn depthwise_weight(&self) -> Vec<usize> {
        vec![self.inputs, 1, self.kernel.0, self.kernel.1]
    }
}

/// The layers of the style predictor F.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PredictorLayers {
    /// Strided convolutions with bias and ReLU, in order.
    Cnn(Vec<Layer>),
    /// MobileNetV2 up to its last convolution; all layers have a bias.
    MobilenetV2 {
        /// The first convolution, with ReLU6.
        stem: Layer,
        /// The inverted residual blocks, in order.
        blocks: Vec<BlockLayers>,
        /// The last convolution, with ReLU6.
        last: Layer,
    },
    /// InceptionV3 up to Mixed_6e.
    InceptionV3(InceptionLayers),
    /// VGG-19 up to relu4_1: convolutions with ReLU, each with a flag for a following 2x2 max pool.
    Vgg19(Vec<(Layer, bool)>),
}

/// The layers of MobileNetV2's inverted residual block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockLayers {
    /// The expanding pointwise convolution, with ReLU6; `None` if there are as many hidden channels as input channels.
    pub expand: Option<Layer>,
    /// The depthwise convolution, with ReLU6.
    pub depthwise: Layer,
    /// The projecting pointwise convolution, without activation.
    pub project: Layer,
    /// True if the block's input is added to its output.
    pub residual: bool,
}

/// The layers of the transformer T.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransformerLayers {
    /// The contracting layers, each with bias and ReLU. If `contract_norm`, an instance norm without parameters replaces the
    /// bias.
    pub contract: Vec<Layer>,
    /// True if `contract` has norms instead of biases.
    pub contract_norm: bool,
    /// The two layers of each residual block, each with its norm.
    pub residual: Vec<[Layer; 2]>,
    /// The upsampling layers, each with its norm and ReLU.
    pub expand: Vec<Layer>,
    /// The last layer, with its norm.
    pub head: Layer,
    /// A convolution of the input image. Its output is multiplied by a gain per channel, and added to the output of the head's
    /// convolution.
    pub skip: Option<Layer>,
}

impl Predictor {
    /// Returns the layers before the head, which is the final linear map to the style vector z.
    pub fn layers(&self) -> PredictorLayers {
        let plain = |name: &str, inputs, outputs, side| {
            Layer::plain(format!("predictor.{name}"), inputs, outputs, (side, side))
        };
        match self {
            Self::Cnn { channels, .. } => {
                let inputs = std::iter::once(&3).chain(channels);
                let stages = inputs.zip(channels).enumerate();
                PredictorLayers::Cnn(
                    stages
                        .map(|(i, (&inputs, &outputs))| Layer {
                            stride: 2,
                            ..plain(&format!("conv.{i}"), inputs, outputs, 3)
                        })
                        .collect(),
                )
            }
            Self::MobilenetV2 { .. } => {
                let mut inputs = MOBILENET_V2_STEM;
                let stem = Layer { stride: 2, ..plain("stem", 3, inputs, 3) };
                let mut blocks = vec![];
                for (i, block) in mobilenet_v2_blocks().enumerate() {
                    let (hidden, outputs, stride) = (inputs * block.expansion, block.channels, block.stride);
                    let name = |part: &str| format!("block.{i}.{part}");
                    blocks.push(BlockLayers {
                        expand: (block.expansion != 1).then(|| plain(&name("expand"), inputs, hidden, 1)),
                        depthwise: Layer { stride, ..plain(&name("depthwise"), hidden, hidden, 3) },
                        project: plain(&name("project"), hidden, outputs, 1),
                        residual: stride == 1 && inputs == outputs,
                    });
                    inputs = outputs;
                }
                PredictorLayers::MobilenetV2 { stem, blocks, last: plain("last", inputs, MOBILENET_V2_LAST, 1) }
            }
            Self::Vgg19 { .. } => PredictorLayers::Vgg19(vgg19::encoder()),
            &Self::InceptionV3 { activation, pools_count_zeros, .. } => {
                PredictorLayers::InceptionV3(InceptionLayers { stages: stages(), activation, pools_count_zeros })
            }
        }
    }

    /// Returns the number of pooled features: the inputs of the head or, if there is no head, the length of z.
    pub fn features(&self) -> usize {
        match self {
            Self::Vgg19 { dim, .. } => *dim,
            Self::Cnn { channels, .. } => 2 * (3 + channels.iter().sum::<usize>()),
            Self::MobilenetV2 { .. } => MOBILENET_V2_LAST,
            Self::InceptionV3 { .. } => INCEPTION_V3_LAST,
        }
    }

    /// Returns `true` if z is a linear function of the pooled features, `false` if it consists of the features themselves.
    pub fn has_head(&self) -> bool {
        !matches!(self, Self::Vgg19 { .. })
    }

    /// Returns `true` if z includes the zoom, a term that depends on the size of the image (see [`Predictor::Cnn`]).
    pub fn zooms(&self) -> bool {
        matches!(self, Self::Cnn { size, smallest: Some(smallest), .. } if smallest < size)
    }
}

impl Transformer {
    /// Returns all layers.
    pub fn layers(&self) -> TransformerLayers {
        let Self { contract, residual, expand, head, .. } = self;
        let plain = |name: &str, inputs, outputs, side| {
            Layer::plain(format!("transformer.{name}"), inputs, outputs, (side, side))
        };
        let width = contract.last().map_or(3, |layer| layer.channels);
        let mut channels = 3;
        let mut next = |outputs| std::mem::replace(&mut channels, outputs);
        let contract = contract
            .iter()
            .enumerate()
            .map(|(i, layer)| Layer {
                stride: layer.stride,
                ..plain(&format!("contract.{i}"), next(layer.channels), layer.channels, layer.kernel)
            })
            .collect();
        let site = |i: usize, n: usize| Layer {
            separable: residual.separable,
            ..plain(&format!("residual.{i}.conv{n}"), width, width, 3)
        };
        let expand = expand
            .iter()
            .enumerate()
            .map(|(i, layer)| Layer {
                upsample: true,
                separable: layer.separable,
                ..plain(&format!("expand.{i}"), next(layer.channels), layer.channels, layer.kernel)
            })
            .collect();
        TransformerLayers {
            contract,
            contract_norm: self.contract_norm,
            residual: (0..residual.blocks).map(|i| [site(i, 1), site(i, 2)]).collect(),
            expand,
            head: Layer {
                upsample: head.upsample,
                separable: head.separable,
                ..plain("head", next(3), 3, head.kernel)
            },
            skip: head.skip.then(|| plain("head.skip", 3, 3, head.kernel)),
        }
    }
}

impl Network {
    /// Returns the names and shapes of all tensors of the network.
    pub fn tensors(&self) -> BTreeMap<String, Vec<usize>> {
        let mut all = BTreeMap::new();
        let Self { predictor, transformer } = self;
        match predictor.layers() {
            PredictorLayers::Cnn(stages) => stages.iter().for_each(|layer| add_biased(layer, layer.weight(), &mut all)),
            PredictorLayers::MobilenetV2 { stem, blocks, last } => {
                let pointwise = blocks.iter().flat_map(|block| block.expand.iter().chain([&block.project]));
                pointwise.chain([&stem, &last]).for_each(|layer| add_biased(layer, layer.weight(), &mut all));
                let depthwise = blocks.iter().map(|block| &block.depthwise);
                depthwise.for_each(|layer| add_biased(layer, layer.depthwise_weight(), &mut all));
            }
            PredictorLayers::Vgg19(layers) => {
                layers.iter().for_each(|(layer, _)| add_biased(layer, layer.weight(), &mut all));
            }
            PredictorLayers::InceptionV3(network) => {
                let layers = network.stages.iter().flat_map(InceptionStage::layers);
                layers.for_each(|layer| add_biased(layer, layer.weight(), &mut all));
            }
        }
        let head = predictor.has_head().then_some("head").into_iter().chain(predictor.zooms().then_some("zoom"));
        head.for_each(|name| add_linear(&format!("predictor.{name}"), predictor.dim(), predictor.features(), &mut all));
        if let Predictor::Vgg19 { border: EncoderBorder::Zero, .. } = predictor {
            all.insert("predictor.border".into(), vec![3]);
        }
        match transformer {
            AnyTransformer::Conditional(transformer) => transformer.add_tensors(&mut all),
            AnyTransformer::Adain(_) => {
                vgg19::decoder().iter().for_each(|layer| add_biased(layer, layer.weight(), &mut all));
            }
        }
        all
    }
}

impl Transformer {
    fn add_tensors(&self, all: &mut Shapes) {
        let TransformerLayers { contract, contract_norm, residual, expand, head, skip } = self.layers();
        for layer in &contract {
            match contract_norm {
                true => drop(all.insert(format!("{}.weight", layer.name), layer.weight())),
                false => add_biased(layer, layer.weight(), all),
            }
        }
        let normed = residual.as_flattened().iter().chain(&expand).chain([&head]);
        normed.for_each(|layer| add_normed(layer, self.dim, all));
        if let Some(skip) = skip {
            all.insert(format!("{}.weight", skip.name), skip.weight());
            add_linear(&format!("{}.gain", skip.name), skip.outputs, self.dim, all);
        }
    }
}

type Shapes = BTreeMap<String, Vec<usize>>;

fn add_linear(name: &str, outputs: usize, inputs: usize, all: &mut Shapes) {
    all.insert(format!("{name}.weight"), vec![outputs, inputs]);
    all.insert(format!("{name}.bias"), vec![outputs]);
}

fn add_biased(layer: &Layer, weight: Vec<usize>, all: &mut Shapes) {
    all.insert(format!("{}.weight", layer.name), weight);
    all.insert(format!("{}.bias", layer.name), vec![layer.outputs]);
}

/// Adds the shapes of a convolution without bias, and of the linear maps from z to the gamma and beta of the convolution's
/// norm.
fn add_normed(layer: &Layer, dim: usize, all: &mut Shapes) {
    let Layer { name, inputs, outputs, separable, .. } = layer;
    for part in ["beta", "gamma"] {
        add_linear(&format!("{name}.{part}"), *outputs, dim, all);
    }
    if *separable {
        all.insert(format!("{name}.depthwise.weight"), layer.depthwise_weight());
        all.insert(format!("{name}.pointwise.weight"), vec![*outputs, *inputs, 1, 1]);
    } else {
        all.insert(format!("{name}.weight"), layer.weight());
    }
}
