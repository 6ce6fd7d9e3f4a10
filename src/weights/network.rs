//! The description of a network, stored as JSON in the metadata of a model file.
use super::vgg19::{CHANNELS, SHRINKAGE};
use serde::{Deserialize, Serialize};

/// A style predictor F and a transformer T that share a style space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// F, from an image to its style vector z.
    pub predictor: Predictor,
    /// T, from an image and z to the stylized image.
    pub transformer: AnyTransformer,
}

/// A transformer T. A JSON description without the field `kind` describes a [`Transformer`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, try_from = "serde_json::Value")]
pub enum AnyTransformer {
    /// T with conditional instance norms.
    Conditional(Transformer),
    /// AdaIN's T.
    Adain(Decoder),
}

/// AdaIN's T. F's last feature map of the content is normalized to the means and standard deviations of the style, then
/// decoded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Decoder {
    /// The mirrored layers of VGG-19 up to relu4_1.
    #[serde(rename = "adain")]
    MirroredVgg19 {
        /// Length of a style vector z.
        dim: usize,
    },
}

fn within(what: &str, n: usize, low: usize, high: usize) -> Result<(), String> {
    match n {
        n if (low..=high).contains(&n) => Ok(()),
        n => Err(format!("its network has {n} for {what}; it must be between {low} and {high}")),
    }
}

impl Network {
    /// Checks that the settings are consistent; the error states the reason for a failure.
    pub(super) fn check(&self) -> Result<(), String> {
        let Self { predictor, transformer } = self;
        let dim = transformer.dim();
        let kernel = |n: usize| match n {
            1 | 3 | 5 | 7 | 9 | 11 | 13 | 15 => Ok(()),
            n => Err(format!("its network has a kernel of {n}; it must be odd, from 1 to 15")),
        };
        within("the length of z", dim, 1, 4096)?;
        if predictor.dim() != dim {
            return Err(format!(
                "its predictor computes vectors of length {}, but its transformer expects {dim}",
                predictor.dim()
            ));
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
                "its transformer halves {halved} times and doubles {doubled} times; the two must be equal, at most 3"
            ));
        }
        match head.skip && head.separable {
            true => Err("its head is separable and has a skip; only one of the two is allowed".into()),
            false => Ok(()),
        }
    }
}

/// The description of a style predictor F.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Predictor {
    /// MobileNetV2 of width 1 up to its last convolution (1280 channels), then the global mean and a linear map. The padding is
    /// TensorFlow's SAME.
    MobilenetV2 {
        /// Side of the square to which images are resized.
        size: usize,
        /// Length of a style vector z.
        dim: usize,
    },
    /// 3x3 convolutions of stride 2; then a linear map of the channel means and standard deviations of the image and of every
    /// stage's output.
    ///
    /// If `smallest` is below `size`, sides between `smallest` and `size` are not resized, and z is `head + n zoom`. Here, head
    /// and zoom are the outputs of two linear maps, and n is the number of doublings from a side of the image to `size`,
    /// averaged over both axes.
    Cnn {
        /// Maximum height and width of the resized image; sides above it are reduced to it.
        size: usize,
        /// Minimum height and width of the resized image; sides below it are enlarged to it. `None` means `size`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        smallest: Option<usize>,
        /// Output channels of each stage.
        channels: Vec<usize>,
        /// Length of a style vector z.
        dim: usize,
    },
    /// InceptionV3 up to Mixed_6e, then the global mean and a linear map (Ghiasi et al. 2017; Szegedy et al. 2016).
    #[serde(rename = "inception_v3")]
    InceptionV3 {
        /// Length to which the shorter side of images is resized, with TensorFlow 1's bilinear interpolation, as in Magenta. If
        /// `None`, images are not resized, and their sides must have at least 43 pixels.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        shorter_side: Option<usize>,
        /// The activation after each convolution.
        activation: Rectifier,
        /// True if average pools count the zero padding, as in torchvision but not in TensorFlow.
        pools_count_zeros: bool,
        /// Length of a style vector z.
        dim: usize,
    },
    /// VGG-19 up to relu4_1 (Huang and Belongie 2017). z consists of the channel means and standard deviations of relu4_1.
    Vgg19 {
        /// The padding of each feature map.
        border: EncoderBorder,
        /// True if pools keep an odd last row or column (PyTorch's `ceil_mode`). Otherwise content images are padded by
        /// reflection to multiples of 8 pixels, so that no pixel is lost.
        pools_ceil: bool,
        /// The epsilon of standard deviations.
        epsilon: Epsilon,
        /// Length of a style vector z.
        dim: usize,
    },
}

