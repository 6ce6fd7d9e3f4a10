//! The transforms of F(4x4, 3x3), a Winograd algorithm of Lavin and Gray 2016, "Fast algorithms for convolutional neural
//! networks".
//!
//! A tile of 4x4 outputs of a 3x3 convolution is `A^T [(G g G^T) * (B^T d B)] A`, where `g` are weights and `d` inputs. This
//! takes 36 products for each pair of channels; the definition of a convolution takes 144.
//!
//! The other common size, F(2x2, 3x3), has smaller errors but needs 1.8 times as many products as F(4x4, 3x3). With the points
//! below, the error of F(4x4, 3x3) is about twice the error of PyTorch's float32 convolution: 0.8e-6 for 64 channels, and
//! 2.3e-6 for 512. These errors are measured against float64, relative to the standard deviation of the outputs.
use super::Lanes;

/// Side of an output tile.
pub(crate) const OUT: usize = 4;
/// Side of an input tile.
pub(crate) const IN: usize = OUT + 2;
/// Number of elements of a transformed tile.
pub(crate) const PLACES: usize = IN * IN;
/// Interpolation points of the transforms, followed by their squares. The points 1 and 2 of the paper would give four times the
/// error.
const A: f32 = 0.625;
const B: f32 = 1.5;
const A2: f32 = A * A;
const B2: f32 = B * B;

/// Returns the largest possible absolute value of element (`row`, `column`) of `B^T d B`, for inputs between `low` and `high`.
pub(crate) fn largest_input(row: usize, column: usize, low: f32, high: f32) -> f32 {
    // For each row of `B^T`, the sum of its positive elements and the sum of the absolute values of its negative ones.
    const SIGNS: [[f32; 2]; IN] = [
        [A2 * B2 + 1.0, A2 + B2],
        [1.0 + A, B2 + A * B2],
        [1.0 + A * B2, B2 + A],
        [1.0 + B, A2 + B * A2],
        [1.0 + B * A2, A2 + B],
        [A2 * B2 + 1.0, A2 + B2],
    ];
    let [[a, b], [c, d]] = [SIGNS[row], SIGNS[column]];
    let (positive, negative) = (a * c + b * d, a * d + b * c);
    (positive * high - negative * low).max(negative * high - positive * low)
}

/// Multiplies three weights by `G`, for the points 0, A, -A, B, -B and infinity.
#[inline(always)]
pub(crate) fn of_weights<L: Lanes>([a, b, c]: [L; 3]) -> [L; IN] {
    let zero = L::splat(0.0);
    let even = |by: f32, square: f32| a.mul_add(L::splat(by), c.mul_add(L::splat(by * square), zero));
    let (by, by_two) = (0.5 / (A2 * (A2 - B2)), 0.5 / (B2 * (B2 - A2)));
    let (one, two) = (even(by, A2), even(by_two, B2));
    [
        a.mul_add(L::splat(1.0 / (A2 * B2)), zero),
        b.mul_add(L::splat(A * by), one),
        b.mul_add(L::splat(-A * by), one),
        b.mul_add(L::splat(B * by_two), two),
        b.mul_add(L::splat(-B * by_two), two),
        c,
    ]
}

/// Multiplies six inputs by `B^T`.
#[inline(always)]
pub(crate) fn of_inputs<L: Lanes>([a, b, c, d, e, f]: [L; IN]) -> [L; IN] {
    let (product, sum) = (L::splat(A2 * B2), L::splat(-A2 - B2));
    let (less_a, less_b) = (L::splat(-A2), L::splat(-B2));
    let (even, odd) = (c.mul_add(less_b, e), b.mul_add(less_b, d));
    let (even_two, odd_two) = (c.mul_add(less_a, e), b.mul_add(less_a, d));
    [
        a.mul_add(product, c.mul_add(sum, e)),
        odd.mul_add(L::splat(A), even),
        odd.mul_add(L::splat(-A), even),
        odd_two.mul_add(L::splat(B), even_two),
        odd_two.mul_add(L::splat(-B), even_two),
        b.mul_add(product, d.mul_add(sum, f)),
    ]
}

/// Multiplies six sums by `A^T`.
#[inline(always)]
pub(crate) fn of_sums<L: Lanes>([a, b, c, d, e, f]: [L; IN]) -> [L; OUT] {
    let (zero, one, minus) = (L::splat(0.0), L::splat(1.0), L::splat(-1.0));
    let (even, odd) = (b.mul_add(one, c), c.mul_add(minus, b));
    let (even_two, odd_two) = (d.mul_add(one, e), e.mul_add(minus, d));
    let both = |x: L, by: f32, y: L, by_two: f32, z: L| x.mul_add(L::splat(by), y.mul_add(L::splat(by_two), z));
    [
        both(even, 1.0, even_two, 1.0, a),
        both(odd, A, odd_two, B, zero),
        both(even, A2, even_two, B2, zero),
        both(odd, A * A2, odd_two, B * B2, f),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::isa::{Isa, Kernel, MOST_LANES};

    /// `B^T`, column by column.
    struct Columns;

    impl Kernel for Columns {
        type Output = [[f32; IN]; IN];

        #[inline(always)]
        fn run<L: Lanes>(self) -> Self::Output {
            let column = |of: usize| of_inputs(std::array::from_fn(|i| L::splat(if i == of { 1.0 } else { 0.0 })));
            std::array::from_fn(|of| {
                column(of).map(|x| {
                    let mut lanes = [0.0; MOST_LANES];
                    // SAFETY: no vector has more lanes.
                    #[allow(unsafe_code)]
                    unsafe {
                        x.store(lanes.as_mut_ptr());
                    }
                    lanes[0]
                })
            })
        }
    }

    #[test]
    fn no_input_is_transformed_beyond_the_largest() {
        let columns = Isa::Portable.dispatch(Columns);
        for (row, column) in (0..PLACES).map(|place| (place / IN, place % IN)) {
            for (low, high) in [(0.0, 1.0), (-1.0, 0.0), (-0.7, 2.0)] {
                let products = (0..PLACES).map(|at| columns[at / IN][row] * columns[at % IN][column]);
                let ends = products.map(|x| [(x * low).max(x * high), (x * low).min(x * high)]);
                let [most, least] = ends.fold([0.0, 0.0], |[a, b], [most, least]| [a + most, b + least]);
                let (largest, bound) = (most.max(-least), largest_input(row, column, low, high));
                assert!((largest - bound).abs() < 1e-5 * bound, "({row}, {column}): {largest}, not {bound}");
            }
        }
    }
}
