//! AdaIN's CUDA kernels, run on the CPU by `tests/cuda/emulator.h`, against the CPU kernels. Needs a C++ compiler.
use crate::cuda::{Emulator, Memory, apart, bytes, device, layout};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sassl::kernels::cuda::{PixelType, Space};
use sassl::kernels::inference::pixels::{Pixels, PixelsMut};
use sassl::kernels::isa::{Isa, KernelPath, Precision};
use sassl::style::cuda::{DeviceStylizer, StyleSource};
use sassl::style::{Bank, Drawn, Images, Sassl, StyleParams, Styles, Stylizer};
use sassl::weights::{Model, Network, Tensor};
use std::path::Path;
use std::sync::{Arc, LazyLock};

const DIM: usize = 1024;

/// naoto0804's model, and the one with torchvision's encoder.
pub(crate) static NORMALISED: LazyLock<Model> = LazyLock::new(|| model("reflect", true, "variance"));
pub(crate) static TORCHVISION: LazyLock<Model> = LazyLock::new(|| model("zero", false, "deviation"));

/// Creates a model with random weights that preserve the scale of maps and produce valid colours.
fn model(border: &str, pools_ceil: bool, epsilon: &str) -> Model {
    let network: Network = serde_json::from_value(serde_json::json!({
        "predictor": {"kind": "vgg19", "border": border, "pools_ceil": pools_ceil, "epsilon": epsilon, "dim": DIM},
        "transformer": {"kind": "adain", "dim": DIM},
    }))
    .unwrap();
    let mut generator = ChaCha8Rng::seed_from_u64(6);
    let tensors = network.tensors().into_iter().map(|(name, shape)| {
        let (n, outputs) = (shape.iter().product::<usize>(), shape[0]);
        let (middle, reach) = match () {
            () if name == "predictor.border" => (0.45, 0.05),
            () if shape == [3] => (0.5, 0.1),
            () if shape.len() == 1 => (0.0, 0.1),
            () if outputs == 3 => (0.0, 0.3 * (6.0 * outputs as f32 / n as f32).sqrt()),
            () => (0.0, (6.0 * outputs as f32 / n as f32).sqrt()),
        };
        let data = (0..n).map(|_| middle + reach * generator.random_range(-1.0..1.0)).collect();
        (name, Tensor { data, shape })
    });
    let tensors = tensors.collect();
    Model::new(Path::new("test"), "test", "none", "random numbers", network, tensors).unwrap()
}

fn stylizer(model: &Model) -> Stylizer {
    Stylizer::new(model, KernelPath::new(Isa::detect().unwrap(), Precision::Exact)).unwrap()
}

/// Computes Algorithm 1 on `n` images, not applied to the second, with the CUDA kernels and on the CPU.
fn both(
    model: &Model,
    exact: bool,
    pixels: &[f32],
    (n, height, width): (usize, usize, usize),
    from: StyleSource,
) -> [Vec<f32>; 2] {
    let stylizer = stylizer(model);
    let styles = bytes(2 * 20 * 16 * 3).into_iter().rev().collect::<Vec<_>>();
    let mut z = stylizer.encode(Images::new(Pixels::U8(&styles), &[2, 20, 16, 3]).unwrap(), 1).unwrap();
    // A negative deviation, which a Gaussian may draw.
    z[DIM / 2 + 7] = -9.0;
    let params: Vec<_> = (0..n)
        .map(|i| StyleParams {
            apply: i != 1,
            alpha: 0.4 + 0.2 * i as f32,
            beta: 0.9 - 0.3 * i as f32,
            style: Drawn::Index((i + 1) % 2),
        })
        .collect();
    let styles = match from {
        StyleSource::Bank(_) => Styles::Bank(Arc::new(Bank::new(z.clone(), DIM, stylizer.space(), None).unwrap())),
        StyleSource::Batch => Styles::Batch,
    };
    let images = Images::new(Pixels::F32(pixels), &[n, height, width, 3]).unwrap();
    let mut reference = vec![0.0; pixels.len()];
    let block = Sassl::new(0.8, (0.1, 0.3), (0.1, 0.3), styles).unwrap();
    block.apply(&stylizer, images, &params, PixelsMut::F32(&mut reference), 1).unwrap();

    let cuda = DeviceStylizer::new(model, exact).unwrap();
    let of = |space| layout(space, PixelType::F32, (height, width));
    let plan = cuda.apply(&of(Space::Images), &params, from, &of(Space::Out)).unwrap();
    let mut device = device(&cuda, Memory::of(pixels), 4 * pixels.len(), &z);
    device.run_all(&plan);
    let ours = bytemuck::cast_slice(&device.out.bytes()[..4 * pixels.len()]).to_vec();
    [ours, reference]
}

fn floats(n: usize) -> Vec<f32> {
    bytes(n).into_iter().map(|x| f32::from(x) / 255.0).collect()
}

