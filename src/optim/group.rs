//! The tensors to which weight decay or adaptation applies: all, or those with more than one dimension.

/// A trainable tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name in files, and in the optimizer's state.
    pub name: String,
    /// The number of dimensions: 4 for a convolution's weight, 1 for a bias.
    pub ndim: usize,
    /// The number of elements.
    pub len: usize,
}

/// A group of tensors, distinguished by their dimensions like moco-v3's `p.ndim > 1`; by names it would be guesswork.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Every tensor. MoCo v2 decays biases and batch norms too.
    All,
    /// Weights of convolutions and linear layers, without biases and norms: SimCLR and BYOL.
    Matrices,
}

impl Group {
    /// Whether the tensor belongs to the group.
    pub fn holds(self, parameter: &TensorInfo) -> bool {
        self == Self::All || parameter.ndim > 1
    }
}
