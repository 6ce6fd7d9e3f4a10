//! Which tensors a rule holds for: all, or those of more than one dimension.

/// One tensor that is trained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name in files, and in the optimizer's state.
    pub name: String,
    /// How many dimensions it has: 4 for a convolution's weight, 1 for a bias.
    pub ndim: usize,
    /// How many numbers it has.
    pub len: usize,
}

/// Tensors told apart by their dimensions, as moco-v3's `p.ndim > 1` does. Names would have to be guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Every tensor. MoCo v2 decays biases and batch norms too.
    All,
    /// Weights of convolutions and of linear layers, not biases and norms: SimCLR and BYOL.
    Matrices,
}

impl Group {
    /// Whether the tensor is one of them.
    pub fn holds(self, parameter: &TensorInfo) -> bool {
        self == Self::All || parameter.ndim > 1
    }
}
