//! Groups of tensors to which weight decay or LARS's adaptation applies: all, or those with more than one dimension.

/// A trainable tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// The tensor's name in files and in the optimizer's state.
    pub name: String,
    /// The number of dimensions: 4 for a convolution's weight, 1 for a bias.
    pub ndim: usize,
    /// The number of elements.
    pub len: usize,
}

/// A group of tensors, selected by their number of dimensions, like moco-v3's `p.ndim > 1`. A selection by name would be
/// guesswork.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Every tensor. MoCo v2 applies weight decay to biases and batch norms too.
    All,
    /// Weights of convolutions and linear layers, but not biases and norms, as in SimCLR and BYOL.
    Matrices,
}

impl Group {
    /// Returns whether the tensor belongs to the group.
    pub fn holds(self, parameter: &TensorInfo) -> bool {
        self == Self::All || parameter.ndim > 1
    }
}
