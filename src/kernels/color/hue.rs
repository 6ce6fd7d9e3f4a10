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
        let [red, green, blue] = self.colors;
        let (red, last_red) = red.as_chunks_mut();
        let (green, last_green) = green.as_chunks_mut();
        let (blue, last_blue) = blue.as_chunks_mut();
        for ((red, green), blue) in red.iter_mut().zip(green).zip(blue) {
            turn(&self.turned, [red, green, blue]);
        }
        let rest = last_red.len();
        let mut colors = [[0; N]; 3];
        let lasts = [last_red, last_green, last_blue];
        for (color, last) in colors.iter_mut().zip(&lasts) {
            color[..rest].copy_from_slice(last);
        }
        turn(&self.turned, colors.each_mut());
        for (color, last) in colors.iter().zip(lasts) {
            last.copy_from_slice(&color[..rest]);
        }
    }
}

/// Pixels at a time: each step goes over all of them, so that it becomes vectors.
const N: usize = 64;

#[inline(always)]
fn turn(turned: &[(u8, f32); 256], [red, green, blue]: [&mut [u8; N]; 3]) {
    let (mut hue, mut saturation, mut value) = ([0; N], [0; N], [0; N]);
    for i in 0..N {
        value[i] = red[i].max(green[i]).max(blue[i]);
        (hue[i], saturation[i]) = hue_and_saturation(red[i], green[i], blue[i]);
    }
    let (mut part, mut rest) = ([0; N], [0.0; N]);
    for i in 0..N {
        (part[i], rest[i]) = turned[usize::from(hue[i])];
    }
    let (mut p, mut q, mut t) = ([0; N], [0; N], [0; N]);
    for i in 0..N {
        let (v, s) = (f64::from(value[i]), f32::from(saturation[i]) / 255.0);
        p[i] = rounded(v * (1.0 - f64::from(s)));
        q[i] = rounded(v * (1.0 - f64::from(s * rest[i])));
        t[i] = rounded(v * (1.0 - f64::from(s) * (1.0 - f64::from(rest[i]))));
    }
    for i in 0..N {
        let (v, p, q, t) = (value[i], p[i], q[i], t[i]);
        // One of six parts of the circle; `|` and not `||`, as bytes are compared without a branch.
        let is = |one: u8, other: u8| (part[i] == one) | (part[i] == other);
        let pick = |of_v: bool, of_p: bool, of_q: u8| {
            let rest = if part[i] == of_q { q } else { t };
            let rest = if of_p { p } else { rest };
            if of_v { v } else { rest }
        };
        red[i] = pick(is(0, 5), is(2, 3), 1);
        green[i] = pick(is(1, 2), is(4, 5), 3);
        blue[i] = pick(is(3, 4), is(0, 1), 5);
    }
}

#[inline(always)]
fn hue_and_saturation(r: u8, g: u8, b: u8) -> (u8, u8) {
    let (most, least) = (r.max(g).max(b), r.min(g).min(b));
    let range = f32::from(most - least).max(1.0);
    let saturation = f32::from(most - least) / f32::from(most).max(1.0);
    let [red, green, blue] = [r, g, b].map(|x| f32::from(most - x) / range);
    let of_green = (2.0 + f64::from(red) - f64::from(blue)) as f32;
    let of_blue = (4.0 + f64::from(green) - f64::from(red)) as f32;
    let sixths = if g == most { of_green } else { of_blue };
    let sixths = if r == most { blue - green } else { sixths };
    let turn = f64::from(sixths) / 6.0 + 1.0;
    let hue = (if turn >= 1.0 { turn - 1.0 } else { turn }) as f32;
    let gray = most == least;
    (if gray { 0 } else { truncated(f64::from(hue) * 255.0) }, truncated(f64::from(saturation) * 255.0))
}

/// A number in [0, 256) without its fraction.
#[inline(always)]
fn truncated(x: f64) -> u8 {
    // SAFETY: a byte's range. (A checked conversion takes three times as long.)
    unsafe { x.to_int_unchecked::<i32>() as u8 }
}

/// To the nearest byte, halves up.
#[inline(always)]
fn rounded(x: f64) -> u8 {
    truncated(x + 0.5)
}
