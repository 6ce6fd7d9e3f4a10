//! A network as a list of its layers: a file's tensors are checked against it, and F and T are built from it, for the CPU and for CUDA.
use super::network::{MOBILENET_V2_LAST, MOBILENET_V2_STEM, Network, Predictor, Transformer, mobilenet_v2_blocks};
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
    /// Side of the kernel.
    pub kernel: usize,
    /// Step between positions.
    pub stride: usize,
    /// Nearest x2 upsampling before it.
    pub upsample: bool,
    /// Depthwise then pointwise, with nothing between, instead of dense.
    pub separable: bool,
}

impl Layer {
    /// A dense one of stride 1.
    fn plain(name: impl Into<String>, inputs: usize, outputs: usize, kernel: usize) -> Self {
        Self { name: name.into(), inputs, outputs, kernel, stride: 1, upsample: false, separable: false }
    }

    /// The dense weight's shape.
    fn weight(&self) -> Vec<usize> {
        vec![self.outputs, self.inputs, self.kernel, self.kernel]
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
    /// With bias and ReLU.
    pub contract: Vec<Layer>,
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
        let plain =
            |name: &str, inputs, outputs, kernel| Layer::plain(format!("predictor.{name}"), inputs, outputs, kernel);
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
        }
    }

    /// What the head takes.
    pub fn features(&self) -> usize {
        match self {
            Self::Cnn { channels, .. } => 2 * (3 + channels.iter().sum::<usize>()),
            Self::MobilenetV2 { .. } => MOBILENET_V2_LAST,
        }
    }

    /// Whether z depends on the size that an image is seen in.
    pub fn zooms(&self) -> bool {
        self.smallest() < self.size()
    }
}

impl Transformer {
    /// All layers.
    pub fn layers(&self) -> TransformerLayers {
        let Self { contract, residual, expand, head, .. } = self;
        let plain =
            |name: &str, inputs, outputs, kernel| Layer::plain(format!("transformer.{name}"), inputs, outputs, kernel);
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
                for BlockLayers { depthwise, .. } in &blocks {
                    add_biased(depthwise, vec![depthwise.outputs, 1, depthwise.kernel, depthwise.kernel], &mut all);
                }
            }
        }
        let head = ["head"].into_iter().chain(predictor.zooms().then_some("zoom"));
        head.for_each(|name| add_linear(&format!("predictor.{name}"), predictor.dim(), predictor.features(), &mut all));

        let TransformerLayers { contract, residual, expand, head, skip } = transformer.layers();
        contract.iter().for_each(|layer| add_biased(layer, layer.weight(), &mut all));
        let normed = residual.as_flattened().iter().chain(&expand).chain([&head]);
        normed.for_each(|layer| add_normed(layer, transformer.dim, &mut all));
        if let Some(skip) = skip {
            all.insert(format!("{}.weight", skip.name), skip.weight());
            add_linear(&format!("{}.gain", skip.name), skip.outputs, transformer.dim, &mut all);
        }
        all
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
    let Layer { name, inputs, outputs, kernel, separable, .. } = layer;
    for part in ["beta", "gamma"] {
        add_linear(&format!("{name}.{part}"), *outputs, dim, all);
    }
    if *separable {
        all.insert(format!("{name}.depthwise.weight"), vec![*inputs, 1, *kernel, *kernel]);
        all.insert(format!("{name}.pointwise.weight"), vec![*outputs, *inputs, 1, 1]);
    } else {
        all.insert(format!("{name}.weight"), layer.weight());
    }
}
