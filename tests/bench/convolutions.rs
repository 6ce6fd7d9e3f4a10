//! Times training convolutions for `tests/bench/convolutions.py`. Each input line has the kind (output, or gradient of the
//! input or weight), batch size, side, inputs, outputs, kernel, stride and threads; the answer is the seconds of one call.
use sassl::kernels::isa::Isa;
use sassl::kernels::training::convolution::{Shape, forward, input_gradient, weight_gradient};
use std::io::{self, BufRead, Write};
use std::time::Instant;

/// The memory of all calls of a shape.
struct Case {
    shape: Shape,
    input: Vec<f32>,
    weight: Vec<f32>,
    output: Vec<f32>,
}

impl Case {
    fn new(shape: Shape) -> Self {
        let mut state = 1_u32;
        let mut numbers = |n: usize| -> Vec<f32> {
            // Numerical Recipes' generator.
            let mut next = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / (1 << 23) as f32 - 1.0
            };
            (0..n).map(|_| next()).collect()
        };
        let ((rows, columns), taps) = (shape.output_size(), shape.kernel.0 * shape.kernel.1);
        let input = numbers(shape.batch * shape.height * shape.width * shape.inputs);
        let weight = numbers(shape.outputs * taps * shape.inputs);
        let output = numbers(shape.batch * rows * columns * shape.outputs);
        Self { shape, input, weight, output }
    }

    fn seconds(&mut self, isa: Isa, which: &str, threads: usize) -> f64 {
        let Self { shape, input, weight, output } = self;
        let start = Instant::now();
        // The result is in new memory, as for every caller.
        let made = match which {
            "output" => {
                let mut made = vec![0.0; output.len()];
                forward(isa, threads, shape, input, weight, &mut made);
                made
            }
            "input" => {
                let mut made = vec![0.0; input.len()];
                input_gradient(isa, threads, shape, output, weight, &mut made);
                made
            }
            "weight" => {
                let mut made = vec![0.0; weight.len()];
                weight_gradient(isa, threads, shape, input, output, &mut made);
                made
            }
            other => panic!("{other}: expected output, input or weight"),
        };
        let seconds = start.elapsed().as_secs_f64();
        assert!(made.iter().all(|x| x.is_finite()));
        seconds
    }
}

fn main() {
    let isa = Isa::detect().expect("SASSL_ISA is a path of this machine");
    let mut case: Option<Case> = None;
    for line in io::stdin().lock().lines() {
        let line = line.expect("a line");
        let (which, sizes) = line.split_once(' ').expect("which, and sizes");
        let sizes: Vec<usize> = sizes.split(' ').map(|size| size.parse().expect("a size")).collect();
        let [batch, side, inputs, outputs, kernel, stride, threads] = sizes[..] else { panic!("{line}: seven sizes") };
        let (padding, kernel) = (kernel / 2, (kernel, kernel));
        let shape = Shape { batch, height: side, width: side, inputs, outputs, kernel, stride, padding };
        case.take_if(|case| case.shape != shape);
        println!("{}", case.get_or_insert_with(|| Case::new(shape)).seconds(isa, which, threads));
        io::stdout().flush().expect("who asks listens");
    }
}
