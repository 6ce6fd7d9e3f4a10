//! Pooling: each path, and the CUDA kernels, against the definition.
use crate::cuda::{Device, Emulator, Memory};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sassl::kernels::cuda::{Number, Plan, Weights};
use sassl::kernels::inference::any_map::{AnyMap, Input};
use sassl::kernels::inference::feature_map::{FeatureMap, Pad};
use sassl::kernels::inference::layer_shape::Activation;
use sassl::kernels::inference::pooling::{self, AveragePool, MaxPool};
use sassl::kernels::inference::spare_maps::SpareMaps;
use sassl::kernels::isa::{Extent, KernelPath};

/// Creates a map of integers between 0 and 6, exact in bytes and in float16, with other values in its padding.
fn map(size: (usize, usize, usize)) -> FeatureMap {
    let mut generator = ChaCha8Rng::seed_from_u64(5);
    let mut map = FeatureMap::new(size.0, size.1, size.2, Pad::all(1));
    map.as_mut_slice().fill(6.0);
    for y in 0..size.0 {
        map.row_mut(y).fill_with(|| f32::from(generator.random_range(0..=5_u8)));
    }
    map
}

/// Returns the values under a window, without its positions outside the map.
fn under(map: &FeatureMap, rows: (isize, usize), columns: (isize, usize), channel: usize) -> Vec<f32> {
    let inside = |(first, n): (isize, usize), size: usize| {
        (first..first + n as isize).filter(move |at| (0..size as isize).contains(at))
    };
    let pixels =
        inside(rows, map.height()).flat_map(|y| inside(columns, map.width()).map(move |x| (y as usize, x as usize)));
    pixels.map(|(y, x)| map.row(y)[x * map.channels() + channel]).collect()
}

fn largest(map: &FeatureMap, pool: MaxPool, (y, x): (usize, usize), channel: usize) -> f32 {
    let at = |n: usize| ((n * pool.stride) as isize, pool.side);
    under(map, at(y), at(x), channel).into_iter().fold(f32::MIN, f32::max)
}

fn mean(map: &FeatureMap, pool: &AveragePool, (y, x): (usize, usize), channel: usize) -> f32 {
    let values = under(map, (y as isize - 1, 3), (x as isize - 1, 3), channel);
    let n = if pool.counts_zeros { 9 } else { values.len() };
    let sum = values.iter().sum::<f32>() / n as f32 + pool.bias[channel];
    match pool.activation {
        Activation::None => sum,
        Activation::Relu => sum.max(0.0),
        Activation::Relu6 => sum.clamp(0.0, 6.0),
    }
}

fn average_pools(channels: usize) -> Vec<AveragePool> {
    let bias: Vec<f32> = (0..channels).map(|c| c as f32 / 2.0 - 2.0).collect();
    let pools = [(false, Activation::Relu6), (true, Activation::Relu), (false, Activation::None)];
    pools.map(|(counts_zeros, activation)| AveragePool { counts_zeros, bias: bias.clone(), activation }).to_vec()
}

const MAX_POOLS: [MaxPool; 3] =
    [MaxPool::INCEPTION, MaxPool { side: 2, stride: 2, ceil: true }, MaxPool { side: 2, stride: 2, ceil: false }];

/// Checks each value of the output, which has two more channels before and one after.
fn check(out: &AnyMap, channels: usize, what: &str, reference: impl Fn((usize, usize), usize) -> f32) {
    let (height, width, all) = out.shape();
    for (y, x, c) in (0..height * width * all).map(|i| (i / (width * all), i / all % width, i % all)) {
        let got = match out {
            AnyMap::Floats(map) => map.row(y)[x * all + c],
            AnyMap::Bytes(bytes) => {
                f32::from(bytes.view().view.data[(y * width + x) * all + c]) * bytes.view().scale[0]
            }
        };
        let inside = (2..2 + channels).contains(&c);
        let expected = if inside { reference((y, x), c - 2) } else { 0.0 };
        let step = if matches!(out, AnyMap::Bytes(_)) { 6.0 / 255.0 } else { 1e-5 };
        assert!((got - expected).abs() <= step, "{what} at {y}, {x}, {c}: {got}, not {expected}");
    }
}

/// Creates a map of zeros with three more channels.
fn beside(path: KernelPath, (height, width): (usize, usize), channels: usize) -> AnyMap {
    let mut out = SpareMaps::default().take_any(path, height, width, channels + 3, Pad::NONE);
    out.set_range(Extent { low: 0.0, high: 6.0 });
    match &mut out {
        AnyMap::Floats(map) => map.as_mut_slice().fill(0.0),
        bytes @ AnyMap::Bytes(_) => bytes.fill_zeros(0..0, 0..height),
    }
    out
}

