//! Antialiased bilinear resize: Pillow's BILINEAR filter, torch's `interpolate(antialias=True)`, in float32.
//!
//! Output pixel `o` is the mean of the inputs around `(o + 1/2) n_in / n_out - 1/2` under a triangle whose half width is one
//! input pixel, or `n_in / n_out` of them when the image shrinks.
use super::{Isa, Map, Scratch, isa::Kernel, isa::Lanes};

/// Writes `input`, of three channels, resized, into the inside of `out`.
///
/// # Panics
/// If a map has not three channels.
pub fn resize(isa: Isa, input: &Map, out: &mut Map, scratch: &mut Scratch) {
    assert_eq!((input.channels(), out.channels()), (3, 3));
    if (input.height(), input.width()) == (out.height(), out.width()) {
        (0..out.height()).for_each(|y| out.row_mut(y).copy_from_slice(input.row(y)));
        return;
    }
    let Resizing { rows, columns, mixed } = &mut scratch.resizing;
    rows.fill(input.height(), out.height());
    columns.fill(input.width(), out.width());
    mixed.resize(3 * input.width() + 1, 0.0);
    isa.dispatch(Run { input, rows, columns, mixed, out });
}

/// What a resize needs beside its maps, kept for the next image of the same size.
#[derive(Debug, Default)]
pub(super) struct Resizing {
    rows: Windows,
    columns: Windows,
    mixed: Vec<f32>,
}

/// The inputs of each output pixel along one axis: `taps` of them from `first` on.
#[derive(Debug, Default)]
struct Windows {
    from: usize,
    first: Vec<usize>,
    taps: usize,
    /// `[outputs][taps]`.
    weights: Vec<f32>,
}

impl Windows {
    fn fill(&mut self, from: usize, to: usize) {
        if (self.from, self.first.len()) == (from, to) {
            return;
        }
        let scale = from as f64 / to as f64;
        let support = scale.max(1.0);
        self.from = from;
        self.taps = (2.0 * support).ceil() as usize + 1;
        self.taps = self.taps.min(from);
        self.first.clear();
        self.weights.clear();
        for o in 0..to {
            let centre = (o as f64 + 0.5) * scale;
            let start = ((centre - support + 0.5).max(0.0) as usize).min(from - self.taps);
            let triangle = |i: usize| (1.0 - ((i as f64 + 0.5 - centre) / support).abs()).max(0.0);
            let total: f64 = (start..start + self.taps).map(triangle).sum();
            self.first.push(start);
            self.weights.extend((start..start + self.taps).map(|i| (triangle(i) / total) as f32));
        }
    }

    fn iter(&self) -> impl Iterator<Item = (usize, &[f32])> {
        self.first.iter().copied().zip(self.weights.chunks_exact(self.taps))
    }
}

struct Run<'a> {
    input: &'a Map,
    rows: &'a Windows,
    columns: &'a Windows,
    /// One row of the input's width, and a float more.
    mixed: &'a mut [f32],
    out: &'a mut Map,
}

impl Kernel for Run<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        for (y, (first, weights)) in self.rows.iter().enumerate() {
            self.mixed.fill(0.0);
            for (i, weight) in weights.iter().enumerate() {
                self.mixed.iter_mut().zip(self.input.row(first + i)).for_each(|(out, x)| *out += weight * x);
            }
            for (out, (first, weights)) in self.out.row_mut(y).chunks_exact_mut(3).zip(self.columns.iter()) {
                // Three colours and the next pixel's red: four lanes are faster than three.
                let mut sum = [0.0; 4];
                let pixels = &self.mixed[3 * first..][..3 * weights.len() + 1];
                for (i, weight) in weights.iter().enumerate() {
                    for (sum, x) in sum.iter_mut().zip(&pixels[3 * i..3 * i + 4]) {
                        *sum += weight * x;
                    }
                }
                out.copy_from_slice(&sum[..3]);
            }
        }
    }
}
