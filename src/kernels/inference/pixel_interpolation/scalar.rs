//! Interpolation of one row, computed by the formula.
use super::{Last, Pixels, Squash};
use crate::kernels::inference::pixels::RowMut;

pub(super) fn blend(last: &Last, beta: f32, stylized: &[f32], content: Pixels, out: RowMut) {
    let mut blended = vec![0.0; stylized.len()];
    content.floats(&mut blended);
    for (i, (x, out)) in stylized.iter().zip(&mut blended).enumerate() {
        let x = x * last.scale[i % 3] + last.shift[i % 3];
        *out = match last.end {
            Squash::Sigmoid => (1.0 - beta) * *out + beta / (1.0 + (-x).exp()),
            Squash::Clamp => (1.0 - beta) * *out + beta * x.clamp(0.0, 1.0),
        };
    }
    out.pack(&blended);
}
