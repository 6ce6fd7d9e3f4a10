//! A network as a list of its layers: a file's tensors are checked against it, and F and T are built from it, for the CPU and for CUDA.
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
    /// What its tensors' names begin with.
    pub name: String,
    /// Input channels.
    pub inputs: usize,
    /// Output channels.
    pub outputs: usize,
    /// Rows and columns of the kernel.
    pub kernel: (usize, usize),
    /// Step between positions.
    pub stride: usize,
    /// Without a border: positions of the kernel inside the map alone (TensorFlow's VALID).
    pub valid: bool,
    /// Nearest x2 upsampling before it.
    pub upsample: bool,
    /// Depthwise then pointwise, with nothing between, instead of dense.
    pub separable: bool,
}

impl Layer {
    /// A dense one of stride 1.
    pub(super) fn plain(name: impl Into<String>, inputs: usize, outputs: usize, kernel: (usize, usize)) -> Self {
        let name = name.into();
        Self { name, inputs, outputs, kernel, stride: 1, valid: false, upsample: false, separable: false }
    }

    /// The side of a square kernel.
    ///
    /// # Panics
    /// If it is not square.
    pub fn side(&self) -> usize {
        assert_eq!(self.kernel.0, self.kernel.1, "{self:?}");
        self.kernel.0
    }

    /// The dense weight's shape.
    pub(super) fn weight(&self) -> Vec<usize> {
        vec![self.outputs, self.inputs, self.kernel.0, self.kernel.1]
    }

    /// The shape of the weight that convolves each input by itself.
    fn depthwise_weight(&self) -> Vec<usize> {
        vec![self.inputs, 1, self.kernel.0, self.kernel.1]
    }
}

/// F's layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PredictorLayers {
    /// Strided convolutions with bias and ReLU, in order.
    Cnn(Vec<Layer>),
    /// MobileNetV2 up to its last convolution; all with bias.
    MobilenetV2 {
        /// With ReLU6.
        stem: Layer,
        /// In order.
        blocks: Vec<BlockLayers>,
        /// With ReLU6.
        last: Layer,
    },
    /// InceptionV3 up to Mixed_6e.
    InceptionV3(InceptionLayers),
    /// VGG-19 up to relu4_1, each with ReLU; and whether a 2x2 max pool follows.
    Vgg19(Vec<(Layer, bool)>),
}

/// MobileNetV2's inverted residual.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockLayers {
    /// Pointwise, with ReLU6, unless there are as many hidden channels as inputs.
    pub expand: Option<Layer>,
    /// Each channel by itself, with ReLU6.
    pub depthwise: Layer,
    /// Pointwise, without activation.
    pub project: Layer,
    /// Whether the input is added.
    pub residual: bool,
}

/// T's layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransformerLayers {
    /// With bias and ReLU; or with a norm without parameters between.
    pub contract: Vec<Layer>,
    /// The latter.
    pub contract_norm: bool,
    /// Each with its norm.
    pub residual: Vec<[Layer; 2]>,
    /// Each with its norm and ReLU; they upsample.
    pub expand: Vec<Layer>,
    /// With its norm.
    pub head: Layer,
    /// A second convolution of the image, each colour times a gain.
    pub skip: Option<Layer>,
}

impl Predictor {
    /// The layers before the head.
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

    /// What the head takes, or z has where there is none.
    pub fn features(&self) -> usize {
        match self {
            Self::Vgg19 { dim, .. } => *dim,
            Self::Cnn { channels, .. } => 2 * (3 + channels.iter().sum::<usize>()),
            Self::MobilenetV2 { .. } => MOBILENET_V2_LAST,
            Self::InceptionV3 { .. } => INCEPTION_V3_LAST,
        }
    }

    /// Whether z is linear in what it has gathered; else it is that itself.
    pub fn has_head(&self) -> bool {
        !matches!(self, Self::Vgg19 { .. })
    }

    /// Whether z depends on the size that an image is seen in.
    pub fn zooms(&self) -> bool {
        matches!(self, Self::Cnn { size, smallest: Some(smallest), .. } if smallest < size)
    }
}

impl Transformer {
    /// All layers.
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
    /// Every tensor that the network names, with its shape.
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

/// A convolution without bias, and the norm after it, whose gamma and beta are linear in z.
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
