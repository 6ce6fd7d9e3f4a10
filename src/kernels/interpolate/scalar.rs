//! One row, by the formula.
use super::Last;

pub(super) fn blend(last: &Last, beta: f32, stylized: &[f32], content: &mut [f32]) {
    for (i, (x, out)) in stylized.iter().zip(content).enumerate() {
        let x = x * last.scale[i % 3] + last.shift[i % 3];
        *out = (1.0 - beta) * *out + beta / (1.0 + (-x).exp());
    }
}
