//! Every kernel on every path of this machine against the scalar reference, and the reference against the definition.
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sassl::kernels::inference::any_map::{AnyMap, Input};
use sassl::kernels::inference::bilinear::{BilinearScratch, Sampling, resize};
use sassl::kernels::inference::convolution::Conv;
use sassl::kernels::inference::depthwise::Depthwise;
use sassl::kernels::inference::feature_map::{Border, FeatureMap, Pad};
use sassl::kernels::inference::instance_norm::{Norm, affine_add, affine_relu};
use sassl::kernels::inference::layer_shape::{Activation, Shape};
use sassl::kernels::inference::pixel_interpolation::{Last, Squash, interpolate};
use sassl::kernels::inference::pixels::{Pixels, PixelsMut};
use sassl::kernels::inference::quantize::{Grid, QuantizeScratch, Quantized, QuantizedView};
use sassl::kernels::inference::spare_maps::SpareMaps;
use sassl::kernels::isa::{Extent, Isa, KernelPath, Precision};

/// Sums of up to 1,300 products of numbers in [-1, 1], in another order and with fused rounding.
const TOLERANCE: f32 = 1e-4;

/// A tolerance relative to the square root of the number of products: eight standard deviations of the error that rounding both
/// factors to bytes causes in such a sum.
const BYTES: f32 = 0.015;

fn numbers(generator: &mut ChaCha8Rng, n: usize) -> Vec<f32> {
    (0..n).map(|_| generator.random_range(-1.0..1.0)).collect()
}

fn map(generator: &mut ChaCha8Rng, size: (usize, usize, usize), pad: Pad, border: Border) -> FeatureMap {
    let mut map = FeatureMap::new(size.0, size.1, size.2, pad);
    for y in 0..size.0 {
        let row = numbers(generator, size.1 * size.2);
        map.row_mut(y).copy_from_slice(&row);
    }
    map.fill_border(border);
    map
}

fn rows(map: &FeatureMap) -> Vec<f32> {
    (0..map.height()).flat_map(|y| map.row(y).to_vec()).collect()
}

fn extent(map: &FeatureMap) -> Extent {
    rows(map).into_iter().fold(Extent::default(), |all, x| all.or(Extent { low: x, high: x }))
}

fn assert_near(got: &FeatureMap, reference: &FeatureMap, what: &str) {
    assert_within(got, reference, TOLERANCE, what);
}

fn assert_within(got: &FeatureMap, reference: &FeatureMap, tolerance: f32, what: &str) {
    for (i, (a, b)) in rows(got).iter().zip(rows(reference)).enumerate() {
        assert!((a - b).abs() <= tolerance * b.abs().max(1.0), "{what}: number {i} is {a}, not {b}");
    }
}

/// Dequantizes a map, including its padding.
fn values(bytes: &Quantized) -> FeatureMap {
    let QuantizedView { view, scale, zero } = bytes.view();
    let mut out = FeatureMap::new(view.height, view.width, view.channels, view.pad);
    let steps = scale.iter().zip(zero).cycle();
    for ((x, &q), (scale, &zero)) in out.as_mut_slice().iter_mut().zip(view.data).zip(steps) {
        *x = scale * (f32::from(q) - f32::from(zero));
    }
    out
}

/// The reference path.
const SCALAR: KernelPath = KernelPath::new(Isa::Scalar, Precision::Exact);

/// The tolerance of a convolution on this path, relative for values above 1.
fn tolerance(path: KernelPath, shape: &Shape) -> f32 {
    let products = shape.inputs * shape.taps();
    match path.in_bytes() {
        true if adds_neighbours(path) => 2.0 * BYTES * (products as f32).sqrt(),
        true => BYTES * (products as f32).sqrt(),
        false => TOLERANCE,
    }
}

/// Whether adjacent products are added in 16 bits, so that two of the largest weights share the range.
fn adds_neighbours(path: KernelPath) -> bool {
    path.in_bytes() && path.isa().largest_weight(&[1.0, 1.0]) == 2.0
}

/// All paths except the reference.
fn vector_paths() -> Vec<KernelPath> {
    KernelPath::supported().filter(|&path| path != SCALAR).collect()
}

/// Shapes with tails in every direction: channels, widths, groups.
fn shapes() -> Vec<(Shape, (usize, usize))> {
    let mut all = vec![];
    let sizes = [(8, 8), (9, 13), (11, 2), (5, 21)];
    for (i, &(inputs, outputs)) in
        [(3, 8), (8, 3), (1, 1), (5, 15), (16, 16), (7, 17), (12, 32), (4, 50)].iter().enumerate()
    {
        for (side, stride) in [(1, 1), (3, 1), (3, 2), (5, 1), (9, 1)] {
            all.push((Shape { stride, ..Shape::plain(inputs, outputs, side) }, sizes[i % 4]));
        }
        for side in [3, 5, 9] {
            let shape = Shape { upsample: true, activation: Activation::Relu, ..Shape::plain(inputs, outputs, side) };
            all.push((shape, sizes[(i + 1) % 4]));
        }
    }
    all
}

