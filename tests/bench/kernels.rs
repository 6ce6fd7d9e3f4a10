//! Criterion benches of the kernels, each on every path of this machine: `cargo bench`.
use criterion::{Criterion, criterion_group, criterion_main};
use sassl::kernels::inference::bilinear::{BilinearScratch, Sampling, resize};
use sassl::kernels::inference::convolution::Conv;
use sassl::kernels::inference::depthwise::Depthwise;
use sassl::kernels::inference::feature_map::{FeatureMap, Pad};
use sassl::kernels::inference::instance_norm::{Norm, affine_add, affine_relu};
use sassl::kernels::inference::layer_shape::{Activation, Shape};
use sassl::kernels::inference::linear::Linear;
use sassl::kernels::inference::pixel_interpolation::{Last, Squash, interpolate};
use sassl::kernels::inference::pixels::{Pixels, PixelsMut};
use sassl::kernels::inference::quantize::QuantizeScratch;
use sassl::kernels::inference::quantize::{Grid, Quantized};
use sassl::kernels::inference::spare_maps::SpareMaps;
use sassl::kernels::isa::{Isa, KernelPath};
use std::hint::black_box;

/// All paths with vector instructions.
fn paths() -> impl Iterator<Item = KernelPath> {
    KernelPath::supported().filter(|path| path.isa() != Isa::Scalar)
}

/// Creates a map with all values equal.
fn map(side: usize, channels: usize, pad: Pad) -> FeatureMap {
    let mut map = FeatureMap::new(side, side, channels, pad);
    map.as_mut_slice().fill(0.5);
    map
}

fn convolution(c: &mut Criterion) {
    let shape = |inputs, outputs, kernel, upsample| Shape { upsample, ..Shape::plain(inputs, outputs, kernel) };
    let cases = [
        ("first 9x9", shape(3, 8, 9, false), 224),
        ("last 9x9", shape(8, 3, 9, false), 224),
        ("residual 3x3", shape(32, 32, 3, false), 56),
        ("upsample 3x3", shape(32, 16, 3, true), 56),
        ("pointwise", shape(96, 576, 1, false), 16),
    ];
    for (name, shape, side) in cases {
        let pad = if shape.upsample { Shape::upsample_pad(shape.side()) } else { Pad::all(shape.side() / 2) };
        let input = map(side, shape.inputs, pad);
        let (height, width) = shape.output_size(&input);
        let mut out = FeatureMap::new(height, width, shape.outputs, Pad::NONE);
        let mut scratch = QuantizeScratch::default();
        let weight = vec![0.1; shape.inputs * shape.outputs * shape.taps()];
        for path in paths() {
            let conv = Conv::new(path, shape, &weight, None);
            c.bench_function(&format!("conv/{name}/{}", path), |b| {
                b.iter(|| conv.run(black_box(&input), &mut out, &mut scratch));
            });
        }
    }
}

fn depthwise(c: &mut Criterion) {
    let shape = Shape { activation: Activation::Relu6, ..Shape::plain(96, 96, 3) };
    let input = map(64, 96, Pad::all(1));
    let mut out = FeatureMap::new(64, 64, 96, Pad::NONE);
    for path in paths() {
        let conv = Depthwise::new(path, shape, &[0.1; 96 * 9], None);
        let mut scratch = QuantizeScratch::default();
        c.bench_function(&format!("depthwise/3x3/{}", path), |b| {
            b.iter(|| conv.run(black_box(&input), &mut out, &mut scratch));
        });
    }
}

fn norm(c: &mut Criterion) {
    let (input, mut spare) = (map(112, 16, Pad::NONE), SpareMaps::default());
    for path in paths() {
        let mut norm = Norm::default();
        c.bench_function(&format!("norm/moments/{}", path), |b| b.iter(|| norm.measure(path.isa(), black_box(&input))));
        (norm.scale, norm.shift) = (vec![1.5; 16], vec![0.5; 16]);
        let mut relu = spare.take_any(path, 112, 112, 16, Pad::all(1));
        c.bench_function(&format!("norm/affine, relu/{}", path), |b| {
            b.iter(|| affine_relu(path.isa(), black_box(&input), &mut norm, Grid::Map, &mut relu));
        });
        let mut sum = map(112, 16, Pad::all(1));
        c.bench_function(&format!("norm/affine, add/{}", path), |b| {
            b.iter(|| affine_add(path.isa(), black_box(&input), &mut norm, &mut sum));
        });
    }
}

fn pixels(c: &mut Criterion) {
    let image = vec![100_u8; 224 * 224 * 3];
    let (content, mut view) = (Pixels::U8(&image), image.clone());
    let (mut small, mut scratch, mut row) = (map(128, 3, Pad::all(1)), BilinearScratch::default(), Default::default());
    // Four phases of three channels at half the size, as output by the head.
    let last = map(112, 12, Pad::NONE);
    for path in paths() {
        c.bench_function(&format!("pixels/resize/{}", path), |b| {
            b.iter(|| resize(path.isa(), Sampling::Antialiased, black_box(content), 224, &mut small, &mut scratch));
        });
        c.bench_function(&format!("pixels/sigmoid, interpolate/{}", path), |b| {
            b.iter(|| {
                let last = Last { map: black_box(&last), scale: [1.0; 3], shift: [0.0; 3], end: Squash::Sigmoid };
                interpolate(path.isa(), last, 0.2, content, 224, PixelsMut::U8(&mut view), &mut row);
            });
        });
    }
}

fn others(c: &mut Criterion) {
    let input = map(112, 16, Pad::all(1));
    let mut bytes = Quantized::default();
    for path in paths().filter(|path| path.in_bytes()) {
        c.bench_function(&format!("quantize/{}", path), |b| {
            b.iter(|| bytes.fill(path.isa(), black_box(&input).view(), Grid::Map));
        });
    }
    for path in paths() {
        let (linear, z, mut out) = (Linear::new(path.isa(), &[0.1; 64 * 64], &[0.0; 64]), [0.5; 64], [0.0; 64]);
        c.bench_function(&format!("linear/{}", path), |b| b.iter(|| linear.run(black_box(&z), &mut out)));
    }
}

criterion_group!(benches, convolution, depthwise, norm, pixels, others);
criterion_main!(benches);
