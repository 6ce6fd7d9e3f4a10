//! Patches, and weights in the layouts that [`super::product`] reads. A patch is a contiguous copy of the inputs under one
//! output position.
#![allow(unsafe_code)]
use super::layout::{Nhwc, Panels, PatchPanels};
use super::{Kernel, Lanes, Shape};
use std::ops::Range;

/// Builds a part of the patches of some pixels: values `from..from + depth` of each patch. The pixels are
/// `first..first + pixels`, and the output is [`PatchPanels`] of `width` values.
pub(super) struct Patches<'a> {
    pub(super) shape: &'a Shape,
    pub(super) input: &'a [f32],
    pub(super) first: usize,
    pub(super) pixels: usize,
    pub(super) from: usize,
    pub(super) depth: usize,
    pub(super) width: usize,
    pub(super) out: &'a mut [f32],
}

impl Kernel for Patches<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { shape, input, first, pixels, from, depth, width, out } = self;
        assert!(pixels * depth.next_multiple_of(width) <= out.len());
        let panels = PatchPanels { pixels, width };
        for segment in segments(shape, first, pixels) {
            for line in lines(shape, from, depth, width) {
                let Range { start, end } = line.part;
                let at = panels.at(0, line.at);
                let row = segment.source(shape, &line);
                // Most patches are inside the map: those are copied without checking each.
                let whole = row.map_or(0..0, |_| segment.whole(shape, &line));
                if let Some(row) = row.filter(|_| !whole.is_empty()) {
                    let column = segment.column + (whole.start * shape.stride) as isize;
                    let from = (row + column * shape.inputs as isize + start as isize) as usize;
                    let to = &mut out[at + (segment.pixels.start + whole.start) * width..];
                    copy::<L>((whole.len(), end - start), &input[from..], shape.stride * shape.inputs, to, width);
                }
                for (n, (pixel, column)) in segment.pixels(shape).enumerate() {
                    if whole.contains(&n) {
                        continue;
                    }
                    let inner = line.inner(shape, row.is_some(), column);
                    let out = &mut out[at + pixel * width..][..end - start];
                    out.fill(0.0);
                    if let Some(row) = row.filter(|_| !inner.is_empty()) {
                        let from = (row + column * shape.inputs as isize + inner.start as isize) as usize;
                        let to = &mut out[inner.start - start..inner.end - start];
                        to.copy_from_slice(&input[from..from + inner.len()]);
                    }
                }
            }
        }
    }
}

/// Adds the gradient of patches, `[pixels][depth]`, to the gradient of the image under the patches.
pub(super) struct Add<'a> {
    pub(super) shape: &'a Shape,
    pub(super) first: usize,
    pub(super) pixels: usize,
    pub(super) from: usize,
    pub(super) depth: usize,
    pub(super) patches: &'a [f32],
    pub(super) out: &'a mut [f32],
}

impl Kernel for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { shape, first, pixels, from, depth, patches, out } = self;
        for segment in segments(shape, first, pixels) {
            for line in lines(shape, from, depth, depth) {
                let Some(row) = segment.source(shape, &line) else { continue };
                for (pixel, column) in segment.pixels(shape) {
                    let inner = line.inner(shape, true, column);
                    if inner.is_empty() {
                        continue;
                    }
                    let start = (row + column * shape.inputs as isize + inner.start as isize) as usize;
                    let patch = &patches[pixel * depth + line.at + inner.start - line.part.start..][..inner.len()];
                    out[start..start + inner.len()].iter_mut().zip(patch).for_each(|(out, x)| *out += x);
                }
            }
        }
    }
}

/// Some adjacent output pixels of one row. The patch of the first pixel starts at (`row`, `column`) of the input, a position
/// that may be in the padding.
struct Segment {
    image: usize,
    row: isize,
    column: isize,
    pixels: Range<usize>,
}

impl Segment {
    /// Iterates over the pixels. Yields the index of each pixel, and the column where its patch starts.
    #[inline(always)]
    fn pixels(&self, shape: &Shape) -> impl Iterator<Item = (usize, isize)> {
        let (column, stride) = (self.column, shape.stride);
        self.pixels.clone().enumerate().map(move |(n, pixel)| (pixel, column + (n * stride) as isize))
    }

    /// The range of pixels for which no value of the line is in the left or right padding. Pixels are counted from the first
    /// pixel of the segment.
    #[inline(always)]
    fn whole(&self, shape: &Shape, line: &Line) -> Range<usize> {
        // The first and the last column where a patch may start.
        let first = -((line.part.start / shape.inputs) as isize);
        let last = shape.width as isize - line.part.end.div_ceil(shape.inputs) as isize;
        let n = |columns: isize| (columns.max(0) as usize).div_ceil(shape.stride).min(self.pixels.len());
        let start = n(first - self.column);
        start..n(last + 1 - self.column).max(start)
    }

