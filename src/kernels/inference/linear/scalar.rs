//! The linear layer as a plain loop.

pub(super) fn add(weight: &[f32], bias: &[f32], by: f32, input: &[f32], out: &mut [f32]) {
    for (o, out) in out.iter_mut().enumerate() {
        let rows = weight.chunks_exact(bias.len());
        *out += by * (bias[o] + rows.zip(input).map(|(row, x)| row[o] * x).sum::<f32>());
    }
}