/// The padding of an encoder's feature maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EncoderBorder {
    /// Padding by reflection.
    Reflect,
    /// Padding with zeros. The image is padded with the colour in the tensor `predictor.border`, which becomes zero when the
    /// image is normalized.
    Zero,
}

/// The position of the epsilon in the formula of a standard deviation. The variance is the unbiased variance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Epsilon {
    /// `sqrt(variance + 1e-5)`.
    Variance,
    /// `sqrt(variance) + 1e-6`.
    Deviation,
}

/// The activation after a convolution of InceptionV3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rectifier {
    /// `max(x, 0)`, as in torchvision.
    Relu,
    /// `min(max(x, 0), 6)`, as in TF-slim.
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

    /// Returns the height and width at which F sees an image of this size, i.e. after resizing.
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

    /// Returns the smallest height and width that F accepts.
    pub fn smallest(&self) -> usize {
        match self {
            Self::InceptionV3 { shorter_side: None, .. } => INCEPTION_V3_SMALLEST,
            // The last feature map must have at least two rows and columns, so that it can be padded by reflection.
            Self::Vgg19 { .. } => SHRINKAGE + 1,
            _ => 1,
        }
    }

    /// Returns the number of doublings from an input of this size to the largest size, averaged over both axes. The number is 0
    /// for predictors other than [`Predictor::Cnn`].
    pub fn halvings(&self, (height, width): (usize, usize)) -> f32 {
        match self {
            Self::Cnn { size, .. } => ((size * size) as f32 / (height * width) as f32).log2() / 2.0,
            _ => 0.0,
        }
    }

    /// Returns the length of a style vector z.
    pub fn dim(&self) -> usize {
        match self {
            Self::MobilenetV2 { dim, .. }
            | Self::Cnn { dim, .. }
            | Self::InceptionV3 { dim, .. }
            | Self::Vgg19 { dim, .. } => *dim,
        }
    }
}

/// The smallest side of an image for InceptionV3 without resizing. In a smaller image, the input of Mixed_6a would be smaller
/// than the kernels of Mixed_6a.
pub const INCEPTION_V3_SMALLEST: usize = 43;

/// Number of channels of InceptionV3's Mixed_6e.
pub const INCEPTION_V3_LAST: usize = 768;

/// Number of channels of MobileNetV2's first convolution.
pub const MOBILENET_V2_STEM: usize = 32;

/// Number of channels of MobileNetV2's last convolution.
pub const MOBILENET_V2_LAST: usize = 1280;

/// One of MobileNetV2's inverted residual blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvertedResidual {
    /// Number of hidden channels divided by the number of input channels.
    pub expansion: usize,
    /// Output channels.
    pub channels: usize,
    /// Stride of the depthwise convolution.
    pub stride: usize,
}

/// Returns MobileNetV2's blocks in order (Sandler et al. 2018, table 2).
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
    /// Returns the length of a style vector z.
    pub fn dim(&self) -> usize {
        match self {
            Self::Conditional(Transformer { dim, .. }) | Self::Adain(Decoder::MirroredVgg19 { dim }) => *dim,
        }
    }
}

/// A transformer T (Ghiasi et al. 2017): contracting layers, residual blocks, expanding layers, and the head. A style norm is
/// an instance norm whose gamma and beta are linear in z.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transformer {
    /// Length of a style vector z.
    pub dim: usize,
    /// Convolutions with bias and ReLU, in order.
    pub contract: Vec<Contract>,
    /// True if the layers of `contract` have an instance norm without parameters before the ReLU, instead of a bias, as in
    /// styleaug.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub contract_norm: bool,
    /// The residual blocks.
    pub residual: Residual,
    /// The expanding layers, in order: nearest x2 upsampling, convolution, style norm, ReLU.
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
    /// The stride, 1 or 2.
    pub stride: usize,
    /// Output channels.
    pub channels: usize,
}

/// The residual blocks: two 3x3 convolutions each, with as many channels as the last contracting layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Residual {
    /// The number of blocks.
    pub blocks: usize,
    /// True for depthwise and pointwise convolutions instead of dense ones.
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
    /// True for a depthwise and a pointwise convolution instead of a dense one.
    pub separable: bool,
}

/// The last convolution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Side of the kernel, odd.
    pub kernel: usize,
    /// True if nearest x2 upsampling precedes the convolution.
    pub upsample: bool,
    /// True for a depthwise and a pointwise convolution instead of a dense one.
    pub separable: bool,
    /// True if there is a skip: a second convolution, of the input image, with the same kernel size. Its output is multiplied
    /// by a gain per channel, linear in z, and added to the output of the first convolution.
    pub skip: bool,
}