/// Layers that are computed in tiles of 4x4 outputs, with tails of tiles and of channels.
fn tiled_shapes() -> Vec<(Shape, (usize, usize))> {
    let relu = Shape { activation: Activation::Relu, ..Shape::plain(33, 64, 3) };
    vec![
        (relu, (21, 26)),
        (Shape::plain(130, 65, 3), (24, 23)),
        (Shape { activation: Activation::Relu6, ..Shape::plain(48, 140, 3) }, (22, 25)),
    ]
}

/// All of these, and kernels that are not square, for dense layers.
fn dense_shapes() -> Vec<(Shape, (usize, usize))> {
    let plain = [(3, 8), (16, 16), (7, 17)].map(|(inputs, outputs)| Shape::plain(inputs, outputs, 1));
    let oblong = plain.into_iter().flat_map(|plain| [(1, 7), (7, 1), (3, 5)].map(|kernel| Shape { kernel, ..plain }));
    shapes().into_iter().chain(tiled_shapes()).chain(oblong.map(|shape| (shape, (9, 10)))).collect()
}

fn pad_of(shape: &Shape) -> Pad {
    let (rows, columns) = (shape.kernel.0 / 2, shape.kernel.1 / 2);
    match shape.upsample {
        true => Shape::upsample_pad(shape.side()),
        false => Pad { top: rows, left: columns, bottom: rows, right: columns },
    }
}

#[test]
fn convolution_is_its_definition() {
    let mut generator = ChaCha8Rng::seed_from_u64(1);
    let shape = Shape { stride: 2, activation: Activation::Relu6, ..Shape::plain(3, 4, 3) };
    let input = map(&mut generator, (7, 6, 3), Pad::all(1), Border::Reflect);
    let (weight, bias) = (numbers(&mut generator, 4 * 3 * 9), numbers(&mut generator, 4));
    let mut out = FeatureMap::new(4, 3, 4, Pad::NONE);
    Conv::new(SCALAR, shape, &weight, Some(&bias)).run(&input, &mut out, &mut QuantizeScratch::default());
    let mirrored = |i: isize, n: usize| if i < 0 { -i } else if i >= n as isize { 2 * n as isize - 2 - i } else { i } as usize;
    for (y, x, o) in (0..4 * 3 * 4).map(|i| (i / 12, i / 4 % 3, i % 4)) {
        let mut sum = bias[o];
        for (ty, tx, i) in (0..27).map(|t| (t / 9, t / 3 % 3, t % 3)) {
            let at = (mirrored((2 * y + ty) as isize - 1, 7), mirrored((2 * x + tx) as isize - 1, 6));
            sum += weight[o * 27 + i * 9 + ty * 3 + tx] * input.row(at.0)[at.1 * 3 + i];
        }
        assert!((out.row(y)[x * 4 + o] - sum.clamp(0.0, 6.0)).abs() < 1e-5, "({y}, {x}, {o})");
    }
}

#[test]
fn upsampling_is_nearest_then_convolution_with_reflection() {
    let mut generator = ChaCha8Rng::seed_from_u64(2);
    let shape = Shape { upsample: true, ..Shape::plain(2, 3, 3) };
    let input = map(&mut generator, (4, 5, 2), Shape::upsample_pad(3), Border::Edge);
    let weight = numbers(&mut generator, 3 * 2 * 9);
    let mut large = FeatureMap::new(8, 10, 2, Pad::all(1));
    for (y, x) in (0..80).map(|i| (i / 10, i % 10)) {
        let pixel = input.row(y / 2)[x / 2 * 2..][..2].to_vec();
        large.row_mut(y)[x * 2..][..2].copy_from_slice(&pixel);
    }
    large.fill_border(Border::Reflect);
    for path in KernelPath::supported() {
        let (mut direct, mut reference) = (FeatureMap::new(8, 10, 3, Pad::NONE), FeatureMap::new(8, 10, 3, Pad::NONE));
        Conv::new(path, shape, &weight, None).run(&input, &mut direct, &mut QuantizeScratch::default());
        Conv::new(path, Shape { upsample: false, ..shape }, &weight, None).run(
            &large,
            &mut reference,
            &mut QuantizeScratch::default(),
        );
        assert_within(&direct, &reference, tolerance(path, &shape), &path.to_string());
    }
}

