//! Depthwise convolution in float32, in tiles of one vector of channels by a few neighbouring pixels.
#![allow(unsafe_code)]
use super::{Extent, Isa, Pass, Shape};
use crate::kernels::inference::feature_map::{FeatureMap, MapView};
use crate::kernels::isa::{Kernel, LaneExtents, Lanes};

pub(super) fn run(isa: Isa, shape: &Shape, pass: &Pass, bias: &[f32], input: MapView, out: &mut FeatureMap) -> Extent {
    isa.dispatch(Run { shape, pass, bias, input, out })
}

struct Run<'a> {
    shape: &'a Shape,
    pass: &'a Pass,
    bias: &'a [f32],
    input: MapView<'a>,
    out: &'a mut FeatureMap,
}

impl Kernel for Run<'_> {
    type Output = Extent;

    #[inline(always)]
    fn run<L: Lanes>(mut self) -> Extent {
        let mut extents = LaneExtents::<L>::default();
        let scale = if self.shape.upsample { 2 } else { 1 };
        let (rows, columns) = (self.out.height() / scale, self.out.width() / scale);
        let channels = self.shape.outputs;
        if self.pass.taps == (3, 3) && self.shape.stride == 1 && columns >= STRIP {
            for y in 0..rows {
                for channel in (0..channels).step_by(L::N) {
                    self.strips::<L>(y, channel.min(channels - L::N), columns, &mut extents);
                }
            }
            return extents.of_lanes();
        }
        for y in 0..rows {
            let mut x = 0;
            while x < columns {
                let wide = columns - x >= 4;
                let mut channel = 0;
                while channel < channels {
                    // The last vector is shifted back over channels already computed, and writes the same values again.
                    let c = channel.min(channels - L::N);
                    match wide {
                        true => self.tile::<L, 4>(y, x, c, self.pass.taps, &mut extents),
                        false => self.tile::<L, 1>(y, x, c, self.pass.taps, &mut extents),
                    }
                    channel += L::N;
                }
                x += if wide { 4 } else { 1 };
            }
        }
        extents.of_lanes()
    }
}

/// Number of pixels in a strip.
const STRIP: usize = 4;

impl Run<'_> {
    /// Computes one row for one vector of channels with 3x3 taps and stride 1, the common case. The weights stay in vector
    /// registers. Each loaded input pixel is used for all three columns of taps.
    #[inline(always)]
    fn strips<L: Lanes>(&mut self, y: usize, c: usize, columns: usize, extents: &mut LaneExtents<L>) {
        let (shape, pass) = (self.shape, self.pass);
        let (channels, stride) = (shape.outputs, self.input.stride);
        let scale = if shape.upsample { 2 } else { 1 };
        let input = &self.input.data[(y + pass.first.0) * stride + pass.first.1 * channels + c..];
        let out = &mut self.out.row_mut(y * scale + pass.phase.0)[pass.phase.1 * channels + c..];
        let step = scale * channels;
        assert!(
            2 * stride + (columns + 1) * channels + L::N <= input.len() && (columns - 1) * step + L::N <= out.len()
        );
        assert!(c + L::N <= channels && 9 * channels <= pass.weight.len() && channels <= self.bias.len());

        // SAFETY: the asserts above bound every address read or written here.
        let bias = unsafe { L::load(self.bias.as_ptr().add(c)) };
        let mut weights = [[bias; 3]; 3];
        for (i, weight) in weights.as_flattened_mut().iter_mut().enumerate() {
            // SAFETY: as above.
            *weight = unsafe { L::load(pass.weight.as_ptr().add(i * channels + c)) };
        }
        for x in (0..columns).step_by(STRIP) {
            // The last strip is shifted back over pixels already computed, and writes the same values again.
            let x = x.min(columns - STRIP);
            let mut sums = [bias; STRIP];
            for (ty, weights) in weights.iter().enumerate() {
                for column in 0..STRIP + 2 {
                    // SAFETY: as above.
                    let pixel = unsafe { L::load(input.as_ptr().add(ty * stride + (x + column) * channels)) };
                    for (tx, &weight) in weights.iter().enumerate() {
                        if (tx..tx + STRIP).contains(&column) {
                            sums[column - tx] = pixel.mul_add(weight, sums[column - tx]);
                        }
                    }
                }
            }
            shape.activation.apply(sums.iter_mut());
            for (m, sum) in sums.into_iter().enumerate() {
                extents.add(sum);
                // SAFETY: as above.
                unsafe { sum.store(out.as_mut_ptr().add((x + m) * step)) }
            }
        }
    }

    /// Computes M pixels starting at `x`, for one vector of channels starting at `c`.
    #[inline(always)]
    fn tile<L: Lanes, const M: usize>(
        &mut self,
        y: usize,
        x: usize,
        c: usize,
        taps: (usize, usize),
        extents: &mut LaneExtents<L>,
    ) {
        let (shape, pass) = (self.shape, self.pass);
        let (channels, stride) = (shape.outputs, self.input.stride);
        let scale = if shape.upsample { 2 } else { 1 };
        let start = (y * shape.stride + pass.first.0) * stride + (x * shape.stride + pass.first.1) * channels + c;
        let step = shape.stride * channels;
        let input = self.input.data;
        let last = start + (taps.0 - 1) * stride + (taps.1 - 1) * channels + (M - 1) * step;
        assert!(last + L::N <= input.len() && c + L::N <= channels);
        assert!(taps.0 * taps.1 * channels <= pass.weight.len() && channels <= self.bias.len());

        // SAFETY: the asserts above bound every address read here.
        let mut sums = [unsafe { L::load(self.bias.as_ptr().add(c)) }; M];
        for ty in 0..taps.0 {
            for tx in 0..taps.1 {
                // SAFETY: as above.
                unsafe {
                    let weight = L::load(pass.weight.as_ptr().add(pass.at((ty, tx), c)));
                    let pixels = input.as_ptr().add(start + ty * stride + tx * channels);
                    for (m, sum) in sums.iter_mut().enumerate() {
                        *sum = L::load(pixels.add(m * step)).mul_add(weight, *sum);
                    }
                }
            }
        }

        shape.activation.apply(sums.iter_mut());
        let row = self.out.row_mut(y * scale + pass.phase.0);
        for (m, sum) in sums.into_iter().enumerate() {
            extents.add(sum);
            let out = &mut row[((x + m) * scale + pass.phase.1) * channels + c..][..L::N];
            // SAFETY: `out` has N floats.
            unsafe { sum.store(out.as_mut_ptr()) }
        }
    }
}