#[test]
fn both_forms_are_those_of_the_cpu() {
    if Emulator::get().is_none() {
        return;
    }
    for (name, model, exact, (n, height, width), from) in [
        ("normalised", &*NORMALISED, true, (2, 17, 26), StyleSource::Batch),
        ("normalised", &NORMALISED, false, (1, 9, 12), StyleSource::Bank(2)),
        ("torchvision", &TORCHVISION, true, (1, 16, 24), StyleSource::Bank(2)),
        ("torchvision", &TORCHVISION, true, (1, 13, 18), StyleSource::Bank(2)),
        ("torchvision", &TORCHVISION, true, (2, 13, 18), StyleSource::Batch),
    ] {
        let pixels = floats(n * height * width * 3);
        let [ours, reference] = both(model, exact, &pixels, (n, height, width), from);
        let (most, mean) = apart(&ours, &reference);
        let what = format!("{name}, {height}x{width}, exact {exact}, {from:?}: {most} at most, {mean} in the mean");
        let moved = apart(&pixels, &reference).1;
        eprintln!("{what}, {moved} from the content");
        assert!(if exact { most < 0.01 } else { mean < 0.5 && most < 3.0 }, "{what}");
        assert!(moved > 10.0, "{what}: moved by {moved}");
    }
}

/// AdaIN has no special case for them: zero padding surrounds them with another colour, or their maps are constant and get the
/// style's means.
#[test]
fn images_of_one_colour_are_those_of_the_cpu() {
    if Emulator::get().is_none() {
        return;
    }
    let pixels: Vec<f32> = [0.8, 0.1, 0.35].into_iter().cycle().take(9 * 9 * 3).collect();
    for (name, model) in [("normalised", &*NORMALISED), ("torchvision", &TORCHVISION)] {
        let [ours, reference] = both(model, true, &pixels, (1, 9, 9), StyleSource::Bank(2));
        let (most, mean) = apart(&ours, &reference);
        assert!(most < 0.01, "{name}: {most} at most, {mean} in the mean");
    }
}

#[test]
fn style_vectors_are_those_of_the_cpu() {
    if Emulator::get().is_none() {
        return;
    }
    let (n, height, width) = (2, 11, 17);
    let pixels = bytes(n * height * width * 3);
    let images = Images::new(Pixels::U8(&pixels), &[n, height, width, 3]).unwrap();
    for model in [&*NORMALISED, &TORCHVISION] {
        let reference = stylizer(model).encode(images, 1).unwrap();
        let cuda = DeviceStylizer::new(model, true).unwrap();
        let plan = cuda.encode(&layout(Space::Images, PixelType::U8, (height, width)), n).unwrap();
        let mut device = device(&cuda, Memory::of(&pixels), 4 * reference.len(), &[0.0]);
        device.run_all(&plan);
        let ours: &[f32] = bytemuck::cast_slice(&device.out.bytes()[..4 * reference.len()]);
        let length = reference.iter().map(|x| x * x).sum::<f32>().sqrt();
        let off = ours.iter().zip(&reference).map(|(a, b)| (a - b) * (a - b)).sum::<f32>().sqrt();
        assert!(length > 1.0 && off < 1e-5 * length, "{:?}: {off} of {length}", model.network.predictor);
    }
}

#[test]
fn images_that_f_does_not_see_are_refused() {
    for (height, width) in [(8, 20), (20, 8)] {
        let cuda = DeviceStylizer::new(&TORCHVISION, false).unwrap();
        let error = cuda.encode(&layout(Space::Images, PixelType::U8, (height, width)), 1).unwrap_err().to_string();
        assert!(error.contains("9x9") && error.contains(&format!("{height}x{width}")), "{error}");
    }
}

/// The maps of a single large image take as much memory as a part of the batch may use.
#[test]
fn a_batch_of_large_images_is_computed_in_parts() {
    let cuda = DeviceStylizer::new(&TORCHVISION, false).unwrap();
    let of = |space| layout(space, PixelType::U8, (1100, 1000));
    let plan = |n: usize| {
        let one = StyleParams { apply: true, alpha: 0.2, beta: 0.2, style: Drawn::Index(0) };
        cuda.apply(&of(Space::Images), &vec![one; n], StyleSource::Bank(1), &of(Space::Out)).unwrap()
    };
    let (one, three) = (plan(1), plan(3));
    assert!(three.workspace() < one.workspace() + (1 << 10), "{} and {} bytes", three.workspace(), one.workspace());
    let mut ends: Vec<_> = three.launches.iter().filter(|launch| launch.kernel.name == "interpolate").collect();
    assert!(ends.len() == 3 && ends.iter().all(|end| end.grid[2] == 1), "{} parts", ends.len());
    ends.dedup_by(|a, b| a.args == b.args);
    assert_eq!(ends.len(), 3, "each has its rows");
}
