//! What a network of the family looks like, as data: the JSON in a model file's metadata.
use super::vgg19::{CHANNELS, SHRINKAGE};
use serde::{Deserialize, Serialize};

/// A style predictor F and a transformer T that share a style space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// F: image to style vector z.
    pub predictor: Predictor,
    /// T: image and z to stylized image.
    pub transformer: AnyTransformer,
}

/// T of one kind or another; a description without a kind is of the first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, try_from = "serde_json::Value")]
pub enum AnyTransformer {
    /// Conditional instance norm.
    Conditional(Transformer),
    /// AdaIN.
    Adain(Decoder),
}

/// T of AdaIN: the last map of F's encoder, given the style's means and deviations, and a decoder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Decoder {
    /// The mirror image of VGG-19 up to relu4_1.
    #[serde(rename = "adain")]
    MirroredVgg19 {
        /// Length of z.
        dim: usize,
    },
}

fn within(what: &str, n: usize, low: usize, high: usize) -> Result<(), String> {
    match n {
        n if (low..=high).contains(&n) => Ok(()),
        n => Err(format!("its network has {n} for {what}; between {low} and {high} is possible")),
    }
}

impl Network {
    /// Whether the numbers make sense together; the reason, if not.
    pub(super) fn check(&self) -> Result<(), String> {
        let Self { predictor, transformer } = self;
        let dim = transformer.dim();
        let kernel = |n: usize| match n {
            1 | 3 | 5 | 7 | 9 | 11 | 13 | 15 => Ok(()),
            n => Err(format!("its network has a kernel of {n}; odd ones from 1 to 15 are possible")),
        };
        within("the length of z", dim, 1, 4096)?;
        if predictor.dim() != dim {
            return Err(format!("its predictor makes vectors of {}, its transformer takes {dim}", predictor.dim()));
        }
        predictor.check()?;
        let transformer = match (predictor, transformer) {
            (Predictor::Vgg19 { .. }, AnyTransformer::Adain(_)) => return Ok(()),
            (Predictor::Vgg19 { .. }, _) | (_, AnyTransformer::Adain(_)) => {
                return Err(
                    "VGG-19 as a predictor and AdaIN's decoder belong together; its network has one of them".into()
                );
            }
            (_, AnyTransformer::Conditional(transformer)) => transformer,
        };
        let Transformer { contract, residual, expand, head, .. } = transformer;
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
    /// InceptionV3 up to Mixed_6e, global mean, linear (Ghiasi et al. 2017; Szegedy et al. 2016).
    #[serde(rename = "inception_v3")]
    InceptionV3 {
        /// Shorter side of the image as F sees it, resized by TensorFlow 1's bilinear rule as Magenta does; without one, images are
        /// seen as they are, from 43 pixels on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        shorter_side: Option<usize>,
        /// What follows each convolution.
        activation: Rectifier,
        /// Whether average pools count zeros around the map, as torchvision's do and TensorFlow's do not.
        pools_count_zeros: bool,
        /// Length of z.
        dim: usize,
    },
    /// VGG-19 up to relu4_1; means and deviations of its last map (Huang and Belongie 2017).
    Vgg19 {
        /// What stands around each map.
        border: EncoderBorder,
        /// Whether a pool keeps a last row or column that is odd (PyTorch's `ceil_mode`). Else contents are continued by reflection
        /// to whole multiples of 8 pixels, so that none is lost.
        pools_ceil: bool,
        /// What keeps a deviation from 0.
        epsilon: Epsilon,
        /// Length of z.
        dim: usize,
    },
}

/// What stands around the maps of an encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EncoderBorder {
    /// Their mirror image.
    Reflect,
    /// Zeros; around the image the colour that the tensor `predictor.border` has, which is that of zeros after normalization.
    Zero,
}

/// What keeps a deviation, of the unbiased variance, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Epsilon {
    /// `sqrt(variance + 1e-5)`.
    Variance,
    /// `sqrt(variance) + 1e-6`.
    Deviation,
}

/// What follows a convolution of InceptionV3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rectifier {
    /// `max(x, 0)`: torchvision's.
    Relu,
    /// `min(max(x, 0), 6)`: TF-slim's.
    Relu6,
}