    /// Offset of the input row that is under a line of taps; `None` if the row is padding.
    #[inline(always)]
    fn source(&self, shape: &Shape, line: &Line) -> Option<isize> {
        let row = self.row + line.tap as isize;
        let inside = (0..shape.height as isize).contains(&row);
        let rows = (self.image * shape.height) as isize + row;
        inside.then(|| rows * (shape.width * shape.inputs) as isize)
    }
}

/// Divides the output pixels `first..first + pixels` into segments, row by row.
#[inline(always)]
fn segments(shape: &Shape, first: usize, pixels: usize) -> impl Iterator<Item = Segment> {
    let (rows, columns) = shape.output_size();
    let begin = |at: usize| (at * shape.stride) as isize - shape.padding as isize;
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = first + done;
        let (x, y, image) = (at % columns, at / columns % rows, at / columns / rows);
        let n = (columns - x).min(pixels - done);
        let segment = Segment { image, row: begin(y), column: begin(x), pixels: done..done + n };
        done += n;
        (n > 0).then_some(segment)
    })
}

/// Values of a patch in a single row of taps: the range `part` of row `tap`. In the processed part of the patch, they start at
/// index `at`.
struct Line {
    tap: usize,
    part: Range<usize>,
    at: usize,
}

impl Line {
    /// The part of the line that is not padding, for a patch that starts at this column. `inside` is false if the whole row is
    /// padding; the part is then empty.
    #[inline(always)]
    fn inner(&self, shape: &Shape, inside: bool, column: isize) -> Range<usize> {
        let Range { start, end } = self.part;
        if !inside {
            return end..end;
        }
        let taps = |n: isize| n.clamp(0, shape.kernel.1 as isize) as usize * shape.inputs;
        let left = taps(-column).clamp(start, end);
        left..taps(shape.width as isize - column).clamp(left, end)
    }
}

/// Splits values `from..from + depth` of a patch into lines. Lines are also split at the ends of panels of `width` values.
#[inline(always)]
fn lines(shape: &Shape, from: usize, depth: usize, width: usize) -> impl Iterator<Item = Line> {
    let line = shape.kernel.1 * shape.inputs;
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = (from + at) % line;
        let n = (line - start).min(width - at % width).min(depth - at);
        let part = Line { tap: (from + at) / line, part: start..start + n, at };
        at += n;
        (n > 0).then_some(part)
    })
}

/// Copies `rows` rows of `n` values.
#[inline(always)]
fn copy<L: Lanes>((rows, n): (usize, usize), from: &[f32], from_row: usize, to: &mut [f32], to_row: usize) {
    assert!(rows > 0 && (rows - 1) * from_row + n <= from.len() && (rows - 1) * to_row + n <= to.len());
    let whole = n / L::N * L::N;
    for row in 0..rows {
        // SAFETY: all rows are in bounds, as checked above, and lanes beyond n are not accessed.
        unsafe {
            let (from, to) = (from.as_ptr().add(row * from_row), to.as_mut_ptr().add(row * to_row));
            for at in (0..whole).step_by(L::N) {
                L::load(from.add(at)).store(to.add(at));
            }
            if whole < n {
                L::load_some(from.add(whole), 0..n - whole).store_some(to.add(whole), 0..n - whole);
            }
        }
    }
}

/// Packs `[outputs][k]` as panels of its columns.
pub(super) fn pack(threads: usize, weight: &[f32], panels: Panels) -> Vec<f32> {
    let k = panels.columns();
    panels.packed(threads, |columns, filled, panel| {
        for (row, weight) in panel.chunks_exact_mut(filled).zip(weight.chunks_exact(k)) {
            row[..columns.len()].copy_from_slice(&weight[columns.clone()]);
        }
    })
}

/// Packs the transpose of `[outputs][k]` as panels of its columns, which are the rows of `[outputs][k]`.
pub(super) fn transposed(threads: usize, weight: &[f32], panels: Panels) -> Vec<f32> {
    /// Number of values of a row that are moved at once: a cache line.
    const LINE: usize = 16;
    let k = panels.depth();
    panels.packed(threads, |columns, filled, panel| {
        for from in (0..k).step_by(LINE) {
            let lines = LINE.min(k - from);
            for (n, column) in columns.clone().enumerate() {
                let line = &weight[column * k + from..][..lines];
                for (i, &x) in line.iter().enumerate() {
                    panel[(from + i) * filled + n] = x;
                }
            }
        }
    })
}

/// Packs weights for the gradient of the input, with reversed taps, and with inputs and outputs swapped. The panels have a
/// column for each input, and a row for each pair of a tap and an output.
pub(super) fn turned(threads: usize, shape: &Shape, weight: &[f32], panels: Panels) -> Vec<f32> {
    let (taps, outputs) = (shape.kernel.0 * shape.kernel.1, shape.outputs);
    let from = Nhwc { height: 1, width: taps, channels: shape.inputs };
    panels.packed(threads, |columns, filled, panel| {
        for (k, row) in panel.chunks_exact_mut(filled).enumerate() {
            let at = from.at(k % outputs, 0, taps - 1 - k / outputs, columns.start);
            row[..columns.len()].copy_from_slice(&weight[at..][..columns.len()]);
        }
    })
}
