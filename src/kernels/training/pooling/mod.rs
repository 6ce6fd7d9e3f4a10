//! Pooling of an NHWC batch, and its gradients. There is max pooling of windows, as in a ResNet's stem, and global average
//! pooling.
use crate::kernels::isa::{Isa, Kernel, Lanes};
use crate::kernels::threads::pool::each;

/// Shape of a max pooling operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Rows and columns of the input.
    pub size: (usize, usize),
    /// Channels.
    pub channels: usize,
    /// Side of the window, from 1 to 15.
    pub kernel: usize,
    /// Stride between windows, at least 1.
    pub stride: usize,
    /// Padding on each side of the input, at most half of the window. Padding is never the maximum.
    pub padding: usize,
}

impl Window {
    /// Rows and columns of the output.
    ///
    /// # Panics
    /// If a field is out of its range, the input is empty, or the window is larger than the padded input.
    pub fn output_size(&self) -> (usize, usize) {
        let size = |n: usize| {
            let Self { kernel, stride, padding, .. } = *self;
            let fits = (1..=15).contains(&kernel) && padding <= kernel / 2 && kernel <= n + 2 * padding && stride > 0;
            assert!(fits && n > 0, "{self:?}");
            (n + 2 * padding - kernel) / stride + 1
        };
        (size(self.size.0), size(self.size.1))
    }

    fn lens(&self) -> (usize, usize) {
        let (rows, columns) = self.output_size();
        (self.size.0 * self.size.1 * self.channels, rows * columns * self.channels)
    }

    /// Iterates over the taps of the window of output (y, x). Yields the index of each tap, and the index of the input pixel
    /// under the tap.
    #[inline(always)]
    fn taps(&self, y: usize, x: usize) -> impl Iterator<Item = (u8, usize)> {
        let Self { size: (height, width), kernel, stride, padding, .. } = *self;
        let under =
            move |at: usize, tap: usize, n: usize| (at * stride + tap).checked_sub(padding).filter(|&at| at < n);
        (0..kernel * kernel).filter_map(move |tap| {
            let at = under(y, tap / kernel, height).zip(under(x, tap % kernel, width));
            at.map(|(row, column)| (tap as u8, row * width + column))
        })
    }
}

/// Computes max pooling. Writes the maximum of each window to `out`, and the index of its tap in the window to `which`. NaN
/// counts as the largest value. Among equal values, the first is chosen; among several NaN, the last.
///
/// # Panics
/// If a length does not match.
pub fn max_pool(isa: Isa, threads: usize, window: &Window, input: &[f32], out: &mut [f32], which: &mut [u8]) {
    let (from, to) = window.lens();
    assert!(input.len().is_multiple_of(from) && out.len() == input.len() / from * to && which.len() == out.len());
    let images = input.chunks_exact(from).zip(out.chunks_exact_mut(to).zip(which.chunks_exact_mut(to)));
    each(threads, images, |(input, (out, which))| isa.dispatch(Max { window, input, out, which }));
}

/// Computes the gradient of max pooling: the gradient of the input, `dinput`, from the gradient of the output and the indices
/// `which`.
///
/// # Panics
/// If a length does not match.
pub fn max_pool_gradient(isa: Isa, threads: usize, window: &Window, which: &[u8], dout: &[f32], dinput: &mut [f32]) {
    let (from, to) = window.lens();
    assert!(dinput.len().is_multiple_of(from) && dout.len() == dinput.len() / from * to && which.len() == dout.len());
    let images = dinput.chunks_exact_mut(from).zip(dout.chunks_exact(to).zip(which.chunks_exact(to)));
    each(threads, images, |(dinput, (dout, which))| isa.dispatch(MaxBack { window, dinput, dout, which }));
}

/// Computes global average pooling: the mean of each channel of each image, from `[n][pixels][channels]` to `[n][channels]`.
///
/// # Panics
/// If a length does not match.
pub fn average_pool(isa: Isa, threads: usize, (pixels, channels): (usize, usize), input: &[f32], out: &mut [f32]) {
    assert!(pixels * channels > 0 && input.len() == out.len() * pixels && out.len().is_multiple_of(channels));
    let images = input.chunks_exact(pixels * channels).zip(out.chunks_exact_mut(channels));
    each(threads, images, |(input, out)| isa.dispatch(Mean { input, out, by: 1.0 / pixels as f32 }));
}

/// Computes the gradient of global average pooling: the gradient of the input, `dinput`, from the gradient of the output.
///
/// # Panics
/// If a length does not match.
pub fn average_pool_gradient(threads: usize, (pixels, channels): (usize, usize), dout: &[f32], dinput: &mut [f32]) {
    assert!(pixels * channels > 0 && dinput.len() == dout.len() * pixels && dout.len().is_multiple_of(channels));
    let images = dinput.chunks_exact_mut(pixels * channels).zip(dout.chunks_exact(channels));
    let by = 1.0 / pixels as f32;
    each(threads, images, |(dinput, dout)| {
        let (first, rest) = dinput.split_at_mut(channels);
        first.iter_mut().zip(dout).for_each(|(to, x)| *to = x * by);
        rest.chunks_exact_mut(channels).for_each(|pixel| pixel.copy_from_slice(first));
    });
}

struct Max<'a> {
    window: &'a Window,
    input: &'a [f32],
    out: &'a mut [f32],
    which: &'a mut [u8],
}

impl Kernel for Max<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { window, input, out, which } = self;
        let (channels, (_, columns)) = (window.channels, window.output_size());
        let pixels = out.chunks_exact_mut(channels).zip(which.chunks_exact_mut(channels)).enumerate();
        for (n, (out, which)) in pixels {
            out.fill(f32::NEG_INFINITY);
            which.fill(u8::MAX);
            for (tap, pixel) in window.taps(n / columns, n % columns) {
                let pixel = &input[pixel * channels..][..channels];
                for ((out, which), &x) in out.iter_mut().zip(which.iter_mut()).zip(pixel) {
                    // A window of -inf has a maximum too.
                    let larger = x > *out || x.is_nan() || *which == u8::MAX;
                    (*out, *which) = if larger { (x, tap) } else { (*out, *which) };
                }
            }
        }
    }
}

struct MaxBack<'a> {
    window: &'a Window,
    dinput: &'a mut [f32],
    dout: &'a [f32],
    which: &'a [u8],
}

impl Kernel for MaxBack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { window, dinput, dout, which } = self;
        let (channels, (_, columns)) = (window.channels, window.output_size());
        dinput.fill(0.0);
        for (n, (dout, which)) in dout.chunks_exact(channels).zip(which.chunks_exact(channels)).enumerate() {
            for (tap, pixel) in window.taps(n / columns, n % columns) {
                let pixel = &mut dinput[pixel * channels..][..channels];
                for ((to, dout), which) in pixel.iter_mut().zip(dout).zip(which) {
                    *to += if *which == tap { *dout } else { 0.0 };
                }
            }
        }
    }
}

struct Mean<'a> {
    input: &'a [f32],
    out: &'a mut [f32],
    by: f32,
}

impl Kernel for Mean<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { input, out, by } = self;
        out.fill(0.0);
        for pixel in input.chunks_exact(out.len()) {
            out.iter_mut().zip(pixel).for_each(|(sum, x)| *sum += x);
        }
        out.iter_mut().for_each(|sum| *sum *= by);
    }
}
