//! Convolution of a batch and its two gradients, for training:
//! `out[n, y, x, o] = sum over taps and i of weight[o, ty, tx, i] * input[n, s y - p + ty, s x - p + tx, i]`, with zeros around
//! the input.
//!
//! Maps are NHWC, weights OHWI. The convolution and both gradients are matrix products over *patches*. A patch is a contiguous
//! copy of the inputs under one output position:
//!
//! ```text
//! out    [pixels, O] = patches [pixels, K] weight^T     K = taps x I
//! dW     [O, K]      = dout^T patches
//! dinput             = the gradient of the patches, dout weight, summed where patches overlap; for stride 1, a convolution of
//!                      dout with the reversed weights
//! ```
//!
//! 3x3 convolutions of stride 1 use `winograd.rs` where that is faster. Patches are built for a few hundred pixels and values
//! at a time, so that they stay in the L2 cache.
//!
//! [`crate::kernels::inference::convolution`] is for one image and prepared weights. It needs no patches, because its maps are
//! stored with padding.
mod layout;
mod patches;
mod product;
mod room;
mod scalar;
mod weights;
mod winograd;

use crate::kernels::isa::{Isa, Kernel, Lanes};
use crate::kernels::threads::pool;
use layout::Panels;
use patches::{Patches, pack, transposed};
use product::{Matrix, ROWS, product};
pub use weights::weight_gradient;

/// Shape of a convolution of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Number of images.
    pub batch: usize,
    /// Number of rows of the input.
    pub height: usize,
    /// Number of columns of the input.
    pub width: usize,
    /// Input channels.
    pub inputs: usize,
    /// Output channels.
    pub outputs: usize,
    /// Rows and columns of the kernel.
    pub kernel: (usize, usize),
    /// Stride, in both directions.
    pub stride: usize,
    /// Number of rows and columns of zeros on all four sides.
    pub padding: usize,
}

impl Shape {
    /// Creates the shape of a linear layer applied to `rows` vectors, which are treated as adjacent pixels.
    pub fn linear(rows: usize, inputs: usize, outputs: usize) -> Self {
        Self { batch: 1, height: 1, width: rows, inputs, outputs, kernel: (1, 1), stride: 1, padding: 0 }
    }

    /// Rows and columns of the output.
    ///
    /// # Panics
    /// If the kernel is larger than the padded input, or the stride is 0.
    pub fn output_size(&self) -> (usize, usize) {
        let size = |n: usize, kernel: usize| {
            let n = n + 2 * self.padding;
            assert!(kernel > 0 && kernel <= n && self.stride > 0, "{self:?}");
            (n - kernel) / self.stride + 1
        };
        (size(self.height, self.kernel.0), size(self.width, self.kernel.1))
    }

    /// Number of inputs under one output position.
    fn patch(&self) -> usize {
        self.kernel.0 * self.kernel.1 * self.inputs
    }

    /// Number of output pixels of one image.
    fn pixels(&self) -> usize {
        let (rows, columns) = self.output_size();
        rows * columns
    }

    /// Returns how many of `threads` threads are worth using: each thread should have at least 2^21 multiplications.
    pub fn useful_threads(&self, threads: usize) -> usize {
        const SHARE: usize = 1 << 21;
        let products = self.batch * self.pixels() * self.outputs * self.patch();
        threads.min((products / SHARE).max(1))
    }

    fn input_len(&self) -> usize {
        self.batch * self.height * self.width * self.inputs
    }

    fn output_len(&self) -> usize {
        self.batch * self.pixels() * self.outputs
    }

    /// Returns whether each patch is the single input pixel at its position.
    fn is_pointwise(&self) -> bool {
        self.kernel == (1, 1) && self.stride == 1 && self.padding == 0
    }

    /// Returns the shape of the convolution that computes the gradient of the input. Returns `None` unless the stride is 1, the
    /// kernel is square, and the padding is smaller than the kernel.
    fn turned(&self) -> Option<Self> {
        let (rows, columns) = self.output_size();
        let square = self.kernel.0 == self.kernel.1 && self.padding < self.kernel.0;
        (self.stride == 1 && square).then(|| Self {
            height: rows,
            width: columns,
            inputs: self.outputs,
            outputs: self.inputs,
            padding: self.kernel.0 - 1 - self.padding,
            ..*self
        })
    }
}

/// Number of pixels whose patches are built at once.
const PIXELS: usize = 192;
/// Number of values of a patch that are multiplied at once.
const DEPTH: usize = 576;
/// Like [`DEPTH`], for narrow panels. With this depth, sixteen columns and the rows of a tile stay in the L1 cache.
const SHALLOW: usize = 256;

/// Computes the convolution into `out`.
///
/// # Panics
/// If a length does not match the shape.
pub fn forward(isa: Isa, threads: usize, shape: &Shape, input: &[f32], weight: &[f32], out: &mut [f32]) {
    let threads = shape.useful_threads(threads);
    Weights::new(isa, threads, shape, weight).forward(threads, shape, input, out);
}

/// Weights packed once for several forward passes.
#[derive(Clone, Debug)]
pub struct Weights<'a> {
    isa: Isa,
    numbers: &'a [f32],
    packed: Vec<f32>,
}