#[test]
fn convolution_paths_agree() {
    let mut generator = ChaCha8Rng::seed_from_u64(3);
    for (shape, (height, width)) in dense_shapes() {
        let input = map(&mut generator, (height, width, shape.inputs), pad_of(&shape), Border::Edge);
        let weight = numbers(&mut generator, shape.inputs * shape.outputs * shape.taps());
        let bias = numbers(&mut generator, shape.outputs);
        let (h, w) = shape.output_size(&input);
        let mut reference = FeatureMap::new(h, w, shape.outputs, Pad::NONE);
        reference.as_mut_slice().fill(7.0);
        let mut reference_added = reference.clone();
        let conv = Conv::new(SCALAR, shape, &weight, Some(&bias));
        conv.run(&input, &mut reference, &mut QuantizeScratch::default());
        let gain = if shape.outputs.is_multiple_of(3) { &[0.5, -1.0, 0.75][..] } else { &[-0.5] };
        conv.add(&input, gain, &mut reference_added, &mut QuantizeScratch::default());
        for path in vector_paths() {
            // The padding of the output must be unchanged.
            let mut out = FeatureMap::new(h, w, shape.outputs, Pad::all(1));
            out.as_mut_slice().fill(7.0);
            Conv::new(path, shape, &weight, Some(&bias)).run(&input, &mut out, &mut QuantizeScratch::default());
            let what = format!("{} {shape:?} {height}x{width}", path);
            assert_within(&out, &reference, tolerance(path, &shape), &what);
            let mut added = FeatureMap::new(h, w, shape.outputs, Pad::NONE);
            added.as_mut_slice().fill(7.0);
            Conv::new(path, shape, &weight, Some(&bias)).add(&input, gain, &mut added, &mut QuantizeScratch::default());
            assert_within(&added, &reference_added, tolerance(path, &shape), &format!("{what}, added"));
            let knows = shape.activation == Activation::Relu && (path.in_bytes() || out.range().is_some());
            assert_eq!(out.range(), knows.then(|| extent(&out)), "{what}");
            assert_eq!(added.range(), None, "{what}: to numbers of any range it was added");
            let mut beside = FeatureMap::new(h, w, shape.outputs + 5, Pad::NONE);
            beside.as_mut_slice().fill(7.0);
            Conv::new(path, shape, &weight, Some(&bias)).run_beside(
                3,
                &input,
                &mut beside,
                &mut QuantizeScratch::default(),
            );
            assert_eq!(beside.range(), None, "{what}: other channels may hold anything");
            // In bytes, `run_beside` takes one pixel at a time, with other quantization steps for the weights than for a group.
            let mut own = FeatureMap::new(h, w, shape.outputs, Pad::NONE);
            for y in 0..h {
                let pixels = beside.row(y).chunks_exact(shape.outputs + 5);
                for (pixel, own) in pixels.zip(own.row_mut(y).chunks_exact_mut(shape.outputs)) {
                    assert!(pixel[..3] == [7.0; 3] && pixel[3 + shape.outputs..] == [7.0; 2], "{what}: wrote beside");
                    own.copy_from_slice(&pixel[3..3 + shape.outputs]);
                }
            }
            assert_within(&own, &reference, tolerance(path, &shape), &format!("{what}, beside others"));
            let stride = out.stride();
            let inside = shape.outputs..stride - shape.outputs;
            let outside =
                out.as_slice().iter().enumerate().filter(|(i, _)| {
                    !inside.contains(&(i % stride)) || *i < stride || *i >= out.as_slice().len() - stride
                });
            assert!(outside.clone().all(|(_, &x)| x == 7.0), "{} {shape:?} wrote into the padding", path);
        }
    }
}

/// Returns multiples of `step` in this range, including both ends.
fn grid(generator: &mut ChaCha8Rng, n: usize, ends: [i32; 2], step: f32) -> Vec<f32> {
    let inside = (2..n).map(|_| generator.random_range(ends[0]..=ends[1]));
    ends.into_iter().chain(inside).take(n).map(|i| i as f32 * step).collect()
}

/// Generates the weights of an output as multiples of 1/128 that this path stores exactly in bytes.
fn filter_in_bytes(generator: &mut ChaCha8Rng, path: KernelPath, output: usize, n: usize) -> Vec<f32> {
    if !adds_neighbours(path) {
        return grid(generator, n, [-127, 127], 1.0 / 128.0);
    }
    // The sum of two adjacent weights is at most 127, in any order.
    let sign = if output.is_multiple_of(2) { 1.0 } else { -1.0 };
    let mut weights = grid(generator, n, [0, 63], sign / 128.0);
    weights[0] = -127.0 * sign / 128.0;
    weights
}

#[test]
fn bytes_are_exact_where_bytes_hold_the_numbers() {
    let mut generator = ChaCha8Rng::seed_from_u64(9);
    for (shape, (height, width)) in shapes().into_iter().filter(|(shape, _)| !shape.upsample) {
        let mut input = FeatureMap::new(height, width, shape.inputs, pad_of(&shape));
        for y in 0..height {
            let row = grid(&mut generator, width * shape.inputs, [-100, 155], 1.0 / 64.0);
            input.row_mut(y).copy_from_slice(&row);
        }
        input.fill_border(Border::Zero);
        let filter = shape.inputs * shape.taps();
        let (h, w) = shape.output_size(&input);
        let before = map(&mut generator, (h, w, shape.outputs), Pad::NONE, Border::Zero);
        for path in KernelPath::supported().filter(|path| path.in_bytes()) {
            let filters = (0..shape.outputs).map(|output| filter_in_bytes(&mut generator, path, output, filter));
            let weight = filters.collect::<Vec<_>>().concat();
            let mut reference = before.clone();
            Conv::new(SCALAR, shape, &weight, None).run(&input, &mut reference, &mut QuantizeScratch::default());
            let mut out = before.clone();
            Conv::new(path, shape, &weight, None).run(&input, &mut out, &mut QuantizeScratch::default());
            assert_near(&out, &reference, &format!("{} {shape:?} {height}x{width}", path));
        }
    }
}

