//! The linear layer, one vector of outputs at a time, in four independent sums.
#![allow(unsafe_code)]
use crate::kernels::isa::{Kernel, Lanes};

pub(super) struct Add<'a> {
    pub(super) weight: &'a [f32],
    pub(super) bias: &'a [f32],
    pub(super) by: f32,
    pub(super) input: &'a [f32],
    pub(super) out: &'a mut [f32],
}

impl Kernel for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { weight, bias, by, input, out } = self;
        let columns = bias.len();
        assert!(weight.len() == input.len() * columns && out.len() <= columns && columns.is_multiple_of(L::N));
        let (zero, one) = (L::splat(0.0), L::splat(1.0));
        for at in (0..out.len()).step_by(L::N) {
            let mut sums = [zero; 4];
            let (fours, rest) = input.as_chunks::<4>();
            for (n, four) in fours.iter().enumerate() {
                for (k, (sum, &x)) in sums.iter_mut().zip(four).enumerate() {
                    // SAFETY: `at + N` is within a row, and there are as many rows as inputs.
                    let row = unsafe { L::load(weight.as_ptr().add((4 * n + k) * columns + at)) };
                    *sum = row.mul_add(L::splat(x), *sum);
                }
            }
            for (k, &x) in rest.iter().enumerate() {
                // SAFETY: as above.
                let row = unsafe { L::load(weight.as_ptr().add((4 * fours.len() + k) * columns + at)) };
                sums[0] = row.mul_add(L::splat(x), sums[0]);
            }
            let [a, b, c, d] = sums;
            let sum = a.mul_add(one, b).mul_add(one, c.mul_add(one, d));
            let used = (out.len() - at).min(L::N);
            // SAFETY: the bias fills whole vectors; in `out`, only existing lanes are accessed.
            unsafe {
                let (bias, to) = (L::load(bias.as_ptr().add(at)), out.as_mut_ptr().add(at));
                sum.mul_add(one, bias).mul_add(L::splat(by), L::load_some(to, 0..used)).store_some(to, 0..used);
            }
        }
    }
}
