//! What a network of the family looks like, as data: the JSON in a model file's metadata.
use serde::{Deserialize, Serialize};

/// A style predictor F and a transformer T that share a style space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// F: image to style vector z.
    pub predictor: Predictor,
    /// T: image and z to stylized image.
    pub transformer: Transformer,
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
    Cnn {
        /// Side of the square to which images are resized.
        size: usize,
        /// Output channels of each stage.
        channels: Vec<usize>,
        /// Length of z.
        dim: usize,
    },
}

impl Predictor {
    /// Side of the square to which F resizes its image.
    pub fn size(&self) -> usize {
        match self {
            Self::MobilenetV2 { size, .. } | Self::Cnn { size, .. } => *size,
        }
    }

    /// Length of z.
    pub fn dim(&self) -> usize {
        match self {
            Self::MobilenetV2 { dim, .. } | Self::Cnn { dim, .. } => *dim,
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
    /// A second convolution of the same kernel over the input image, added to the first.
    pub skip: bool,
}