impl Predictor {
    fn check(&self) -> Result<(), String> {
        match self {
            Self::MobilenetV2 { size, .. } => within("the predictor's image size", *size, 32, 1024)?,
            Self::Cnn { size, smallest, channels, .. } => {
                within("the predictor's image size", *size, 32, 1024)?;
                within("the predictor's smallest image", smallest.unwrap_or(*size), 32, *size)?;
                within("the predictor's stages", channels.len(), 1, 5)?;
                channels.iter().try_for_each(|&n| within("the predictor's channels", n, 1, 4096))?;
            }
            Self::InceptionV3 { shorter_side, .. } => {
                let side = shorter_side.unwrap_or(INCEPTION_V3_SMALLEST);
                within("the shorter side of the predictor's image", side, INCEPTION_V3_SMALLEST, 1024)?;
            }
            Self::Vgg19 { dim, .. } => within("the length of VGG-19's z", *dim, 2 * CHANNELS, 2 * CHANNELS)?,
        }
        Ok(())
    }

    /// Height and width in which F sees an image of these.
    pub fn seen(&self, height: usize, width: usize) -> (usize, usize) {
        match self {
            Self::InceptionV3 { shorter_side: Some(side), .. } => {
                let shorter = height.min(width);
                (height * side / shorter, width * side / shorter)
            }
            Self::InceptionV3 { shorter_side: None, .. } | Self::Vgg19 { .. } => (height, width),
            Self::MobilenetV2 { size, .. } => (*size, *size),
            Self::Cnn { size, smallest, .. } => {
                let smallest = smallest.unwrap_or(*size);
                (height.clamp(smallest, *size), width.clamp(smallest, *size))
            }
        }
    }

    /// Height and width of the smallest image that F takes.
    pub fn smallest(&self) -> usize {
        match self {
            Self::InceptionV3 { shorter_side: None, .. } => INCEPTION_V3_SMALLEST,
            // The last map has two rows and columns, so that its mirror image has some.
            Self::Vgg19 { .. } => SHRINKAGE + 1,
            _ => 1,
        }
    }

    /// How often an image seen in this size is half of the largest, on the mean of both axes.
    pub fn halvings(&self, (height, width): (usize, usize)) -> f32 {
        match self {
            Self::Cnn { size, .. } => ((size * size) as f32 / (height * width) as f32).log2() / 2.0,
            _ => 0.0,
        }
    }

    /// Length of z.
    pub fn dim(&self) -> usize {
        match self {
            Self::MobilenetV2 { dim, .. }
            | Self::Cnn { dim, .. }
            | Self::InceptionV3 { dim, .. }
            | Self::Vgg19 { dim, .. } => *dim,
        }
    }
}

/// The smallest image in which InceptionV3's Mixed_6a has a window.
pub const INCEPTION_V3_SMALLEST: usize = 43;

/// Channels of InceptionV3's Mixed_6e.
pub const INCEPTION_V3_LAST: usize = 768;

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

impl TryFrom<serde_json::Value> for AnyTransformer {
    type Error = serde_json::Error;

    fn try_from(value: serde_json::Value) -> Result<Self, serde_json::Error> {
        match value.get("kind") {
            Some(_) => serde_json::from_value(value).map(Self::Adain),
            None => serde_json::from_value(value).map(Self::Conditional),
        }
    }
}

impl AnyTransformer {
    /// Length of z.
    pub fn dim(&self) -> usize {
        match self {
            Self::Conditional(Transformer { dim, .. }) | Self::Adain(Decoder::MirroredVgg19 { dim }) => *dim,
        }
    }
}

/// T (Ghiasi et al. 2017): contract, residual blocks, expand, head.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transformer {
    /// Length of z.
    pub dim: usize,
    /// Convolutions with bias and ReLU, in order.
    pub contract: Vec<Contract>,
    /// Whether they have, instead of the bias, an instance norm without parameters before the ReLU (styleaug).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub contract_norm: bool,
    /// The trunk.
    pub residual: Residual,
    /// Nearest x2 upsampling, convolution, style norm, ReLU, in order.
    pub expand: Vec<Expand>,
    /// The last convolution, to three channels, with style norm and sigmoid.
    pub head: Head,
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
