//! Interpolation with a vectorizable exponential: `2^x = 2^n p(f)` for `x = n + f`, with an integer n and a polynomial p. The
//! relative error is below 3e-7.
//!
//! The sigmoid of x is `1 / (1 + 2^(-x log2(e)))`. The factor `-log2(e)` is folded into the norm's scale and shift.
#![allow(unsafe_code)]
use super::{InterpolationScratch, Last, Pixels, PixelsMut, Squash};
use crate::kernels::isa::{Kernel, Lanes, MOST_LANES};

/// See [`super::interpolate`].
pub(super) struct Interpolate<'a> {
    pub(super) last: Last<'a>,
    pub(super) beta: f32,
    pub(super) content: Pixels<'a>,
    pub(super) width: usize,
    pub(super) out: PixelsMut<'a>,
    pub(super) scratch: &'a mut InterpolationScratch,
}

impl Kernel for Interpolate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(mut self) {
        let Self { last, beta, content, width, ref mut out, scratch } = self;
        let InterpolationScratch { last: row, bytes } = scratch;
        let n = 3 * width;
        // After three vectors, each lane holds the same colour again.
        let factor = if last.end == Squash::Sigmoid { -std::f32::consts::LOG2_E } else { 1.0 };
        let [scale, shift] = [last.scale, last.shift]
            .map(|colours| -> [f32; 3 * MOST_LANES] { std::array::from_fn(|i| factor * colours[i % 3]) });
        // SAFETY: no vector has more lanes.
        let vector = |all: &[f32; 3 * MOST_LANES], i: usize| unsafe { L::load(all.as_ptr().add(i * L::N)) };
        let colours: [(L, L); 3] = std::array::from_fn(|i| (vector(&scale, i), vector(&shift, i)));
        for y in 0..content.len() / n {
            last.gather_row(y, width, row);
            let mut to = out.row(y, width, bytes);
            assert!(row.len() >= n + L::N && (y + 1) * n <= content.len() && n <= to.len());
            // Scales of content and output: bytes need not be converted to [0, 1] and back.
            let [step_in, step_out] = [content.step(), to.step()];
            let (keep, share) = (L::splat((1.0 - beta) * step_in / step_out), L::splat(beta / step_out));
            let half = L::splat(to.half());
            let mut turns = colours.iter().cycle();
            for x in (0..n).step_by(L::N) {
                let Some(&(scale, shift)) = turns.next() else { break };
                let used = (n - x).min(L::N);
                // SAFETY: the assert above bounds every address.
                unsafe {
                    let normed = L::load(row.as_ptr().add(x)).mul_add(scale, shift);
                    let stylized = match last.end {
                        Squash::Sigmoid => logistic(normed),
                        Squash::Clamp => normed.max(L::splat(0.0)).min(L::splat(1.0)),
                    };
                    let content = content.load_steps::<L>(y * n + x, used);
                    to.store(x, used, stylized.mul_add(share, content.mul_add(keep, half)));
                }
            }
            out.finish_row(y, width, bytes);
        }
    }
}

/// `1 / (1 + 2^x)`.
#[inline(always)]
fn logistic<L: Lanes>(x: L) -> L {
    let one = L::splat(1.0);
    one.div(two_to(x).mul_add(one, one))
}

#[inline(always)]
fn two_to<L: Lanes>(x: L) -> L {
    /// Adding this constant to a float leaves the nearest integer in the low bits.
    const ROUND: f32 = 12_582_912.0;
    /// Taylor coefficients of 2^f: ln(2)^k / k!, from k = 6 down to 0.
    const SERIES: [f32; 7] =
        [1.540_353e-4, 1.333_355_8e-3, 9.618_129e-3, 5.550_411e-2, 0.240_226_5, std::f32::consts::LN_2, 1.0];
    let one = L::splat(1.0);
    let x = x.min(L::splat(126.0)).max(L::splat(-126.0));
    let whole = x.mul_add(one, L::splat(ROUND)).mul_add(one, L::splat(-ROUND));
    // |f| <= 1/2.
    let f = whole.mul_add(L::splat(-1.0), x);
    let mut p = L::splat(SERIES[0]);
    for &c in &SERIES[1..] {
        p = p.mul_add(f, L::splat(c));
    }
    p.times_two_to(whole)
}

#[cfg(test)]
mod tests {
    use crate::kernels::isa::{Isa, Kernel, Lanes, MOST_LANES};

    /// 2^x and 1 / (1 + 2^x) of one value.
    struct Both(f32);

    impl Kernel for Both {
        type Output = [f32; 2];

        #[inline(always)]
        fn run<L: Lanes>(self) -> [f32; 2] {
            [super::two_to(L::splat(self.0)), super::logistic(L::splat(self.0))].map(|x| {
                let mut lanes = [0.0; MOST_LANES];
                // SAFETY: no vector has more lanes.
                unsafe { x.store(lanes.as_mut_ptr()) }
                lanes[0]
            })
        }
    }

    #[test]
    fn exponential_is_within_its_bound() {
        for isa in Isa::supported() {
            for i in -125_000..125_000 {
                let x = i as f32 * 1e-3;
                let (exact, [power, logistic]) = (f64::from(x).exp2(), isa.dispatch(Both(x)));
                assert!((f64::from(power) / exact - 1.0).abs() < 1e-6, "{}: 2^{x} = {power} not {exact}", isa.name());
                let exact = 1.0 / (1.0 + exact);
                assert!((f64::from(logistic) - exact).abs() < 3e-7, "{}: logistic({x})", isa.name());
            }
            let logistic = |x| isa.dispatch(Both(x))[1];
            assert_eq!((logistic(1e9), logistic(-1e9)), (logistic(126.0), 1.0));
        }
    }
}