#[test]
fn a_depthwise_convolution_has_a_grid_of_bytes_for_each_channel() {
    let mut generator = ChaCha8Rng::seed_from_u64(13);
    for channels in [3, 7, 16, 32, 33, 64, 96] {
        let (height, width) = (9, 13);
        // Very different steps, so that a common grid would round the small ones to 0.
        let steps: Vec<f32> = (0..channels).map(|c| (c as f32 % 11.0 - 8.0).exp2()).collect();
        let mut input = FeatureMap::new(height, width, channels, Pad::all(1));
        for y in 0..height {
            let row = grid(&mut generator, width * channels, [-100, 155], 1.0);
            input.row_mut(y).iter_mut().zip(row).zip(steps.iter().cycle()).for_each(|((x, n), step)| *x = n * step);
        }
        for (x, end) in [(0, -100.0), (1, 155.0)] {
            let pixel = &mut input.row_mut(3)[x * channels..][..channels];
            pixel.iter_mut().zip(&steps).for_each(|(x, step)| *x = step * end);
        }
        input.fill_border(Border::Zero);
        let shape = Shape::plain(channels, channels, 3);
        for path in KernelPath::supported().filter(|path| path.in_bytes()) {
            let mut weight =
                (0..channels).flat_map(|c| filter_in_bytes(&mut generator, path, c, 9)).collect::<Vec<_>>();
            weight.chunks_exact_mut(9).zip(&steps).for_each(|(filter, step)| {
                filter.iter_mut().for_each(|weight| *weight /= step);
            });
            let mut out = [
                FeatureMap::new(height, width, channels, Pad::NONE),
                FeatureMap::new(height, width, channels, Pad::NONE),
            ];
            for (out, path) in out.iter_mut().zip([path, SCALAR]) {
                Depthwise::new(path, shape, &weight, None).run(&input, out, &mut QuantizeScratch::default());
            }
            assert_near(&out[0], &out[1], &format!("{} {channels} channels", path));
        }
    }
}

#[test]
fn words_are_exact_where_words_hold_the_numbers() {
    let mut generator = ChaCha8Rng::seed_from_u64(15);
    for (shape, (height, width)) in shapes() {
        let mut input = FeatureMap::new(height, width, shape.inputs, pad_of(&shape));
        for y in 0..height {
            let row = grid(&mut generator, width * shape.inputs, [-1023, 1000], 1.0 / 256.0);
            input.row_mut(y).copy_from_slice(&row);
        }
        input.fill_border(Border::Zero);
        let filter = shape.inputs * shape.taps();
        // The phases of an upsampled map use sums of weights.
        let most = if shape.upsample { 1023 / shape.taps() as i32 } else { 1023 };
        let weight = (0..shape.outputs).flat_map(|_| grid(&mut generator, filter, [-most, most], 1.0 / 1024.0));
        let weight = weight.collect::<Vec<_>>();
        let (h, w) = shape.output_size(&input);
        for path in vector_paths() {
            let (mut out, mut reference) =
                (FeatureMap::new(h, w, shape.outputs, Pad::NONE), FeatureMap::new(h, w, shape.outputs, Pad::NONE));
            Conv::in_words(path, shape, &weight, None).run(&input, &mut out, &mut QuantizeScratch::default());
            Conv::new(SCALAR, shape, &weight, None).run(&input, &mut reference, &mut QuantizeScratch::default());
            let what = format!("{} {shape:?} {height}x{width}", path);
            // The phases have different largest weights, and therefore different grids.
            let tolerance = if shape.upsample { BYTES / 8.0 * (filter as f32).sqrt() } else { TOLERANCE };
            assert_within(&out, &reference, tolerance, &what);
        }
    }
}

/// Tiles of 4x4 outputs on paths in bytes multiply 16-bit words, whether the input is in floats or in bytes.
#[test]
fn tiles_in_words_are_nearly_those_of_floats() {
    let mut generator = ChaCha8Rng::seed_from_u64(17);
    for (shape, (height, width)) in tiled_shapes() {
        let floats = map(&mut generator, (height, width, shape.inputs), pad_of(&shape), Border::Reflect);
        let weight = numbers(&mut generator, shape.inputs * shape.outputs * shape.taps());
        let bias = numbers(&mut generator, shape.outputs);
        let run = |path, input: Input| {
            let mut out = FeatureMap::new(height, width, shape.outputs, Pad::NONE);
            Conv::new(path, shape, &weight, Some(&bias)).run(input, &mut out, &mut QuantizeScratch::default());
            out
        };
        // A quarter of the tolerance for bytes.
        let tolerance = 0.25 * BYTES * ((shape.inputs * shape.taps()) as f32).sqrt();
        for path in KernelPath::supported().filter(|path| path.in_bytes()) {
            let what = format!("{path} {shape:?}");
            assert_within(&run(path, floats.view().into()), &run(SCALAR, floats.view().into()), tolerance, &what);
            let (bytes, rounded) = quantized(path, &floats, Grid::Map);
            assert_within(&run(path, bytes.view()), &run(SCALAR, rounded.view().into()), tolerance, &what);
        }
    }
}

