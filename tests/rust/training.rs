//! The other training kernels, batch norm and pooling: every path against their definitions in float64.
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sassl::kernels::isa::Isa;
use sassl::kernels::training::batch_norm::{Moments, backward};
use sassl::kernels::training::pooling::{Window, average_pool, average_pool_gradient, max_pool, max_pool_gradient};

const EPSILON: f32 = 1e-5;

fn numbers(generator: &mut ChaCha8Rng, n: usize) -> Vec<f32> {
    (0..n).map(|_| generator.random_range(-1.0..1.0)).collect()
}

fn assert_near(got: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        let off = (f64::from(*got) - expected).abs();
        assert!(off <= tolerance * (1.0 + expected.abs()), "{what}[{i}]: {got}, not {expected}");
    }
}

/// The loss is the sum of `y * dy` for a given `dy`, which is therefore the gradient of y; the other gradients are compared
/// with finite differences.
#[test]
fn batch_norm_is_its_formula_and_its_gradients_are_its_slopes() {
    let mut generator = ChaCha8Rng::seed_from_u64(5);
    for (rows, channels) in [(2, 1), (7, 3), (33, 17), (3000, 24)] {
        for (relu, with_residual) in [(false, false), (true, false), (true, true)] {
            let n = rows * channels;
            // A large mean must not cost precision.
            let x: Vec<f32> = numbers(&mut generator, n).into_iter().map(|x| 30.0 + x).collect();
            let (residual, dy) = (numbers(&mut generator, n), numbers(&mut generator, n));
            let (gamma, beta) = (numbers(&mut generator, channels), numbers(&mut generator, channels));
            let residual = with_residual.then_some(&residual[..]);
            let (y, mask, gradients) = reference(&x, residual, &dy, &gamma, &beta, relu);
            let mut first: Option<(Vec<f32>, Vec<f32>)> = None;
            for (isa, threads) in Isa::supported().flat_map(|isa| [(isa, 1), (isa, 3)]) {
                let what = |part: &str| format!("{} {rows}x{channels}, relu {relu}: {part}", isa.name());
                let moments = Moments::new(isa, threads, &x, channels);
                let mut got = vec![7.0; n];
                moments.affine(&gamma, &beta, EPSILON).apply(isa, threads, &x, residual, relu, &mut got);
                assert_near(&got, &y, 1e-4, &what("y"));
                // Where rounding decides the sign of a value, the reference's sign is used.
                let side: Vec<f32> = mask.iter().map(|&m| if m { 1.0 } else { 0.0 }).collect();
                let (mut dx, mut dresidual) = (vec![7.0; n], vec![7.0; n]);
                let made = backward(
                    isa,
                    threads,
                    (&x, relu.then_some(&side[..]), &dy),
                    (&moments, &gamma, EPSILON),
                    &mut dx,
                    with_residual.then_some(&mut dresidual[..]),
                );
                assert_near(&dx, &gradients[0], 2e-3, &what("dx"));
                assert_near(&made.gamma, &gradients[1], 2e-3, &what("dgamma"));
                assert_near(&made.beta, &gradients[2], 1e-4, &what("dbeta"));
                if with_residual {
                    assert_near(&dresidual, &gradients[3], 1e-6, &what("dresidual"));
                }
                let same = first.get_or_insert_with(|| (got.clone(), dx.clone()));
                assert!(same.0 == got && same.1 == dx, "{}", what("differs between paths or threads"));
            }
        }
    }
}

/// Returns y, the mask of its positive values, and the gradients of x, gamma, beta and the residual.
#[allow(clippy::type_complexity)]
fn reference(
    x: &[f32],
    residual: Option<&[f32]>,
    dy: &[f32],
    gamma: &[f32],
    beta: &[f32],
    relu: bool,
) -> (Vec<f64>, Vec<bool>, [Vec<f64>; 4]) {
    let channels = gamma.len();
    let n = (x.len() / channels) as f64;
    let of = |c: usize| x.iter().skip(c).step_by(channels).map(|&x| f64::from(x));
    let mean: Vec<f64> = (0..channels).map(|c| of(c).sum::<f64>() / n).collect();
    let inverse: Vec<f64> = (0..channels)
        .map(|c| (of(c).map(|x| (x - mean[c]).powi(2)).sum::<f64>() / n + f64::from(EPSILON)).sqrt().recip())
        .collect();
    let hat: Vec<f64> =
        x.iter().enumerate().map(|(i, &x)| (f64::from(x) - mean[i % channels]) * inverse[i % channels]).collect();
    let z = |i: usize| {
        let c = i % channels;
        f64::from(gamma[c]) * hat[i] + f64::from(beta[c]) + residual.map_or(0.0, |residual| f64::from(residual[i]))
    };
    let mask: Vec<bool> = (0..x.len()).map(|i| !relu || z(i) > 0.0).collect();
    let y = (0..x.len()).map(|i| if mask[i] { z(i) } else { 0.0 }).collect();
    let dz: Vec<f64> = dy.iter().zip(&mask).map(|(&dy, &m)| if m { f64::from(dy) } else { 0.0 }).collect();
    let sum = |f: &dyn Fn(usize) -> f64, c: usize| (c..x.len()).step_by(channels).map(f).sum::<f64>();
    let dbeta: Vec<f64> = (0..channels).map(|c| sum(&|i| dz[i], c)).collect();
    let dgamma: Vec<f64> = (0..channels).map(|c| sum(&|i| dz[i] * hat[i], c)).collect();
    let dx = (0..x.len()).map(|i| {
        let c = i % channels;
        f64::from(gamma[c]) * inverse[c] * (dz[i] - dbeta[c] / n - hat[i] * dgamma[c] / n)
    });
    (y, mask, [dx.collect(), dgamma, dbeta, dz.clone()])
}

