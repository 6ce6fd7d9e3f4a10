//! The building block of backbones: a convolution followed by a batch norm, which may include a ReLU.
use crate::nn::{Array, ArrayRef, BatchNorm, Conv2d, Engine, Normed, Pass};

/// A convolution followed by a batch norm.
pub(super) struct Unit {
    pub(super) conv: Conv2d,
    pub(super) norm: BatchNorm,
}

/// The values that a unit keeps for the backward pass: the output of the convolution and the output of the norm. The unit's
/// input is kept as the output of the previous unit.
pub(super) struct KeptUnit {
    pub(super) conv: Array,
    pub(super) normed: Normed,
}

impl Unit {
    pub(super) fn forward(&self, engine: Engine, pass: &mut Pass, x: ArrayRef, residual: Option<&Array>) -> KeptUnit {
        let conv = self.conv.forward(engine, pass.params, x);
        let normed = self.norm.forward(engine, (pass.params, pass.buffers), &conv, residual, pass.mode);
        KeptUnit { conv: if pass.keep { conv } else { Array::zeros([0; 4]) }, normed }
    }

    /// Writes the gradients of the parameters to `gradient`, and frees the kept arrays. Returns the gradient of the input if
    /// `wants_input` is set, and the gradient of the residual if `residual` is set.
    pub(super) fn backward(
        &self,
        engine: Engine,
        (params, gradient): (&[f32], &mut [f32]),
        (x, kept): (ArrayRef, KeptUnit),
        dy: Array,
        (residual, wants_input): (bool, bool),
    ) -> (Option<Array>, Option<Array>) {
        let KeptUnit { conv, normed } = kept;
        let (dconv, dresidual) = self.norm.backward(engine, (params, gradient), &conv, &normed, &dy, residual);
        drop((conv, normed, dy));
        self.conv.weight_gradient(engine, x, &dconv, gradient);
        let dx = wants_input.then(|| self.conv.input_gradient(engine, params, x.shape, &dconv));
        (dx, dresidual)
    }
}