#[test]
fn outputs_without_weights_are_their_bias() {
    let mut generator = ChaCha8Rng::seed_from_u64(12);
    let shape = Shape::plain(16, 16, 3);
    let input = map(&mut generator, (6, 9, 16), pad_of(&shape), Border::Zero);
    let bias = numbers(&mut generator, 16);
    for path in KernelPath::supported() {
        let mut scratch = QuantizeScratch::default();
        let mut out = [FeatureMap::new(6, 9, 16, Pad::NONE), FeatureMap::new(6, 9, 16, Pad::NONE)];
        Conv::new(path, shape, &[0.0; 16 * 16 * 9], Some(&bias)).run(&input, &mut out[0], &mut scratch);
        Depthwise::new(path, shape, &[0.0; 16 * 9], Some(&bias)).run(&input, &mut out[1], &mut scratch);
        for out in out {
            let same = rows(&out).chunks(16).all(|pixel| pixel == bias);
            assert!(same, "{}", path);
        }
    }
}

#[test]
fn quantizing_paths_agree() {
    let mut generator = ChaCha8Rng::seed_from_u64(10);
    for (height, width, channels) in [(1, 1, 1), (3, 5, 3), (4, 8, 16), (7, 9, 5)] {
        let mut input = map(&mut generator, (height, width, channels), Pad::all(1), Border::Edge);
        for odd in [0.0, f32::NAN, f32::INFINITY, 1e30] {
            input.row_mut(0)[0] = odd;
            for grid in [Grid::Map, Grid::Channels] {
                let bytes = |path: KernelPath| {
                    let mut out = Quantized::default();
                    out.fill(path.isa(), input.view(), grid);
                    let all = out.view();
                    (all.view.data.to_vec(), all.view.stride, all.scale.to_vec(), all.zero.to_vec())
                };
                for path in vector_paths() {
                    let what = format!("{} {height}x{width}x{channels} {grid:?} {odd}", path);
                    assert_eq!(bytes(path), bytes(SCALAR), "{what}");
                }
            }
        }
    }
    let mut ramp = FeatureMap::new(1, 256, 1, Pad::NONE);
    ramp.row_mut(0).iter_mut().zip(-55..).for_each(|(x, i)| *x = i as f32 / 8.0);
    let mut out = Quantized::default();
    out.fill(Isa::Scalar, ramp.view(), Grid::Map);
    assert_eq!((out.view().scale, out.view().zero), (&[0.125][..], &[55][..]));
    assert!(out.view().view.data[..256].iter().copied().eq(0..=255));
}

/// Quantizes a map to bytes; returns these, and the values that they represent.
fn quantized(path: KernelPath, map: &FeatureMap, grid: Grid) -> (AnyMap, FeatureMap) {
    let mut bytes = Quantized::default();
    bytes.fill(path.isa(), map.view(), grid);
    let rounded = values(&bytes);
    (AnyMap::Bytes(bytes), rounded)
}

#[test]
fn depthwise_paths_agree() {
    let mut generator = ChaCha8Rng::seed_from_u64(4);
    let wide = [(32, (9, 13)), (64, (5, 6)), (96, (4, 9)), (144, (3, 7)), (2, (4, 77))];
    let wide = wide.into_iter().flat_map(|(outputs, size)| {
        shapes().into_iter().take(3).map(move |(shape, _)| (Shape { outputs, ..shape }, size))
    });
    for (shape, (height, width)) in shapes().into_iter().chain(wide) {
        let shape = Shape { inputs: shape.outputs, ..shape };
        let input = map(&mut generator, (height, width, shape.inputs), pad_of(&shape), Border::Zero);
        let weight = numbers(&mut generator, shape.outputs * shape.taps());
        let bias = numbers(&mut generator, shape.outputs);
        let (h, w) = shape.output_size(&input);
        let mut scratch = QuantizeScratch::default();
        for path in vector_paths() {
            let what = format!("{} {shape:?} {height}x{width}", path);
            let (operand, reference_input) = match path.in_bytes() {
                true => quantized(path, &input, Grid::Channels),
                false => (AnyMap::Floats(input.clone()), input.clone()),
            };
            let mut reference = FeatureMap::new(h, w, shape.outputs, Pad::NONE);
            Depthwise::new(SCALAR, shape, &weight, Some(&bias)).run(&reference_input, &mut reference, &mut scratch);
            let conv = Depthwise::new(path, shape, &weight, Some(&bias));
            let (mut out, mut other) =
                (FeatureMap::new(h, w, shape.outputs, Pad::NONE), FeatureMap::new(h, w, shape.outputs, Pad::NONE));
            conv.run(&operand, &mut out, &mut scratch);
            conv.run(&input, &mut other, &mut scratch);
            // Only the weights are rounded here.
            assert_within(&out, &reference, tolerance(path, &Shape { inputs: 1, ..shape }), &what);
            assert_eq!(rows(&out), rows(&other), "{what}: bytes given, and bytes made");
            let knows = path.in_bytes() || shape.outputs >= path.isa().lanes();
            assert_eq!(out.range(), knows.then(|| extent(&out)), "{what}");
        }
    }
}