#[test]
fn max_pooling_takes_the_first_of_the_largest_and_gives_it_the_gradient() {
    let mut generator = ChaCha8Rng::seed_from_u64(6);
    for (size, channels, kernel, stride, padding) in
        [((7, 9), 3, 3, 2, 1), ((1, 1), 2, 3, 2, 1), ((8, 8), 64, 2, 2, 0), ((5, 6), 17, 3, 1, 1), ((4, 4), 1, 4, 4, 2)]
    {
        let window = Window { size, channels, kernel, stride, padding };
        let (rows, columns) = window.output_size();
        // Few values, so that many are equal.
        let input: Vec<f32> =
            (0..2 * size.0 * size.1 * channels).map(|_| generator.random_range(-3..3) as f32).collect();
        let dout = numbers(&mut generator, 2 * rows * columns * channels);
        let (mut expected, mut gradient) = (vec![], vec![0.0; input.len()]);
        for image in 0..2 {
            for (y, x, c) in
                (0..rows).flat_map(|y| (0..columns).flat_map(move |x| (0..channels).map(move |c| (y, x, c))))
            {
                let mut best: Option<usize> = None;
                for (ty, tx) in (0..kernel).flat_map(|ty| (0..kernel).map(move |tx| (ty, tx))) {
                    let (Some(row), Some(column)) =
                        ((y * stride + ty).checked_sub(padding), (x * stride + tx).checked_sub(padding))
                    else {
                        continue;
                    };
                    if row < size.0 && column < size.1 {
                        let at = ((image * size.0 + row) * size.1 + column) * channels + c;
                        if best.is_none_or(|best| input[at] > input[best]) {
                            best = Some(at);
                        }
                    }
                }
                let best = best.unwrap();
                gradient[best] += dout[expected.len()];
                expected.push(input[best]);
            }
        }
        for (isa, threads) in Isa::supported().flat_map(|isa| [(isa, 1), (isa, 2)]) {
            let (mut out, mut which, mut dinput) = (vec![7.0; dout.len()], vec![9; dout.len()], vec![7.0; input.len()]);
            max_pool(isa, threads, &window, &input, &mut out, &mut which);
            max_pool_gradient(isa, threads, &window, &which, &dout, &mut dinput);
            assert_eq!(out, expected, "{} {window:?}", isa.name());
            let near = dinput.iter().zip(&gradient).all(|(a, b)| (a - b).abs() < 1e-5);
            assert!(near, "{} {window:?}: gradient", isa.name());
        }
    }
}

#[test]
fn not_a_number_is_the_largest_and_so_is_minus_infinity_where_there_is_nothing_else() {
    let window = Window { size: (2, 2), channels: 1, kernel: 2, stride: 2, padding: 0 };
    for isa in Isa::supported() {
        let (mut out, mut which) = ([0.0; 2], [9; 2]);
        let input =
            [1.0, f32::NAN, 5.0, 2.0, f32::NEG_INFINITY, f32::NEG_INFINITY, f32::NEG_INFINITY, f32::NEG_INFINITY];
        max_pool(isa, 1, &window, &input, &mut out, &mut which);
        assert!(out[1] == f32::NEG_INFINITY && which[1] == 0, "{}", isa.name());
        assert!(out[0].is_nan(), "{}", isa.name());
    }
}

#[test]
fn the_mean_of_a_map_and_its_gradient() {
    let mut generator = ChaCha8Rng::seed_from_u64(7);
    for (images, pixels, channels) in [(1, 1, 1), (3, 49, 20), (2, 16, 33)] {
        let input = numbers(&mut generator, images * pixels * channels);
        let dout = numbers(&mut generator, images * channels);
        let mean = |image: usize, c: usize| {
            (0..pixels).map(|p| f64::from(input[(image * pixels + p) * channels + c])).sum::<f64>() / pixels as f64
        };
        let expected: Vec<f64> = (0..images * channels).map(|i| mean(i / channels, i % channels)).collect();
        for isa in Isa::supported() {
            let (mut out, mut dinput) = (vec![7.0; images * channels], vec![7.0; input.len()]);
            average_pool(isa, 2, (pixels, channels), &input, &mut out);
            average_pool_gradient(2, (pixels, channels), &dout, &mut dinput);
            assert_near(&out, &expected, 1e-6, isa.name());
            for (i, &got) in dinput.iter().enumerate() {
                let dout = dout[i / (pixels * channels) * channels + i % channels];
                assert!((got - dout / pixels as f32).abs() < 1e-6, "{}", isa.name());
            }
        }
    }
}
