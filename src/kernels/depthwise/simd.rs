//! Depthwise convolution, a vector of channels by a few neighbouring pixels at a time.
#![allow(unsafe_code)]
use super::{Activation, Isa, Map, Pass, Shape};
use crate::kernels::isa::{Kernel, Lanes};

pub(super) fn run(isa: Isa, shape: &Shape, pass: &Pass, bias: &[f32], input: &Map, out: &mut Map) {
    isa.dispatch(Run { shape, pass, bias, input, out });
}

struct Run<'a> {
    shape: &'a Shape,
    pass: &'a Pass,
    bias: &'a [f32],
    input: &'a Map,
    out: &'a mut Map,
}

impl Kernel for Run<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(mut self) {
        let scale = if self.shape.upsample { 2 } else { 1 };
        let (rows, columns) = (self.out.height() / scale, self.out.width() / scale);
        let channels = self.shape.outputs;
        for y in 0..rows {
            let mut x = 0;
            while x < columns {
                let wide = columns - x >= 4;
                let mut channel = 0;
                while channel < channels {
                    // The last vector is shifted back over channels already done, and writes the same numbers again.
                    let c = channel.min(channels - L::N);
                    match (wide, self.pass.taps) {
                        // The common case, unrolled.
                        (true, (3, 3)) => self.tile::<L, 4>(y, x, c, (3, 3)),
                        (true, taps) => self.tile::<L, 4>(y, x, c, taps),
                        (false, taps) => self.tile::<L, 1>(y, x, c, taps),
                    }
                    channel += L::N;
                }
                x += if wide { 4 } else { 1 };
            }
        }
    }
}

impl Run<'_> {
    /// M pixels from `x` on, one vector of channels from `c` on.
    #[inline(always)]
    fn tile<L: Lanes, const M: usize>(&mut self, y: usize, x: usize, c: usize, taps: (usize, usize)) {
        let (shape, pass) = (self.shape, self.pass);
        let (channels, stride) = (shape.outputs, self.input.stride());
        let scale = if shape.upsample { 2 } else { 1 };
        let start = (y * shape.stride + pass.first.0) * stride + (x * shape.stride + pass.first.1) * channels + c;
        let step = shape.stride * channels;
        let input = self.input.as_slice();
        let last = start + (taps.0 - 1) * stride + (taps.1 - 1) * channels + (M - 1) * step;
        assert!(last + L::N <= input.len() && c + L::N <= channels);
        assert!(taps.0 * taps.1 * channels <= pass.weight.len() && channels <= self.bias.len());

        // SAFETY: the asserts above bound every address read here.
        let mut sums = [unsafe { L::load(self.bias.as_ptr().add(c)) }; M];
        for ty in 0..taps.0 {
            for tx in 0..taps.1 {
                // SAFETY: as above.
                unsafe {
                    let weight = L::load(pass.weight.as_ptr().add((ty * taps.1 + tx) * channels + c));
                    let pixels = input.as_ptr().add(start + ty * stride + tx * channels);
                    for (m, sum) in sums.iter_mut().enumerate() {
                        *sum = L::load(pixels.add(m * step)).mul_add(weight, *sum);
                    }
                }
            }
        }

        let row = self.out.row_mut(y * scale + pass.phase.0);
        for (m, sum) in sums.into_iter().enumerate() {
            let sum = match shape.activation {
                Activation::None => sum,
                Activation::Relu => sum.max(L::splat(0.0)),
                Activation::Relu6 => sum.max(L::splat(0.0)).min(L::splat(6.0)),
            };
            let out = &mut row[((x + m) * scale + pass.phase.1) * channels + c..][..L::N];
            // SAFETY: `out` has N floats.
            unsafe { sum.store(out.as_mut_ptr()) }
        }
    }
}
