//! One row with an exponential that vectorises: `2^n p(f)` with `n + f = x log2(e)`, relative error below 3e-7.
use super::{Isa, Last, Map, Pixels, PixelsMut};
use crate::kernels::isa::{Kernel, Lanes};

pub(super) fn blend(isa: Isa, last: &Last, beta: f32, stylized: &[f32], content: Pixels, out: PixelsMut) {
    isa.dispatch(Blend { last, beta, stylized, content, out });
}

struct Blend<'a> {
    last: &'a Last<'a>,
    beta: f32,
    stylized: &'a [f32],
    content: Pixels<'a>,
    out: PixelsMut<'a>,
}

/// Three colours by sixteen lanes.
const PERIOD: usize = 48;

impl Kernel for Blend<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(mut self) {
        let scale: [f32; PERIOD] = std::array::from_fn(|i| self.last.scale[i % 3]);
        let shift: [f32; PERIOD] = std::array::from_fn(|i| self.last.shift[i % 3]);
        let mut blended = [0.0; PERIOD];
        for (n, x) in self.stylized.chunks(PERIOD).enumerate() {
            let range = n * PERIOD..n * PERIOD + x.len();
            let blended = &mut blended[..x.len()];
            self.content.part(range.clone()).floats(blended);
            for (((out, x), scale), shift) in blended.iter_mut().zip(x).zip(&scale).zip(&shift) {
                *out = (1.0 - self.beta) * *out + self.beta * sigmoid(x * scale + shift);
            }
            self.out.part(range).pack(blended);
        }
    }
}

/// The pixels of an image to a map.
pub(super) struct Unpack<'a> {
    pub(super) pixels: Pixels<'a>,
    pub(super) out: &'a mut Map,
}

impl Kernel for Unpack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let row = 3 * self.out.width();
        for y in 0..self.out.height() {
            self.pixels.part(y * row..(y + 1) * row).floats(self.out.row_mut(y));
        }
    }
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[inline(always)]
fn exp(x: f32) -> f32 {
    /// Adding it leaves the nearest integer in the low bits of a float.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 87.0) * std::f32::consts::LOG2_E;
    let rounded = x + ROUND;
    let f = (x - (rounded - ROUND)) * std::f32::consts::LN_2;
    let power = f32::from_bits((rounded.to_bits() << 23).wrapping_add(1.0_f32.to_bits()));
    // Taylor's series on |f| <= ln(2) / 2.
    let p = 1.0 + f * (1.0 + f * (0.5 + f * (1.0 / 6.0 + f * (1.0 / 24.0 + f * (1.0 / 120.0 + f * (1.0 / 720.0))))));
    power * p
}

#[cfg(test)]
mod tests {
    use super::{exp, sigmoid};

    #[test]
    fn exponential_is_within_its_bound() {
        for i in -86_000..86_000 {
            let x = i as f32 * 1e-3;
            let truth = f64::from(x).exp();
            assert!((f64::from(exp(x)) / truth - 1.0).abs() < 1e-5, "exp({x}) = {} not {truth}", exp(x));
        }
        for i in -20_000..20_000 {
            let x = i as f32 * 1e-3;
            let truth = 1.0 / (1.0 + (-f64::from(x)).exp());
            assert!((f64::from(sigmoid(x)) - truth).abs() < 3e-7, "sigmoid({x})");
        }
        assert_eq!((sigmoid(-1e9), sigmoid(1e9)), (sigmoid(-87.0), 1.0));
    }
}
