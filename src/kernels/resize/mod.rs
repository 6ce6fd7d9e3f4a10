//! Antialiased bilinear resize: Pillow's BILINEAR filter, torch's `interpolate(antialias=True)`, in float32.
//!
//! Output pixel `o` is the mean of the inputs around `(o + 1/2) n_in / n_out - 1/2` under a triangle whose half width is one
//! input pixel, or `n_in / n_out` of them when the image shrinks.
use super::{Isa, Map, Scratch, isa::Kernel, isa::Lanes};

/// Writes `input`, resized, into the inside of `out`.
///
/// # Panics
/// If the maps differ in channels.
pub fn resize(isa: Isa, input: &Map, out: &mut Map, scratch: &mut Scratch) {
    assert_eq!(input.channels(), out.channels());
    if (input.height(), input.width()) == (out.height(), out.width()) {
        (0..out.height()).for_each(|y| out.row_mut(y).copy_from_slice(input.row(y)));
        return;
    }
    let mut rows = scratch.take(out.height(), input.width(), input.channels(), super::Pad::NONE);
    for (y, window) in windows(input.height(), out.height()).enumerate() {
        isa.dispatch(MixRows { input, window: &window, out: rows.row_mut(y) });
    }
    let (c, columns) = (input.channels(), Vec::from_iter(windows(input.width(), out.width())));
    for y in 0..out.height() {
        let (from, to) = (rows.row(y), out.row_mut(y));
        for (to, window) in to.chunks_exact_mut(c).zip(&columns) {
            to.fill(0.0);
            for (pixel, weight) in from[window.first * c..].chunks_exact(c).zip(&window.weights) {
                to.iter_mut().zip(pixel).for_each(|(to, x)| *to += weight * x);
            }
        }
    }
    scratch.put(rows);
}

/// The inputs of one output pixel along one axis.
struct Window {
    first: usize,
    weights: Vec<f32>,
}

fn windows(from: usize, to: usize) -> impl Iterator<Item = Window> {
    let scale = from as f64 / to as f64;
    let support = scale.max(1.0);
    (0..to).map(move |o| {
        let centre = (o as f64 + 0.5) * scale;
        let first = (centre - support + 0.5).max(0.0) as usize;
        let last = ((centre + support + 0.5) as usize).min(from);
        let triangle = |i: usize| (1.0 - ((i as f64 + 0.5 - centre) / support).abs()).max(0.0);
        let total: f64 = (first..last).map(triangle).sum();
        Window { first, weights: (first..last).map(|i| (triangle(i) / total) as f32).collect() }
    })
}

/// `out = sum of weight times row`, the rows of one window.
struct MixRows<'a> {
    input: &'a Map,
    window: &'a Window,
    out: &'a mut [f32],
}

impl Kernel for MixRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        self.out.fill(0.0);
        for (i, weight) in self.window.weights.iter().enumerate() {
            let row = self.input.row(self.window.first + i);
            self.out.iter_mut().zip(row).for_each(|(out, x)| *out += weight * x);
        }
    }
}
