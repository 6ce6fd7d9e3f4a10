//! Criterion benches of the kernels, each on every path of this machine: `cargo bench`.
use criterion::{Criterion, criterion_group, criterion_main};
use sassl::kernels::conv::{Activation, Conv, Shape};
use sassl::kernels::depthwise::Depthwise;
use sassl::kernels::{Isa, Map, Pad, Scratch};
use std::hint::black_box;

fn convolution(c: &mut Criterion) {
    let shape = |inputs, outputs, kernel, upsample| Shape {
        inputs,
        outputs,
        kernel,
        stride: 1,
        upsample,
        activation: Activation::None,
    };
    let cases = [
        ("first 9x9", shape(3, 8, 9, false), 224),
        ("last 9x9", shape(8, 3, 9, false), 224),
        ("residual 3x3", shape(32, 32, 3, false), 56),
        ("upsample 3x3", shape(32, 16, 3, true), 56),
        ("pointwise", shape(96, 576, 1, false), 16),
    ];
    for (name, shape, side) in cases {
        let pad = if shape.upsample { Shape::upsample_pad(shape.kernel) } else { Pad::all(shape.kernel / 2) };
        let mut input = Map::new(side, side, shape.inputs, pad);
        input.as_mut_slice().fill(0.5);
        let (height, width) = shape.output_size(&input);
        let mut out = Map::new(height, width, shape.outputs, Pad::NONE);
        let mut scratch = Scratch::default();
        let weight = vec![0.1; shape.inputs * shape.outputs * shape.kernel * shape.kernel];
        for isa in Isa::supported().filter(|&isa| isa != Isa::Scalar) {
            let conv = Conv::new(isa, shape, &weight, None);
            c.bench_function(&format!("conv/{name}/{}", isa.name()), |b| {
                b.iter(|| conv.run(black_box(&input), &mut out, &mut scratch));
            });
        }
    }
}

fn depthwise(c: &mut Criterion) {
    let shape = Shape { inputs: 96, outputs: 96, kernel: 3, stride: 1, upsample: false, activation: Activation::Relu6 };
    let mut input = Map::new(64, 64, 96, Pad::all(1));
    input.as_mut_slice().fill(0.5);
    let mut out = Map::new(64, 64, 96, Pad::NONE);
    for isa in Isa::supported().filter(|&isa| isa != Isa::Scalar) {
        let conv = Depthwise::new(isa, shape, &[0.1; 96 * 9], None);
        let mut scratch = Scratch::default();
        c.bench_function(&format!("depthwise/3x3/{}", isa.name()), |b| {
            b.iter(|| conv.run(black_box(&input), &mut out, &mut scratch));
        });
    }
}

criterion_group!(benches, convolution, depthwise);
criterion_main!(benches);
