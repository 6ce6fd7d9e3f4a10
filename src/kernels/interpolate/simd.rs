//! The whole image with an exponential that vectorises: `2^n p(f)` with `n + f = x log2(e)`, relative error below 3e-7.
#![allow(unsafe_code)]
use super::{Last, Pixels, PixelsMut};
use crate::kernels::isa::{Kernel, Lanes};

/// See [`super::interpolate`].
pub(super) struct Interpolate<'a> {
    pub(super) last: Last<'a>,
    pub(super) beta: f32,
    pub(super) content: Pixels<'a>,
    pub(super) width: usize,
    pub(super) out: PixelsMut<'a>,
    pub(super) row: &'a mut Vec<f32>,
}

impl Kernel for Interpolate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(mut self) {
        let n = 3 * self.width;
        // After three vectors the same colour stands in the same lane again.
        let [scale, shift] =
            [self.last.scale, self.last.shift].map(|colours| -> [f32; 48] { std::array::from_fn(|i| colours[i % 3]) });
        // SAFETY: no vector has more than 16 lanes.
        let vector = |all: &[f32; 48], i: usize| unsafe { L::load(all.as_ptr().add(i * L::N)) };
        let colours: [(L, L); 3] = std::array::from_fn(|i| (vector(&scale, i), vector(&shift, i)));
        for y in 0..self.content.len() / n {
            self.last.gather_row(y, self.width, self.row);
            assert!(self.row.len() >= n + L::N && (y + 1) * n <= self.content.len().min(self.out.len()));
            let mut turns = colours.iter().cycle();
            for x in (0..n).step_by(L::N) {
                let Some(&(scale, shift)) = turns.next() else { break };
                let used = (n - x).min(L::N);
                // SAFETY: the assert above bounds every address.
                unsafe {
                    let stylized = sigmoid(L::load(self.row.as_ptr().add(x)).mul_add(scale, shift));
                    let content = self.content.load::<L>(y * n + x, used);
                    let share = L::splat(self.beta).mul_add(stylized, L::splat(0.0));
                    let blended = content.mul_add(L::splat(1.0 - self.beta), share);
                    self.out.store(y * n + x, used, blended);
                }
            }
        }
    }
}

impl Pixels<'_> {
    /// The next `used` of them, in [0, 1].
    ///
    /// # Safety
    /// There are so many.
    #[inline(always)]
    pub(in crate::kernels) unsafe fn load<L: Lanes>(self, at: usize, used: usize) -> L {
        // SAFETY: the caller's word.
        unsafe {
            match self {
                Self::U8(from) => {
                    let bytes = L::load_pixels(from.as_ptr().add(at), 0..used);
                    bytes.mul_add(L::splat(1.0 / 255.0), L::splat(0.0))
                }
                Self::F32(from) if used == L::N => L::load(from.as_ptr().add(at)),
                Self::F32(from) => L::load_some(from.as_ptr().add(at), 0..used),
            }
        }
    }
}

impl PixelsMut<'_> {
    /// Takes numbers in [0, 1]; NaN gives the byte 0.
    ///
    /// # Safety
    /// There are so many.
    #[inline(always)]
    unsafe fn store<L: Lanes>(&mut self, at: usize, used: usize, x: L) {
        // SAFETY: the caller's word, and numbers in [0, 255.5].
        unsafe {
            match self {
                Self::U8(out) => {
                    let bytes = x.mul_add(L::splat(255.0), L::splat(0.5)).max(L::splat(0.0)).min(L::splat(255.0));
                    bytes.store_pixels(out.as_mut_ptr().add(at), used);
                }
                Self::F32(out) if used == L::N => x.store(out.as_mut_ptr().add(at)),
                Self::F32(out) => x.store_some(out.as_mut_ptr().add(at), 0..used),
            }
        }
    }
}

#[inline(always)]
fn sigmoid<L: Lanes>(x: L) -> L {
    let one = L::splat(1.0);
    let minus = x.mul_add(L::splat(-1.0), L::splat(0.0));
    one.div(exp(minus).mul_add(one, one))
}

#[inline(always)]
fn exp<L: Lanes>(x: L) -> L {
    /// Adding it leaves the nearest integer in the low bits of a float.
    const ROUND: f32 = 12_582_912.0;
    let [zero, one] = [0.0, 1.0].map(L::splat);
    let x = x.min(L::splat(87.0)).max(L::splat(-87.0)).mul_add(L::splat(std::f32::consts::LOG2_E), zero);
    let whole = x.mul_add(one, L::splat(ROUND)).mul_add(one, L::splat(-ROUND));
    let f = whole.mul_add(L::splat(-1.0), x).mul_add(L::splat(std::f32::consts::LN_2), zero);
    // Taylor's series on |f| <= ln(2) / 2.
    let mut p = L::splat(1.0 / 720.0);
    for c in [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        p = p.mul_add(f, L::splat(c));
    }
    p.times_two_to(whole)
}

#[cfg(test)]
mod tests {
    use crate::kernels::isa::{Isa, Kernel, Lanes};

    /// exp and sigmoid of one number.
    struct Both(f32);

    impl Kernel for Both {
        type Output = [f32; 2];

        #[inline(always)]
        fn run<L: Lanes>(self) -> [f32; 2] {
            [super::exp(L::splat(self.0)), super::sigmoid(L::splat(self.0))].map(|x| {
                let mut lanes = [0.0; 16];
                // SAFETY: no vector has more than 16 lanes.
                unsafe { x.store(lanes.as_mut_ptr()) }
                lanes[0]
            })
        }
    }

    #[test]
    fn exponential_is_within_its_bound() {
        for isa in Isa::supported() {
            for i in -86_000..86_000 {
                let x = i as f32 * 1e-3;
                let (truth, [exp, sigmoid]) = (f64::from(x).exp(), isa.dispatch(Both(x)));
                assert!((f64::from(exp) / truth - 1.0).abs() < 1e-5, "{}: exp({x}) = {exp} not {truth}", isa.name());
                let truth = 1.0 / (1.0 + (-f64::from(x)).exp());
                assert!((f64::from(sigmoid) - truth).abs() < 3e-7, "{}: sigmoid({x})", isa.name());
            }
            let sigmoid = |x| isa.dispatch(Both(x))[1];
            assert_eq!((sigmoid(-1e9), sigmoid(1e9)), (sigmoid(-87.0), 1.0));
        }
    }
}
