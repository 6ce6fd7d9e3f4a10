//! Bilinear resizing in float32, with two choices of sampling positions:
//!
//! - Antialiased: output pixel `o` is a weighted mean of the inputs around `(o + 1/2) n_in / n_out - 1/2`. The weights form a
//!   triangle with a half width of one input pixel, or of `n_in / n_out` input pixels if the image shrinks.
//! - TensorFlow 1: output pixel `o` is interpolated between the two inputs around `o n_in / n_out`.
#![allow(unsafe_code)]
pub mod cuda;
use crate::kernels::inference::feature_map::FeatureMap;
use crate::kernels::inference::pixels::Pixels;
use crate::kernels::isa::{Isa, Kernel, Lanes, MOST_LANES};

/// Sampling positions of the output pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sampling {
    /// As in Pillow's BILINEAR filter, and `torch.nn.functional.interpolate(antialias=True)`.
    #[default]
    Antialiased,
    /// As in TensorFlow 1's `resize_bilinear`: without antialiasing, and without the half-pixel shift.
    TensorFlow1,
}

/// Resizes an image of `width` columns to the size of `out`, with values in [0, 1]. The padding of `out` is not written.
///
/// # Panics
/// If `out` does not have three channels, or the image does not consist of whole rows.
pub fn resize(
    isa: Isa,
    sampling: Sampling,
    image: Pixels,
    width: usize,
    out: &mut FeatureMap,
    scratch: &mut BilinearScratch,
) {
    let height = image.len() / (3 * width);
    assert_eq!((image.len(), out.channels()), (3 * width * height, 3));
    if (height, width) == (out.height(), out.width()) {
        for y in 0..height {
            image.part(3 * width * y..3 * width * (y + 1)).floats(out.row_mut(y));
        }
        return;
    }
    let BilinearScratch { rows, columns, mixed } = scratch;
    rows.fill(sampling, height, out.height());
    columns.fill(sampling, width, out.width());
    mixed.resize(3 * width + MIXED_SPARE, 0.0);
    isa.dispatch(Run { image, width, rows, columns, mixed, out });
}

/// Number of floats beyond the end of the row in `mixed` that may be read or written.
const MIXED_SPARE: usize = MOST_LANES;

/// Reusable buffers of [`resize`]. Images of the same size also reuse the weights.
#[derive(Debug, Default)]
pub struct BilinearScratch {
    rows: Windows,
    columns: Windows,
    mixed: Vec<f32>,
}

/// The inputs of each output pixel along one axis: `taps` inputs, starting at index `first[output]`.
#[derive(Debug, Default)]
struct Windows {
    sampling: Sampling,
    from: usize,
    first: Vec<usize>,
    taps: usize,
    /// `[outputs][taps]`.
    weights: Vec<f32>,
}

impl Windows {
    fn fill(&mut self, sampling: Sampling, from: usize, to: usize) {
        if (self.sampling, self.from, self.first.len()) == (sampling, from, to) {
            return;
        }
        let scale = from as f64 / to as f64;
        let (support, shift) = match sampling {
            Sampling::Antialiased => (scale.max(1.0), 0.5),
            // The centre of input i is at i + 1/2, as below.
            Sampling::TensorFlow1 => (1.0, 0.0),
        };
        (self.sampling, self.from) = (sampling, from);
        // Maximum number of pixel centres in an open interval of this length.
        self.taps = ((2.0 * support).ceil() as usize).min(from);
        self.first.clear();
        self.weights.clear();
        for o in 0..to {
            let centre = (o as f64 + shift) * scale + 0.5 - shift;
            let start = ((centre - support + 0.5).max(0.0) as usize).min(from - self.taps);
            let triangle = |i: usize| (1.0 - ((i as f64 + 0.5 - centre) / support).abs()).max(0.0);
            let total: f64 = (start..start + self.taps).map(triangle).sum();
            self.first.push(start);
            self.weights.extend((start..start + self.taps).map(|i| (triangle(i) / total) as f32));
        }
    }

    /// Returns the windows in the format of the device: for each output, the first input and the bits of the weights.
    fn words(&self) -> Vec<u32> {
        let of_one = |(first, weights): (usize, &[f32])| {
            std::iter::once(first as u32).chain(weights.iter().map(|weight| weight.to_bits())).collect::<Vec<_>>()
        };
        self.iter().flat_map(of_one).collect()
    }

    fn iter(&self) -> impl Iterator<Item = (usize, &[f32])> {
        self.first.iter().copied().zip(self.weights.chunks_exact(self.taps))
    }
}

struct Run<'a> {
    image: Pixels<'a>,
    width: usize,
    rows: &'a Windows,
    columns: &'a Windows,
    /// The weighted sum of the rows of a window.
    mixed: &'a mut [f32],
    out: &'a mut FeatureMap,
}

impl Kernel for Run<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { image, width, rows, columns, mixed, out } = self;
        let n = 3 * width;
        for (y, (first, weights)) in rows.iter().enumerate() {
            assert!((first + weights.len()) * n <= image.len() && n + L::N <= mixed.len());
            for x in (0..n).step_by(L::N) {
                let used = (n - x).min(L::N);
                let mut sum = L::splat(0.0);
                for (i, &weight) in weights.iter().enumerate() {
                    // SAFETY: the assert above bounds every address.
                    let row: L = unsafe { image.load((first + i) * n + x, used) };
                    sum = row.mul_add(L::splat(weight), sum);
                }
                // SAFETY: as above.
                unsafe { sum.store(mixed.as_mut_ptr().add(x)) }
            }
            let out = out.row_mut(y);
            match columns.taps {
                2 => across::<2>(mixed, columns, out),
                3 => across::<3>(mixed, columns, out),
                4 => across::<4>(mixed, columns, out),
                5 => across::<5>(mixed, columns, out),
                6 => across::<6>(mixed, columns, out),
                _ => across::<0>(mixed, columns, out),
            }
        }
    }
}

/// Computes one row of the output. TAPS is the number of taps, or 0 to use `columns.taps`.
#[inline(always)]
fn across<const TAPS: usize>(mixed: &[f32], columns: &Windows, out: &mut [f32]) {
    let taps = if TAPS == 0 { columns.taps } else { TAPS };
    let weights = columns.weights.chunks_exact(taps);
    for ((out, &first), weights) in out.as_chunks_mut::<3>().0.iter_mut().zip(&columns.first).zip(weights) {
        // Three colours and the next pixel's red: four lanes are faster than three.
        let mut sum = [0.0; 4];
        let pixels = &mixed[3 * first..][..3 * taps + 1];
        for (i, weight) in weights.iter().enumerate() {
            for (sum, x) in sum.iter_mut().zip(&pixels[3 * i..3 * i + 4]) {
                *sum += weight * x;
            }
        }
        *out = [sum[0], sum[1], sum[2]];
    }
}
