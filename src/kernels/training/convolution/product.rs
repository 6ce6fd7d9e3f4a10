//! The product of small matrices, `c[m, n] (+)= sum over k of a[m, k] b[k, n]`. A tile of c stays in vector registers.
#![allow(unsafe_code)]
use super::{Isa, Kernel, Lanes};
use crate::kernels::isa::{Left, Right, add_products};

/// Number of rows of a tile.
pub(super) const ROWS: usize = 6;

/// A matrix whose element (i, j) is at index `i * row + j * step`.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    pub(super) numbers: &'a [f32],
    pub(super) row: usize,
    pub(super) step: usize,
}

impl Matrix<'_> {
    /// The transposed matrix.
    pub(super) fn transposed(self) -> Self {
        Self { row: self.step, step: self.row, ..self }
    }
}

/// Computes a matrix product. The product is written to `c`, or added to `c` if `add` is set; the rows of `c` are `c_row`
/// values apart. `size` is (m, k, n). Rows of `b` are contiguous, and padded to whole vector registers.
///
/// # Panics
/// If a matrix is too short for the size, or n is larger than the width of a tile.
pub(super) fn product(
    isa: Isa,
    size: (usize, usize, usize),
    a: Matrix,
    b: Matrix,
    add: bool,
    c: &mut [f32],
    c_row: usize,
) {
    isa.dispatch(Product { size, a, b, add, c, c_row });
}

struct Product<'a> {
    size: (usize, usize, usize),
    a: Matrix<'a>,
    b: Matrix<'a>,
    add: bool,
    c: &'a mut [f32],
    c_row: usize,
}

impl Kernel for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        match self.size.2.div_ceil(L::N) {
            0 => {}
            1 => self.columns::<L, 1>(),
            2 => self.columns::<L, 2>(),
            3 if L::MANY_REGISTERS => self.columns::<L, 3>(),
            4 if L::MANY_REGISTERS => self.columns::<L, 4>(),
            vectors => panic!("a tile of {vectors} vectors"),
        }
    }
}

impl Product<'_> {
    #[inline(always)]
    fn columns<L: Lanes, const V: usize>(mut self) {
        let (m, k, n) = self.size;
        if m == 0 || k == 0 {
            return;
        }
        let Self { a, b, .. } = self;
        assert!((m - 1) * a.row + (k - 1) * a.step < a.numbers.len());
        assert!((k - 1) * b.row + V * L::N <= b.numbers.len());
        assert!((m - 1) * self.c_row + n <= self.c.len());
        let whole = m / ROWS * ROWS;
        for first in (0..whole).step_by(ROWS) {
            self.tile::<L, ROWS, V>(first);
        }
        match m - whole {
            0 => {}
            1 => self.tile::<L, 1, V>(whole),
            2 => self.tile::<L, 2, V>(whole),
            3 => self.tile::<L, 3, V>(whole),
            4 => self.tile::<L, 4, V>(whole),
            _ => self.tile::<L, 5, V>(whole),
        }
    }

    #[inline(always)]
    fn tile<L: Lanes, const M: usize, const V: usize>(&mut self, first: usize) {
        let (_, k, n) = self.size;
        let Self { a, b, c_row, .. } = *self;
        let mut sums = [[L::splat(0.0); V]; M];
        // SAFETY: `columns` has checked that m, k and n are in bounds; lanes of c beyond n are not accessed.
        unsafe {
            let c = self.c.as_mut_ptr().add(first * c_row);
            if self.add {
                for (m, sums) in sums.iter_mut().enumerate() {
                    for (v, sum) in sums.iter_mut().enumerate() {
                        *sum = L::load_some(c.add(m * c_row).wrapping_add(v * L::N), 0..lanes::<L>(n, v));
                    }
                }
            }
            let left = Left { from: a.numbers.as_ptr().add(first * a.row), row: a.row, step: a.step };
            add_products(&mut sums, left, Right { from: b.numbers.as_ptr(), row: b.row }, k);
            for (m, sums) in sums.into_iter().enumerate() {
                for (v, sum) in sums.into_iter().enumerate() {
                    sum.store_some(c.add(m * c_row).wrapping_add(v * L::N), 0..lanes::<L>(n, v));
                }
            }
        }
    }
}

/// Number of lanes of vector register `v` that belong to the first `n` values.
#[inline(always)]
fn lanes<L: Lanes>(n: usize, v: usize) -> usize {
    n.saturating_sub(v * L::N).min(L::N)
}