#[test]
fn bytes_written_are_those_of_the_floats() {
    let mut generator = ChaCha8Rng::seed_from_u64(11);
    let range = Extent { low: 0.0, high: 6.0 };
    for (shape, (height, width)) in shapes() {
        let shape = Shape { activation: Activation::Relu6, ..shape };
        for depthwise in [false, true] {
            let shape = if depthwise { Shape { inputs: shape.outputs, ..shape } } else { shape };
            let input = map(&mut generator, (height, width, shape.inputs), pad_of(&shape), Border::Edge);
            let inputs = if depthwise { 1 } else { shape.inputs };
            let mut weight = numbers(&mut generator, shape.outputs * inputs * shape.taps());
            weight.iter_mut().for_each(|x| *x *= 4.0);
            let (h, w) = shape.output_size(&input);
            for path in KernelPath::supported().filter(|path| path.in_bytes()) {
                let mut scratch = QuantizeScratch::default();
                let mut bytes = SpareMaps::default().take_any(path, h, w, shape.outputs, Pad::all(1));
                bytes.set_range(range);
                let mut floats = FeatureMap::new(h, w, shape.outputs, Pad::NONE);
                if depthwise {
                    let conv = Depthwise::new(path, shape, &weight, None);
                    conv.run(&input, &mut floats, &mut scratch);
                    conv.run(&input, &mut bytes, &mut scratch);
                } else {
                    let conv = Conv::new(path, shape, &weight, None);
                    conv.run(&input, &mut floats, &mut scratch);
                    conv.run(&input, &mut bytes, &mut scratch);
                }
                let AnyMap::Bytes(bytes) = bytes else { panic!("{} has no bytes", path) };
                assert_within(&values(&bytes), &floats, 0.5001 * 6.0 / 255.0, &format!("{} {shape:?}", path));
            }
        }
    }
}

#[test]
fn depthwise_is_a_dense_convolution_with_zeros_between_channels() {
    let mut generator = ChaCha8Rng::seed_from_u64(5);
    for upsample in [false, true] {
        let shape = Shape { upsample, ..Shape::plain(5, 5, 3) };
        let input = map(&mut generator, (6, 7, 5), pad_of(&shape), Border::Edge);
        let weight = numbers(&mut generator, 45);
        let dense: Vec<f32> =
            (0..225).map(|i| if i / 45 == i / 9 % 5 { weight[i / 45 * 9 + i % 9] } else { 0.0 }).collect();
        let (h, w) = shape.output_size(&input);
        let (mut one, mut other) = (FeatureMap::new(h, w, 5, Pad::NONE), FeatureMap::new(h, w, 5, Pad::NONE));
        Depthwise::new(SCALAR, shape, &weight, None).run(&input, &mut one, &mut QuantizeScratch::default());
        Conv::new(SCALAR, shape, &dense, None).run(&input, &mut other, &mut QuantizeScratch::default());
        assert_near(&one, &other, "dense");
    }
}