#[test]
fn paths_are_the_definition() {
    for size in [(9, 8, 16), (8, 11, 5), (3, 3, 1)] {
        let input = map(size);
        for path in KernelPath::supported() {
            for pool in MAX_POOLS {
                let mut out = beside(path, pool.output_size(Input::from(&input)), size.2);
                let mut same = SpareMaps::default().take_any(path, size.0, size.1, size.2, Pad::NONE);
                same.set_range(Extent { low: 0.0, high: 6.0 });
                match &mut same {
                    AnyMap::Floats(map) => (0..size.0).for_each(|y| map.row_mut(y).copy_from_slice(input.row(y))),
                    AnyMap::Bytes(bytes) => {
                        let mut inner = FeatureMap::new(size.0, size.1, size.2, Pad::NONE);
                        (0..size.0).for_each(|y| inner.row_mut(y).copy_from_slice(input.row(y)));
                        inner.set_range(Extent { low: 0.0, high: 6.0 });
                        bytes.fill(path.isa(), inner.view(), sassl::kernels::inference::quantize::Grid::Map);
                    }
                }
                pool.run(path.isa(), same.view(), &mut out, 2);
                check(&out, size.2, &format!("{path} {pool:?} {size:?}"), |at, c| largest(&input, pool, at, c));
            }
            for pool in average_pools(size.2) {
                // In bytes, the range starts at 0, so that only outputs of a ReLU are representable.
                if pool.activation != Activation::Relu6 && path.in_bytes() {
                    continue;
                }
                let mut out = beside(path, (size.0, size.1), size.2);
                pool.run(path.isa(), &input, &mut out, 2);
                check(&out, size.2, &format!("{path} {pool:?} {size:?}"), |at, c| mean(&input, &pool, at, c));
            }
        }
    }
}

#[test]
fn kernels_of_the_gpu_are_the_definition() {
    let Some(emulator) = Emulator::get() else { return };
    let mut emulator = emulator.lock().unwrap();
    let size = (9, 8, 24);
    let input = map(size);
    for number in [Number::F32, Number::F16] {
        let (mut plan, mut weights) = (Plan::new(number), Weights::default());
        let x = plan.room.stored(number, 1, (size.0, size.1), size.2);
        let averages = average_pools(size.2);
        let devices: Vec<_> = averages.iter().map(|pool| pooling::cuda::AveragePool::new(pool, &mut weights)).collect();
        let maximum = MAX_POOLS.map(|pool| {
            let y = plan.room.stored(number, 1, (pool.windows(size.0), pool.windows(size.1)), size.2 + 16);
            (pool, y, pool.launch(number, &x, &y, 8))
        });
        let average: Vec<_> = averages
            .iter()
            .zip(&devices)
            .map(|(pool, device)| {
                let y = plan.room.stored(number, 1, (size.0, size.1), size.2 + 16);
                (pool, y, device.launch(number, &x, &y, 8))
            })
            .collect();
        let means = plan.room.take(size.2);
        let global = pooling::cuda::global_mean(number, &x, size.2, means);
        let mut device =
            Device { weights: Memory::of(&weights.bytes), workspace: Memory::new(plan.workspace()), ..Device::empty() };
        for y in 0..size.0 {
            device.write(x.at, y * size.1 * size.2, number, input.row(y).iter().copied());
        }
        let near = |a: f32, b: f32| (a - b).abs() <= if number == Number::F32 { 1e-5 } else { 4e-3 };
        for (pool, y, launch) in &maximum {
            device.run(&mut emulator, launch);
            for (row, column, c) in
                (0..y.height * y.width * size.2).map(|i| (i / (y.width * size.2), i / size.2 % y.width, i % size.2))
            {
                let got = device.read(y.at, (row * y.width + column) * y.channels + 8 + c, number, 1)[0];
                assert_eq!(got, largest(&input, *pool, (row, column), c), "{pool:?} {number:?}");
            }
        }
        for (pool, y, launch) in &average {
            device.run(&mut emulator, launch);
            for (row, column, c) in
                (0..y.height * y.width * size.2).map(|i| (i / (y.width * size.2), i / size.2 % y.width, i % size.2))
            {
                let got = device.read(y.at, (row * y.width + column) * y.channels + 8 + c, number, 1)[0];
                let expected = mean(&input, pool, (row, column), c);
                assert!(near(got, expected), "{pool:?} {number:?}: {got}, not {expected}");
            }
        }
        device.run(&mut emulator, &global);
        for (c, got) in device.read(means, 0, Number::F32, size.2).into_iter().enumerate() {
            let all: f32 = (0..size.0).flat_map(|y| input.row(y).iter().skip(c).step_by(size.2)).sum();
            assert!(near(got, all / (size.0 * size.1) as f32), "mean of channel {c}: {got}");
        }
    }
}
