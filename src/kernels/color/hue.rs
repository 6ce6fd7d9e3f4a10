//! A turn of the hue: red, green and blue to hue, saturation and value in bytes, and back.
//!
//! Where Pillow computes in double precision, so does this.
use crate::kernels::isa::{Kernel, Lanes};

pub(super) struct Turn<'a> {
    /// For each byte of the hue: which of six parts of the circle the turned hue lies in, and how far.
    turned: [(u8, f32); 256],
    colors: [&'a mut [u8]; 3],
}

impl<'a> Turn<'a> {
    pub(super) fn new(steps: u8, colors: [&'a mut [u8]; 3]) -> Self {
        let turned = std::array::from_fn(|hue| {
            let sixths = f64::from(f32::from((hue as u8).wrapping_add(steps))) * 6.0 / 255.0;
            let part = sixths.floor();
            ((part as u8) % 6, (sixths - part) as f32)
        });
        Self { turned, colors }
    }
}

impl Kernel for Turn<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        const N: usize = 64;
        let [red, green, blue] = self.colors;
        let (mut hue, mut saturation) = ([0; N], [0; N]);
        let colors = red.chunks_mut(N).zip(green.chunks_mut(N)).zip(blue.chunks_mut(N));
        for ((red, green), blue) in colors {
            for (i, ((&r, &g), &b)) in red.iter().zip(green.iter()).zip(blue.iter()).enumerate() {
                (hue[i], saturation[i]) = hue_and_saturation(r, g, b);
            }
            for (i, ((r, g), b)) in red.iter_mut().zip(green).zip(blue).enumerate() {
                let value = (*r).max(*g).max(*b);
                let (part, rest) = self.turned[usize::from(hue[i])];
                (*r, *g, *b) = color(part, rest, saturation[i], value);
            }
        }
    }
}

#[inline(always)]
fn hue_and_saturation(r: u8, g: u8, b: u8) -> (u8, u8) {
    let (most, least) = (r.max(g).max(b), r.min(g).min(b));
    let range = f32::from(most - least).max(1.0);
    let saturation = f32::from(most - least) / f32::from(most).max(1.0);
    let [red, green, blue] = [r, g, b].map(|x| f32::from(most - x) / range);
    let sixths = match most {
        _ if r == most => blue - green,
        _ if g == most => (2.0 + f64::from(red) - f64::from(blue)) as f32,
        _ => (4.0 + f64::from(green) - f64::from(red)) as f32,
    };
    let turn = f64::from(sixths) / 6.0 + 1.0;
    let hue = (if turn >= 1.0 { turn - 1.0 } else { turn }) as f32;
    let gray = most == least;
    (if gray { 0 } else { (f64::from(hue) * 255.0) as u8 }, (f64::from(saturation) * 255.0) as u8)
}

#[inline(always)]
fn color(part: u8, rest: f32, saturation: u8, value: u8) -> (u8, u8, u8) {
    let (v, s) = (f64::from(value), f32::from(saturation) / 255.0);
    let p = rounded(v * (1.0 - f64::from(s)));
    let q = rounded(v * (1.0 - f64::from(s * rest)));
    let t = rounded(v * (1.0 - f64::from(s) * (1.0 - f64::from(rest))));
    match part {
        0 => (value, t, p),
        1 => (q, value, p),
        2 => (p, value, t),
        3 => (p, q, value),
        4 => (t, p, value),
        _ => (value, p, q),
    }
}

/// To the nearest byte, halves up.
#[inline(always)]
fn rounded(x: f64) -> u8 {
    (x + 0.5) as u8
}