impl<'a> Weights<'a> {
    /// Packs the weights of a convolution. The batch size and the size of the maps in `shape` do not matter.
    ///
    /// # Panics
    /// If the length of `weight` does not match.
    pub fn new(isa: Isa, threads: usize, shape: &Shape, weight: &'a [f32]) -> Self {
        assert_eq!(weight.len(), shape.outputs * shape.patch(), "weights of {shape:?}");
        let panels = Panels::new(isa, shape.patch(), shape.outputs);
        let packed = if isa == Isa::Scalar { vec![] } else { transposed(threads, weight, panels) };
        Self { isa, numbers: weight, packed }
    }

    /// Computes the convolution into `out`, on `threads` threads.
    ///
    /// # Panics
    /// If a length does not match the shape.
    pub fn forward(&self, threads: usize, shape: &Shape, input: &[f32], out: &mut [f32]) {
        check(shape, input.len(), self.numbers.len(), out.len());
        match self.isa {
            Isa::Scalar => scalar::forward(shape, input, self.numbers, out),
            isa => convolve(isa, threads, shape, input, &self.packed, out),
        }
    }
}

/// Computes the convolution with packed weights. They are [`Panels`] with a column for each output and K rows.
fn convolve(isa: Isa, threads: usize, shape: &Shape, input: &[f32], weight: &[f32], out: &mut [f32]) {
    if winograd::wins(shape) {
        return winograd::convolve(isa, threads, shape, input, weight, out);
    }
    let (k, o, width) = (shape.patch(), shape.outputs, panel(isa));
    let panels = Panels::new(isa, k, o);
    // Sums continue from one part of the depth to the next in the order of k, so that the length of the parts does not change
    // the result.
    let at_once = if isa.many_registers() { DEPTH } else { SHALLOW };
    // With few pixels, each thread gets an equal share.
    let most = PIXELS.min((shape.batch * shape.pixels()).div_ceil(threads).next_multiple_of(ROWS));
    pool::each_with(threads, out.chunks_mut(most * o).enumerate(), room::patches, |room, (block, out)| {
        let (first, pixels) = (block * most, out.len() / o);
        for from in (0..k).step_by(at_once) {
            let depth = at_once.min(k - from);
            let (rows, row) = if shape.is_pointwise() {
                (&input[first * k + from..], k)
            } else {
                let room = room.of(PIXELS * at_once);
                isa.dispatch(Patches { shape, input, first, pixels, from, depth, width: depth, out: room });
                (&room[..], depth)
            };
            for out_from in (0..o).step_by(width) {
                let columns = width.min(o - out_from);
                let a = Matrix { numbers: rows, row, step: 1 };
                let b = Matrix { numbers: &weight[panels.at(from, out_from)..], row: panels.row(out_from), step: 1 };
                product(isa, (pixels, depth, columns), a, b, from > 0, &mut out[out_from..], o);
            }
        }
    });
}

/// Computes the gradient of the input into `out`, from the gradient of the output.
///
/// # Panics
/// If a length does not match the shape.
pub fn input_gradient(isa: Isa, threads: usize, shape: &Shape, grad: &[f32], weight: &[f32], out: &mut [f32]) {
    check(shape, out.len(), weight.len(), grad.len());
    if isa == Isa::Scalar {
        return scalar::input_gradient(shape, grad, weight, out);
    }
    let threads = shape.useful_threads(threads);
    if let Some(turned) = shape.turned() {
        let panels = Panels::new(isa, turned.patch(), turned.outputs);
        let weight = patches::turned(threads, shape, weight, panels);
        return convolve(isa, threads, &turned, grad, &weight, out);
    }
    let (k, o, width) = (shape.patch(), shape.outputs, panel(isa));
    let panels = Panels::new(isa, o, k);
    let weight = pack(threads, weight, panels);
    let image = shape.height * shape.width * shape.inputs;
    let images = out.chunks_mut(image.max(1)).zip(grad.chunks(shape.pixels() * o));
    pool::each_with(threads, images, room::patches, |room, (out, grad)| {
        let room = room.of(PIXELS * DEPTH);
        out.fill(0.0);
        for (block, grad) in grad.chunks(PIXELS * o).enumerate() {
            let pixels = grad.len() / o;
            for from in (0..k).step_by(DEPTH) {
                let depth = DEPTH.min(k - from);
                for at in (from..from + depth).step_by(width) {
                    let columns = width.min(from + depth - at);
                    let a = Matrix { numbers: grad, row: o, step: 1 };
                    let b = Matrix { numbers: &weight[panels.at(0, at)..], row: panels.row(at), step: 1 };
                    product(isa, (pixels, o, columns), a, b, false, &mut room[at - from..], depth);
                }
                isa.dispatch(patches::Add { shape, first: block * PIXELS, pixels, from, depth, patches: room, out });
            }
        }
    });
}

/// Number of floats in a row of a panel: the width of a tile, a multiple of the width of a vector register.
fn panel(isa: Isa) -> usize {
    isa.lanes() * if isa.many_registers() { 4 } else { 2 }
}

fn check(shape: &Shape, input: usize, weight: usize, output: usize) {
    assert_eq!(input, shape.input_len(), "input of {shape:?}");
    assert_eq!(weight, shape.outputs * shape.patch(), "weights of {shape:?}");
    assert_eq!(output, shape.output_len(), "output of {shape:?}");
}
