//! What a network of the family looks like, as data: the JSON in a model file's metadata.
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A style predictor F and a transformer T that share a style space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// F: image to style vector z.
    pub predictor: Predictor,
    /// T: image and z to stylized image.
    pub transformer: Transformer,
}

impl Network {
    /// Whether the numbers make sense together; the reason, if not.
    pub(super) fn check(&self) -> Result<(), String> {
        let Self { predictor, transformer } = self;
        let Transformer { dim, contract, residual, expand, head } = transformer;
        let within = |what: &str, n: usize, low: usize, high: usize| match n {
            n if (low..=high).contains(&n) => Ok(()),
            n => Err(format!("its network has {n} for {what}; between {low} and {high} is possible")),
        };
        let kernel = |n: usize| match n {
            1 | 3 | 5 | 7 | 9 | 11 | 13 | 15 => Ok(()),
            n => Err(format!("its network has a kernel of {n}; odd ones from 1 to 15 are possible")),
        };
        within("the length of z", *dim, 1, 4096)?;
        if predictor.dim() != *dim {
            return Err(format!("its predictor makes vectors of {}, its transformer takes {dim}", predictor.dim()));
        }
        within("the predictor's image size", predictor.size(), 32, 1024)?;
        within("the predictor's smallest image", predictor.smallest(), 32, predictor.size())?;
        if let Predictor::Cnn { channels, .. } = predictor {
            within("the predictor's stages", channels.len(), 1, 5)?;
            channels.iter().try_for_each(|&n| within("the predictor's channels", n, 1, 4096))?;
        } else {
            within("MobileNetV2's length of z", *dim, 1, 4096)?;
        }
        within("contracting layers", contract.len(), 1, 8)?;
        for layer in contract {
            kernel(layer.kernel)?;
            within("a stride", layer.stride, 1, 2)?;
            within("channels", layer.channels, 1, 4096)?;
        }
        within("residual blocks", residual.blocks, 0, 64)?;
        for layer in expand {
            kernel(layer.kernel)?;
            within("channels", layer.channels, 1, 4096)?;
        }
        kernel(head.kernel)?;
        let halved = contract.iter().filter(|layer| layer.stride == 2).count();
        let doubled = expand.len() + usize::from(head.upsample);
        if halved != doubled || halved > 3 {
            return Err(format!(
                "its transformer halves {halved} times and doubles {doubled} times; both alike, up to 3"
            ));
        }
        match head.skip && head.separable {
            true => Err("its head is separable and has a skip; one of the two is possible".into()),
            false => Ok(()),
        }
    }

    /// Every tensor that the network names, with its shape.
    pub fn tensors(&self) -> BTreeMap<String, Vec<usize>> {
        let mut shapes = Shapes::default();
        self.predictor.name_tensors(&mut shapes);
        self.transformer.name_tensors(&mut shapes);
        shapes.0
    }
}

/// Tensors by name, each with its shape.
#[derive(Default)]
struct Shapes(BTreeMap<String, Vec<usize>>);

impl Shapes {
    fn add(&mut self, name: String, shape: &[usize]) {
        self.0.insert(name, shape.to_vec());
    }

    /// A weight of this shape, and a bias for each of its outputs.
    fn add_biased(&mut self, name: &str, shape: &[usize]) {
        self.add(format!("{name}.weight"), shape);
        self.add(format!("{name}.bias"), &shape[..1]);
    }

    /// A convolution of `[outputs, inputs, kernel, kernel]`, depthwise then pointwise if it is separable, with the maps from z that
    /// give its style norm.
    fn add_styled(&mut self, name: &str, shape: [usize; 4], separable: bool, dim: usize) {
        let [outputs, inputs, kernel, _] = shape;
        for part in ["beta", "gamma"] {
            self.add_biased(&format!("{name}.{part}"), &[outputs, dim]);
        }
        if separable {
            self.add(format!("{name}.depthwise.weight"), &[inputs, 1, kernel, kernel]);
            self.add(format!("{name}.pointwise.weight"), &[outputs, inputs, 1, 1]);
        } else {
            self.add(format!("{name}.weight"), &shape);
        }
    }
}

/// F.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Predictor {
    /// MobileNetV2 of width 1 up to its 1280 channels, global mean, linear; TF's SAME padding.
    MobilenetV2 {
        /// Side of the square to which images are resized.
        size: usize,
        /// Length of z.
        dim: usize,
    },
    /// 3x3 stride 2 convolutions; means and deviations of every stage and of the pixels, linear.
    ///
    /// With `smallest`, an image of a side between the two is seen as it is, and z is `head + n zoom`, two linear maps, where `size`
    /// is `2^n` times that side (n is the mean of both axes').
    Cnn {
        /// Side of the square to which larger images are resized.
        size: usize,
        /// Side to which smaller images are resized; `size`, if it is not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        smallest: Option<usize>,
        /// Output channels of each stage.
        channels: Vec<usize>,
        /// Length of z.
        dim: usize,
    },
}

impl Predictor {
    /// Side of the square to which F resizes a larger image.
    pub fn size(&self) -> usize {
        match self {
            Self::MobilenetV2 { size, .. } | Self::Cnn { size, .. } => *size,
        }
    }

    /// Side below which it enlarges images.
    pub fn smallest(&self) -> usize {
        match self {
            Self::Cnn { smallest: Some(smallest), .. } => *smallest,
            _ => self.size(),
        }
    }

    /// Length of z.
    pub fn dim(&self) -> usize {
        match self {
            Self::MobilenetV2 { dim, .. } | Self::Cnn { dim, .. } => *dim,
        }
    }

