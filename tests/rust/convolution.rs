//! `kernels/training/convolution`: every path against the definition, for any shape, and against PyTorch
//! (`tests/golden/make_convolutions.py`); the result is the same on any number of threads.
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sassl::kernels::isa::Isa;
use sassl::kernels::training::convolution::{Shape, forward, input_gradient, weight_gradient};
use sassl::weights::safetensors::File;
use std::path::Path;

/// Output, gradient of the input, gradient of the weights.
type Three = [Vec<f32>; 3];

fn all(isa: Isa, threads: usize, shape: &Shape) -> Three {
    let mut generator = ChaCha8Rng::seed_from_u64(3);
    let numbers = |n: usize| -> Vec<f32> { (0..n).map(|_| generator.random_range(-1.0..1.0)).collect() };
    all_of(isa, threads, shape, numbers)
}

/// Computes all three from generated values: input, weights, gradient of the output.
fn all_of(isa: Isa, threads: usize, shape: &Shape, mut numbers: impl FnMut(usize) -> Vec<f32>) -> Three {
    let (rows, columns) = shape.output_size();
    let input = numbers(shape.batch * shape.height * shape.width * shape.inputs);
    let weight = numbers(shape.outputs * shape.kernel.0 * shape.kernel.1 * shape.inputs);
    let grad = numbers(shape.batch * rows * columns * shape.outputs);
    // The previous contents must not matter.
    let mut three = [vec![7.0; grad.len()], vec![7.0; input.len()], vec![7.0; weight.len()]];
    let [out, dinput, dweight] = &mut three;
    forward(isa, threads, shape, &input, &weight, out);
    input_gradient(isa, threads, shape, &grad, &weight, dinput);
    weight_gradient(isa, threads, shape, &input, &grad, dweight);
    three
}

fn assert_near(got: &Three, reference: &Three, what: &str) {
    for (name, (got, reference)) in
        ["output", "input gradient", "weight gradient"].iter().zip(got.iter().zip(reference))
    {
        let largest = reference.iter().fold(1.0, |all: f32, x| all.max(x.abs()));
        let off = got.iter().zip(reference).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off <= 2e-5 * largest, "{what}: {name} off by {off} of {largest}");
    }
}

#[test]
fn layers_of_a_resnet() {
    let shape = |batch, height, width, inputs, outputs, kernel, stride, padding| Shape {
        batch,
        height,
        width,
        inputs,
        outputs,
        kernel: (kernel, kernel),
        stride,
        padding,
    };
    for shape in [
        shape(2, 23, 30, 3, 64, 7, 2, 3),
        shape(3, 8, 8, 64, 70, 3, 1, 1),
        shape(2, 9, 8, 33, 128, 3, 2, 1),
        shape(5, 7, 7, 130, 20, 1, 1, 0),
        shape(2, 10, 7, 66, 65, 1, 2, 0),
        shape(2, 4, 4, 200, 6, 3, 1, 1),
    ] {
        let reference = all(Isa::Scalar, 1, &shape);
        for isa in Isa::supported() {
            assert_near(&all(isa, 2, &shape), &reference, &format!("{} {shape:?}", isa.name()));
        }
    }
}

/// Generates the values of `make_convolutions.py`.
fn hashed(seed: u64, n: usize) -> Vec<f32> {
    let hash = |n: u64| (n.wrapping_mul(2_654_435_761) as u32) >> 19;
    (seed << 20..).take(n).map(|n| hash(n) as f32 / 4096.0 - 1.0).collect()
}

#[test]
fn golden_convolutions_are_pytorchs() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/convolutions.safetensors");
    let file = File::open(&path).unwrap();
    let outputs: Vec<&str> = file.names().filter(|name| name.ends_with("output")).collect();
    assert_eq!(outputs.len(), 6);
    for name in outputs {
        let (case, sizes) = (name.split(' ').next().unwrap(), name.split(' ').nth(1).unwrap());
        let sizes: Vec<usize> = sizes.split('x').map(|size| size.parse().unwrap()).collect();
        let [batch, height, width, inputs, outputs, kernel, stride, padding] = sizes[..] else { panic!("{name}") };
        let shape = Shape { batch, height, width, inputs, outputs, kernel: (kernel, kernel), stride, padding };
        let reference =
            ["output", "input", "weight"].map(|which| file.view(&name.replace("output", which)).unwrap().to_f32());
        for isa in Isa::supported() {
            for threads in [1, 2] {
                let mut seeds = 3 * case.parse::<u64>().unwrap()..;
                let got = all_of(isa, threads, &shape, |n| hashed(seeds.next().unwrap(), n));
                assert_near(&got, &reference, &format!("{} {shape:?}", isa.name()));
            }
        }
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let shape =
        Shape { batch: 7, height: 13, width: 11, inputs: 20, outputs: 30, kernel: (3, 3), stride: 2, padding: 1 };
    for shape in [shape, Shape { stride: 1, ..shape }] {
        for isa in Isa::supported() {
            let one = all(isa, 1, &shape);
            assert!((2..5).all(|threads| all(isa, threads, &shape) == one), "{} {shape:?}", isa.name());
        }
    }
}

/// Winograd convolution, at the edges of tiles, of blocks of tiles and of channels, and with several images per thread: the
/// error is at most eight times float32's epsilon times the sum of the products' absolute values, which is K / 4 on average.
/// The worst factor is near 5.
#[test]
fn tiles_are_as_exact_as_promised() {
    let shape = |batch, height, width, inputs, outputs, padding| Shape {
        batch,
        height,
        width,
        inputs,
        outputs,
        kernel: (3, 3),
        stride: 1,
        padding,
    };
    for shape in [
        shape(24, 4, 4, 16, 16, 1),
        shape(15, 7, 6, 37, 130, 1),
        shape(1, 35, 61, 19, 70, 1),
        shape(2, 30, 23, 16, 17, 2),
        shape(2, 15, 17, 20, 40, 0),
        shape(2, 9, 103, 17, 33, 1),
        shape(51, 3, 3, 140, 150, 1),
    ] {
        let reference = all(Isa::Scalar, 1, &shape);
        let products = [shape.inputs, shape.outputs].map(|channels| (9 * channels) as f32 / 4.0);
        for isa in Isa::supported().filter(|&isa| isa != Isa::Scalar) {
            let got = all(isa, 2, &shape);
            for ((got, reference), products) in got.iter().zip(&reference).zip(products) {
                let off = got.iter().zip(reference).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(off <= 8.0 * f32::EPSILON * products, "{} {shape:?}: off by {off}", isa.name());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn any_shape(
        batch in 1..4_usize, height in 1..12_usize, width in 1..12_usize, inputs in 1..40_usize, outputs in 1..40_usize,
        kernel in (1..5_usize, 1..5_usize), stride in 1..4_usize, padding in 0..4_usize
    ) {
        prop_assume!(kernel.0 <= height + 2 * padding && kernel.1 <= width + 2 * padding);
        let shape = Shape { batch, height, width, inputs, outputs, kernel, stride, padding };
        let reference = all(Isa::Scalar, 1, &shape);
        for isa in Isa::supported() {
            assert_near(&all(isa, 1, &shape), &reference, &format!("{} {shape:?}", isa.name()));
        }
    }
}