#[test]
fn norm_paths_agree() {
    let mut generator = ChaCha8Rng::seed_from_u64(6);
    for (channels, height, width) in [(1, 3, 5), (3, 9, 7), (8, 4, 4), (12, 5, 3), (16, 6, 6), (28, 7, 9), (40, 2, 3)] {
        let input = map(&mut generator, (height, width, channels), Pad::all(1), Border::Zero);
        let n = (height * width) as f64;
        let mut norm = Norm::default();
        for path in KernelPath::supported() {
            norm.measure(path.isa(), &input);
            for c in 0..channels {
                let values: Vec<f64> = rows(&input).iter().skip(c).step_by(channels).map(|&x| x.into()).collect();
                let m = values.iter().sum::<f64>() / n;
                let v = values.iter().map(|x| (x - m).powi(2)).sum::<f64>() / n;
                assert!((f64::from(norm.mean[c]) - m).abs() < 1e-6, "{} mean of {channels}", path);
                assert!((f64::from(norm.variance[c]) - v).abs() < 1e-6, "{} variance of {channels}", path);
                let ends = values.iter().fold([f64::MAX, f64::MIN], |[low, high], &x| [low.min(x), high.max(x)]);
                assert_eq!(norm.extent[c].map(f64::from), ends, "{} extent of {channels}", path);
            }
        }
        (norm.scale, norm.shift) = (numbers(&mut generator, channels), numbers(&mut generator, channels));
        let before = map(&mut generator, (height, width, channels), Pad::NONE, Border::Zero);
        let (mut added, mut relu) = (before.clone(), AnyMap::Floats(FeatureMap::default()));
        affine_add(Isa::Scalar, &input, &mut norm, &mut added);
        relu.reshape(height, width, channels, Pad::NONE);
        affine_relu(Isa::Scalar, &input, &mut norm, Grid::Map, &mut relu);
        let AnyMap::Floats(relu) = relu else { panic!("the reference is in floats") };
        for path in vector_paths() {
            let what = format!("{} {height}x{width}x{channels}", path);
            let mut out = before.clone();
            affine_add(path.isa(), &input, &mut norm, &mut out);
            assert_near(&out, &added, &format!("{what} added"));
            assert_eq!(out.range(), Some(extent(&out)), "{what}");
            for grid in [Grid::Map, Grid::Channels] {
                let mut out = SpareMaps::default().take_any(path, 0, 0, 0, Pad::NONE);
                out.reshape(height, width, channels, Pad::all(1));
                affine_relu(path.isa(), &input, &mut norm, grid, &mut out);
                match out {
                    AnyMap::Floats(out) => {
                        assert_near(&out, &relu, &what);
                        assert_eq!(out.range(), Some(extent(&out)), "{what}");
                    }
                    AnyMap::Bytes(out) => {
                        let highs = |c: usize| rows(&relu).into_iter().skip(c).step_by(channels).fold(0.0, f32::max);
                        let expected: Vec<f32> = match grid {
                            Grid::Map => vec![extent(&relu).high / 255.0],
                            Grid::Channels => (0..channels).map(|c| highs(c) / 255.0).collect(),
                        };
                        assert_eq!(out.view().scale.len(), expected.len(), "{what} {grid:?}");
                        for (c, (step, expected)) in out.view().scale.iter().zip(&expected).enumerate() {
                            assert!((step - expected).abs() < 1e-6, "{what} {grid:?}: step {step} of channel {c}");
                        }
                        let bytes = values(&out);
                        for (i, (a, b)) in rows(&bytes).iter().zip(rows(&relu)).enumerate() {
                            let step = expected[i % channels % expected.len()].max(1e-6);
                            assert!((a - b).abs() <= 0.501 * step, "{what} {grid:?}: number {i} is {a}, not {b}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn interpolation_paths_agree() {
    let mut generator = ChaCha8Rng::seed_from_u64(7);
    for (channels, height, width) in [(3, 9_usize, 17_usize), (12, 10, 15), (12, 9, 14), (3, 1, 1)] {
        let cells = if channels == 12 { 2 } else { 1 };
        let map =
            map(&mut generator, (height.div_ceil(cells), width.div_ceil(cells), channels), Pad::NONE, Border::Zero);
        let last = Last { map: &map, scale: [3.0, -2.0, 0.5], shift: [0.1, 0.0, -1.0], end: Squash::Sigmoid };
        let bytes: Vec<u8> = (0..height * width * 3).map(|_| generator.random()).collect();
        let floats: Vec<f32> = bytes.iter().map(|&x| f32::from(x) / 255.0).collect();
        let run = |path: KernelPath, beta, out: PixelsMut, content| {
            interpolate(path.isa(), last, beta, content, width, out, &mut Default::default());
        };
        for path in KernelPath::supported() {
            for beta in [0.0, 0.3, 1.0] {
                let (mut reference, mut out) = (floats.clone(), floats.clone());
                run(SCALAR, beta, PixelsMut::F32(&mut reference), Pixels::F32(&floats));
                run(path, beta, PixelsMut::F32(&mut out), Pixels::F32(&floats));
                assert!(out.iter().zip(&reference).all(|(a, b)| (a - b).abs() < 1e-6), "{} beta {beta}", path);
                let mut packed = bytes.clone();
                run(path, beta, PixelsMut::U8(&mut packed), Pixels::U8(&bytes));
                let mut planes = vec![0; packed.len()];
                let (red, others) = planes.split_at_mut(height * width);
                let (green, blue) = others.split_at_mut(height * width);
                run(path, beta, PixelsMut::Planes([red, green, blue]), Pixels::U8(&bytes));
                let same = (0..packed.len()).all(|i| planes[i % 3 * height * width + i / 3] == packed[i]);
                assert!(same, "{path} colour by colour, beta {beta}");
                let rounded = out.iter().map(|x| (x * 255.0 + 0.5) as u8);
                assert!(packed.iter().copied().eq(rounded), "{} bytes, beta {beta}", path);
                if beta == 0.0 {
                    assert_eq!((packed, out), (bytes.clone(), floats.clone()), "beta 0 is the identity");
                }
            }
        }
    }
}

/// Pillow's BILINEAR filter in float64: a triangle of half width `max(1, scale)` around each output's centre, cut at the edges.
fn triangle(from: usize, to: usize) -> Vec<Vec<f64>> {
    let scale = from as f64 / to as f64;
    let weights = |i: usize| {
        let centre = (i as f64 + 0.5) * scale;
        let all = (0..from).map(|x| (1.0 - (x as f64 + 0.5 - centre).abs() / scale.max(1.0)).max(0.0));
        let total: f64 = all.clone().sum();
        all.map(|weight| weight / total).collect()
    };
    (0..to).map(weights).collect()
}

#[test]
fn resize_is_pillows_bilinear() {
    let mut generator = ChaCha8Rng::seed_from_u64(14);
    for (height, width) in [(8, 8), (37, 61), (100, 33), (130, 200)] {
        let input: Vec<f32> = (0..height * width * 3).map(|_| generator.random()).collect();
        let (vertical, horizontal) = (triangle(height, 64), triangle(width, 64));
        for path in KernelPath::supported() {
            let mut out = FeatureMap::new(64, 64, 3, Pad::all(1));
            resize(
                path.isa(),
                Sampling::Antialiased,
                Pixels::F32(&input),
                width,
                &mut out,
                &mut BilinearScratch::default(),
            );
            for (y, x, c) in (0..64 * 64 * 3).map(|i| (i / 192, i / 3 % 64, i % 3)) {
                let mut expected = 0.0;
                for (row, by) in vertical[y].iter().enumerate().filter(|(_, by)| **by > 0.0) {
                    for (column, weight) in horizontal[x].iter().enumerate() {
                        expected += by * weight * f64::from(input[(row * width + column) * 3 + c]);
                    }
                }
                let got = f64::from(out.row(y)[3 * x + c]);
                let what = format!("{} {height}x{width}: {got}, not {expected}, at ({y}, {x}, {c})", path);
                assert!((got - expected).abs() < 1e-5, "{what}");
            }
        }
    }
}

#[test]
fn resize_keeps_constants_and_ramps() {
    let mut generator = ChaCha8Rng::seed_from_u64(8);
    for (height, width) in [(8, 8), (37, 61), (64, 64), (100, 33), (300, 200)] {
        let ramp = |i: usize| {
            let (y, x) = (i / width, i % width);
            [0.25, (x as f32 + 0.5) / width as f32, (y as f32 + 0.5) / height as f32]
        };
        let input: Vec<f32> = (0..height * width).flat_map(ramp).collect();
        for path in KernelPath::supported() {
            let mut out = FeatureMap::new(64, 64, 3, Pad::all(1));
            resize(
                path.isa(),
                Sampling::Antialiased,
                Pixels::F32(&input),
                width,
                &mut out,
                &mut BilinearScratch::default(),
            );
            for (y, x) in (8..56).flat_map(|y| (8..56).map(move |x| (y, x))) {
                let pixel = &out.row(y)[3 * x..][..3];
                let expected = [0.25, (x as f32 + 0.5) / 64.0, (y as f32 + 0.5) / 64.0];
                // Enlarging an 8-pixel ramp is exact between pixel centres only.
                let near = pixel.iter().zip(expected).all(|(a, b)| (a - b).abs() < 2e-3);
                assert!(near, "{} {height}x{width}: {pixel:?} at {y}, {x}", path);
            }
        }
    }
    let bytes: Vec<u8> = (0..64 * 64 * 3).map(|_| generator.random()).collect();
    let floats: Vec<f32> = bytes.iter().map(|&x| f32::from(x) / 255.0).collect();
    for path in KernelPath::supported() {
        let same = |pixels| {
            let mut out = FeatureMap::new(64, 64, 3, Pad::NONE);
            resize(path.isa(), Sampling::Antialiased, pixels, 64, &mut out, &mut BilinearScratch::default());
            rows(&out)
        };
        assert_eq!(same(Pixels::F32(&floats)), floats, "{} keeps the size", path);
        assert!(same(Pixels::U8(&bytes)).iter().zip(&floats).all(|(a, b)| (a - b).abs() < 1e-7), "{}", path);
    }
}

#[test]
fn unpacking_paths_agree() {
    let mut generator = ChaCha8Rng::seed_from_u64(12);
    let (height, width) = (5, 11);
    let bytes: Vec<u8> = (0..height * width * 3).map(|_| generator.random()).collect();
    let floats: Vec<f32> = bytes.iter().map(|&x| f32::from(x) / 255.0).collect();
    for path in KernelPath::supported() {
        for pixels in [Pixels::U8(&bytes), Pixels::F32(&floats)] {
            let mut out = SpareMaps::default().take_any(path, 0, 0, 0, Pad::NONE);
            out.reshape(height, width, 3, Pad::all(2));
            pixels.unpack(path.isa(), &mut out);
            out.fill_border(Border::Reflect);
            let map = match (out.view(), &out) {
                (Input::Floats(_), AnyMap::Floats(map)) => map.clone(),
                (_, AnyMap::Bytes(bytes)) => values(bytes),
                _ => panic!("an operand is not its own view"),
            };
            assert!(rows(&map).iter().zip(&floats).all(|(a, b)| (a - b).abs() < 1e-6), "{} {pixels:?}", path);
            assert_eq!(map.as_slice()[map.origin() - 3], map.row(0)[3], "{} reflects", path);
        }
    }
}