    fn name_tensors(&self, shapes: &mut Shapes) {
        let features = match self {
            Self::Cnn { channels, .. } => {
                let mut inputs = 3;
                for (i, &outputs) in channels.iter().enumerate() {
                    shapes.add_biased(&format!("predictor.conv.{i}"), &[outputs, inputs, 3, 3]);
                    inputs = outputs;
                }
                2 * (3 + channels.iter().sum::<usize>())
            }
            Self::MobilenetV2 { .. } => name_mobilenet_v2(shapes),
        };
        shapes.add_biased("predictor.head", &[self.dim(), features]);
        if self.smallest() < self.size() {
            shapes.add_biased("predictor.zoom", &[self.dim(), features]);
        }
    }
}

/// MobileNetV2's tensors; how many features it gives.
fn name_mobilenet_v2(shapes: &mut Shapes) -> usize {
    let mut inputs = MOBILENET_V2_STEM;
    shapes.add_biased("predictor.stem", &[inputs, 3, 3, 3]);
    for (i, block) in mobilenet_v2_blocks().enumerate() {
        let (name, hidden) = (format!("predictor.block.{i}"), inputs * block.expansion);
        if block.expansion != 1 {
            shapes.add_biased(&format!("{name}.expand"), &[hidden, inputs, 1, 1]);
        }
        shapes.add_biased(&format!("{name}.depthwise"), &[hidden, 1, 3, 3]);
        shapes.add_biased(&format!("{name}.project"), &[block.channels, hidden, 1, 1]);
        inputs = block.channels;
    }
    shapes.add_biased("predictor.last", &[MOBILENET_V2_LAST, inputs, 1, 1]);
    MOBILENET_V2_LAST
}

/// Channels of MobileNetV2's first convolution.
pub const MOBILENET_V2_STEM: usize = 32;

/// Channels of MobileNetV2's last convolution.
pub const MOBILENET_V2_LAST: usize = 1280;

/// One of MobileNetV2's inverted residual blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvertedResidual {
    /// Hidden channels over input channels.
    pub expansion: usize,
    /// Output channels.
    pub channels: usize,
    /// Of the depthwise convolution.
    pub stride: usize,
}

/// MobileNetV2's blocks in order (Sandler et al. 2018, table 2).
pub fn mobilenet_v2_blocks() -> impl Iterator<Item = InvertedResidual> {
    const TABLE: [(usize, usize, usize, usize); 7] =
        [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)];
    TABLE.into_iter().flat_map(|(expansion, channels, repeats, stride)| {
        let stride = move |n| if n == 0 { stride } else { 1 };
        (0..repeats).map(move |n| InvertedResidual { expansion, channels, stride: stride(n) })
    })
}

/// T (Ghiasi et al. 2017): contract, residual blocks, expand, head.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transformer {
    /// Length of z.
    pub dim: usize,
    /// Convolutions with bias and ReLU, in order.
    pub contract: Vec<Contract>,
    /// The trunk.
    pub residual: Residual,
    /// Nearest x2 upsampling, convolution, style norm, ReLU, in order.
    pub expand: Vec<Expand>,
    /// The last convolution, to three channels, with style norm and sigmoid.
    pub head: Head,
}

impl Transformer {
    fn name_tensors(&self, shapes: &mut Shapes) {
        let Self { dim, contract, residual, expand, head } = self;
        let mut inputs = 3;
        for (i, layer) in contract.iter().enumerate() {
            let shape = [layer.channels, inputs, layer.kernel, layer.kernel];
            shapes.add_biased(&format!("transformer.contract.{i}"), &shape);
            inputs = layer.channels;
        }
        for i in 0..residual.blocks {
            for n in 1..=2 {
                let name = format!("transformer.residual.{i}.conv{n}");
                shapes.add_styled(&name, [inputs, inputs, 3, 3], residual.separable, *dim);
            }
        }
        for (i, layer) in expand.iter().enumerate() {
            let shape = [layer.channels, inputs, layer.kernel, layer.kernel];
            shapes.add_styled(&format!("transformer.expand.{i}"), shape, layer.separable, *dim);
            inputs = layer.channels;
        }
        shapes.add_styled("transformer.head", [3, inputs, head.kernel, head.kernel], head.separable, *dim);
        if head.skip {
            shapes.add("transformer.head.skip.weight".into(), &[3, 3, head.kernel, head.kernel]);
            shapes.add_biased("transformer.head.skip.gain", &[3, *dim]);
        }
    }
}

/// A convolution of the contracting part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contract {
    /// Side of the kernel, odd.
    pub kernel: usize,
    /// 1 or 2.
    pub stride: usize,
    /// Output channels.
    pub channels: usize,
}

/// The residual blocks: two 3x3 convolutions each, all of the last contract layer's width.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Residual {
    /// How many.
    pub blocks: usize,
    /// Depthwise then pointwise instead of dense.
    pub separable: bool,
}

/// An upsampling convolution of the expanding part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expand {
    /// Side of the kernel, odd.
    pub kernel: usize,
    /// Output channels.
    pub channels: usize,
    /// Depthwise then pointwise instead of dense.
    pub separable: bool,
}

/// The last convolution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Side of the kernel, odd.
    pub kernel: usize,
    /// Nearest x2 upsampling before it.
    pub upsample: bool,
    /// Depthwise then pointwise instead of dense.
    pub separable: bool,
    /// A second convolution of the same kernel over the input image, added to the first, each colour times a gain linear in z.
    pub skip: bool,
}
