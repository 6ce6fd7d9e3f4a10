//! Reference loops, one value at a time.
use super::reflected;

pub(super) fn blur(half: &[f32], width: usize, color: &mut [u8]) {
    let height = color.len() / width;
    let sum = |middle: f32, at: &dyn Fn(isize) -> f32| {
        (1..half.len()).fold(half[0] * middle, |sum, k| half[k].mul_add(at(-(k as isize)) + at(k as isize), sum))
    };
    let rows: Vec<f32> = (0..color.len())
        .map(|i| {
            let (y, x) = (i / width, i % width);
            let at = |step| f32::from(color[y * width + reflected(x as isize + step, width)]);
            sum(at(0), &at)
        })
        .collect();
    for (i, out) in color.iter_mut().enumerate() {
        let (y, x) = (i / width, i % width);
        let at = |step| rows[reflected(y as isize + step, height) * width + x];
        *out = (sum(at(0), &at) + 0.5) as u8;
    }
}
