//! The CUDA kernels of Algorithm 1, run on the CPU by `tests/cuda/emulator.h`, against the scalar reference. Needs a C++
//! compiler.
#![allow(unsafe_code)]
use crate::style::{model, random, with_predictor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sassl::data::{Action, BatchStyles, Step, Styling, View, ViewParams, Views};
use sassl::image::{Dtype, Interpolation, Normalize, Output, Probability, RandomResizedCrop, RgbView, operation};
use sassl::kernels::cuda::{Arg, At, DeviceImages, Kernel, Launch, Number, PixelType, Plan, Space, Weights, stored};
use sassl::kernels::image::color::cuda::{Chain, DeviceFactor, FactorKind, jitter};
use sassl::kernels::image::color::turn_hue;
use sassl::kernels::image::planes::Planes;
use sassl::kernels::inference::convolution::cuda::{Conv, Source, Target};
use sassl::kernels::inference::feature_map::{Border, Pad};
use sassl::kernels::inference::layer_shape::Shape;
use sassl::kernels::inference::pixels::{Pixels, PixelsMut};
use sassl::kernels::isa::{Isa, KernelPath, Precision};
use sassl::random::Key;
use sassl::style::cuda::{DeviceStylizer, StyleSource};
use sassl::style::{Bank, Drawn, Images, Sassl, StyleParams, Styles, Stylizer};
use sassl::weights::Model;
use serde_json::json;
use std::collections::HashMap;
use std::ffi::c_void;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};

const DIM: usize = 6;

type Run = unsafe extern "C" fn(*mut *mut c_void, *const u32, *const u32, u32, u32) -> bool;

/// Returns the emulator's code for the kind of an argument: an address, `int`, `float`, or the size of a struct.
fn kind(arg: &Arg) -> u32 {
    match arg {
        Arg::At(_) | Arg::Null => 1,
        Arg::Int(_) => 2,
        Arg::Float(_) => 3,
        Arg::Struct(arg) => arg.size() as u32,
    }
}

/// Kernels compiled for the CPU.
pub(crate) struct Emulator {
    folder: tempfile::TempDir,
    compiled: HashMap<Kernel, libloading::Library>,
}

impl Emulator {
    /// Returns the emulator, or None if there is no C++ compiler.
    pub(crate) fn get() -> Option<&'static Mutex<Self>> {
        static ONE: OnceLock<Option<Mutex<Emulator>>> = OnceLock::new();
        let make = || {
            if Command::new("c++").arg("--version").output().is_err() {
                eprintln!("DID NOT RUN: CUDA kernels on the CPU need a C++ compiler called c++");
                return None;
            }
            Some(Mutex::new(Self { folder: tempfile::tempdir().unwrap(), compiled: HashMap::new() }))
        };
        ONE.get_or_init(make).as_ref()
    }

    fn compile(&mut self, kernel: &Kernel) -> &libloading::Library {
        let words =
            |text: &str, name: &str| text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == name);
        for (name, _) in &kernel.defines {
            let read = words(kernel.source, name) || words(include_str!("../../src/kernels/cuda/prelude.cuh"), name);
            assert!(read, "{} does not read {name}", kernel.name);
        }
        let (n, folder) = (self.compiled.len(), self.folder.path());
        self.compiled.entry(kernel.clone()).or_insert_with(|| {
            let (source, library) = (folder.join(format!("{n}.cpp")), folder.join(format!("{n}.so")));
            std::fs::write(&source, format!("{}\nEMULATE({})\n", kernel.text(), kernel.name)).unwrap();
            let emulator = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cuda/emulator.h");
            let made = Command::new("c++")
                // An undefined name in `#if` is one that Rust and the kernel do not share.
                .args(["-std=c++17", "-O2", "-shared", "-fPIC", "-DEMULATED", "-Werror=undef", "-include"])
                .args([&emulator, &source, Path::new("-o"), &library])
                .output()
                .unwrap();
            assert!(made.status.success(), "{kernel:?}\n{}", String::from_utf8_lossy(&made.stderr));
            // SAFETY: our own library, which does nothing on load.
            unsafe { libloading::Library::new(&library).unwrap() }
        })
    }
}

/// Memory with the alignment of four floats.
pub(crate) struct Memory(Vec<u128>);

impl Memory {
    /// Allocates memory filled with NaNs.
    pub(crate) fn new(bytes: usize) -> Self {
        Self(vec![u128::MAX; bytes.div_ceil(16) + 1])
    }

    pub(crate) fn of<T: bytemuck::Pod>(numbers: &[T]) -> Self {
        let from: &[u8] = bytemuck::cast_slice(numbers);
        let mut memory = Self::new(from.len());
        memory.bytes()[..from.len()].copy_from_slice(from);
        memory
    }

    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
}

pub(crate) struct Device {
    pub(crate) weights: Memory,
    pub(crate) workspace: Memory,
    /// The offset of the plan's words in the workspace.
    pub(crate) words: usize,
    pub(crate) images: Memory,
    pub(crate) out: Memory,
    pub(crate) styles: Memory,
}

impl Device {
    /// Creates a device without memory.
    pub(crate) fn empty() -> Self {
        let [weights, workspace, images, out, styles] = [(); 5].map(|()| Memory::new(0));
        Self { weights, workspace, words: 0, images, out, styles }
    }

    /// Writes values to the workspace, starting at element `first` of the array at `at`.
    pub(crate) fn write(&mut self, at: At, first: usize, number: Number, values: impl Iterator<Item = f32>) {
        for (n, x) in values.enumerate() {
            let to = &mut self.workspace.bytes()[at.bytes + (first + n) * number.size()..];
            match number {
                Number::F16 => to[..2].copy_from_slice(&half::f16::from_f32(x).to_le_bytes()),
                Number::F32 => to[..4].copy_from_slice(&x.to_le_bytes()),
            }
        }
    }

    /// Reads `count` values, starting at element `first` of the array at `at`.
    pub(crate) fn read(&mut self, at: At, first: usize, number: Number, count: usize) -> Vec<f32> {
        let bytes = &self.workspace.bytes()[at.bytes + first * number.size()..][..count * number.size()];
        match number {
            Number::F16 => bytemuck::pod_collect_to_vec::<u8, half::f16>(bytes).iter().map(|x| x.to_f32()).collect(),
            Number::F32 => bytemuck::pod_collect_to_vec(bytes),
        }
    }

    fn address(&mut self, at: At) -> *mut c_void {
        let (memory, begin) = match at.space {
            Space::Weights => (&mut self.weights, 0),
            Space::Workspace => (&mut self.workspace, 0),
            Space::Words => (&mut self.workspace, self.words),
            Space::Images => (&mut self.images, 0),
            Space::Out => (&mut self.out, 0),
            Space::Styles => (&mut self.styles, 0),
        };
        memory.bytes()[begin + at.bytes..].as_mut_ptr().cast()
    }

    pub(crate) fn run(&mut self, emulator: &mut Emulator, launch: &Launch) {
        assert!(launch.block <= 1024 && launch.shared <= sassl::kernels::cuda::SHARED, "{launch:?}");
        assert!(launch.grid[1] < 65_536 && launch.grid[2] < 65_536, "{launch:?}");
        let mut values: Vec<Vec<u64>> =
            launch.args.iter().map(|arg| arg.placed(|at| self.address(at) as u64)).collect();
        let mut pointers: Vec<*mut c_void> = values.iter_mut().map(|value| value.as_mut_ptr().cast()).collect();
        let kinds: Vec<u32> = launch.args.iter().map(kind).chain([0]).collect();
        let library = emulator.compile(&launch.kernel);
        // SAFETY: the emulator's function, which checks the kinds of the arguments against the kernel's before it reads them.
        let fits = unsafe {
            let run: libloading::Symbol<Run> = library.get(b"launch").unwrap();
            run(pointers.as_mut_ptr(), kinds.as_ptr(), launch.grid.as_ptr(), launch.block, launch.shared as u32)
        };
        assert!(fits, "the kernel has other arguments: {launch:?}");
    }

    pub(crate) fn run_all(&mut self, plan: &Plan) {
        let mut emulator = Emulator::get().unwrap().lock().unwrap();
        (self.workspace, self.words) = (Memory::new(plan.workspace()), plan.words_at());
        plan.launches.iter().for_each(|launch| self.run(&mut emulator, launch));
    }
}

/// `[n][height][width][3]`, dense.
pub(crate) fn layout(space: Space, pixels: PixelType, (height, width): (usize, usize)) -> DeviceImages {
    let (h, w) = (height as i64, width as i64);
    DeviceImages { at: space.into(), pixels, strides: [3 * h * w, 3 * w, 3, 1].into(), height, width }
}

pub(crate) fn bytes(n: usize) -> Vec<u8> {
    let mut generator = ChaCha8Rng::seed_from_u64(9);
    // Images are smoother than noise.
    (0..n).map(|i| ((i as f32 / 40.0).sin() * 90.0 + 128.0) as u8 ^ generator.random_range(0..32)).collect()
}

pub(crate) fn device(cuda: &DeviceStylizer, images: Memory, out: usize, styles: &[f32]) -> Device {
    Device {
        weights: Memory::of(cuda.weights()),
        workspace: Memory::new(0),
        words: 0,
        images,
        out: Memory::new(out),
        styles: Memory::of(styles),
    }
}

/// Models with every kind of layer: dense and separable, each kernel size, upsampled or not, both predictors.
fn models() -> Vec<(&'static str, Model)> {
    let cnn = json!({"kind": "cnn", "size": 48, "smallest": 32, "channels": [5, 20, 33], "dim": DIM});
    let small = |transformer| random(json!({"predictor": cnn.clone(), "transformer": transformer}), 4);
    vec![
        ("like lite", model(1)),
        (
            "like the mobile pair",
            small(json!({
                "dim": DIM,
                "contract": [{"kernel": 9, "stride": 1, "channels": 8}, {"kernel": 3, "stride": 2, "channels": 24}],
                "residual": {"blocks": 1, "separable": false},
                "expand": [{"kernel": 3, "channels": 8, "separable": true}],
                "head": {"kernel": 9, "upsample": false, "separable": true, "skip": false},
            })),
        ),
        (
            "dense, with a skip at full size",
            small(json!({
                "dim": DIM,
                "contract": [{"kernel": 5, "stride": 2, "channels": 70}],
                "residual": {"blocks": 1, "separable": false},
                "expand": [{"kernel": 5, "channels": 12, "separable": false}],
                "head": {"kernel": 7, "upsample": false, "separable": false, "skip": true},
            })),
        ),
        (
            "a separable head that upsamples",
            small(json!({
                "dim": DIM,
                "contract": [{"kernel": 3, "stride": 2, "channels": 16}],
                "residual": {"blocks": 0, "separable": false},
                "expand": [],
                "head": {"kernel": 5, "upsample": true, "separable": true, "skip": false},
            })),
        ),
        (
            "contracting layers with norms, as styleaug's",
            small(json!({
                "dim": DIM,
                "contract": [{"kernel": 5, "stride": 1, "channels": 8}, {"kernel": 3, "stride": 2, "channels": 12}],
                "contract_norm": true,
                "residual": {"blocks": 1, "separable": false},
                "expand": [{"kernel": 3, "channels": 8, "separable": false}],
                "head": {"kernel": 5, "upsample": false, "separable": false, "skip": false},
            })),
        ),
        (
            "maps narrower than their padding",
            small(json!({
                "dim": DIM,
                "contract": [{"kernel": 3, "stride": 2, "channels": 4}, {"kernel": 15, "stride": 2, "channels": 8}],
                "residual": {"blocks": 0, "separable": false},
                "expand": [{"kernel": 3, "channels": 4, "separable": false}],
                "head": {"kernel": 3, "upsample": true, "separable": false, "skip": false},
            })),
        ),
    ]
}

pub(crate) fn bank(n: usize) -> Vec<f32> {
    (0..n * DIM).map(|i| (i as f32).sin()).collect()
}

fn params(n: usize) -> Vec<StyleParams> {
    let one = |i: usize| StyleParams {
        apply: i % 3 != 1,
        alpha: 0.1 + 0.2 * i as f32,
        beta: 0.3 + 0.2 * i as f32,
        style: Drawn::Index((i + 1) % n),
    };
    (0..n).map(one).collect()
}

/// Returns the largest and the mean difference, in grey levels.
pub(crate) fn apart(ours: &[f32], reference: &[f32]) -> (f32, f32) {
    let off: Vec<f32> = ours.iter().zip(reference).map(|(a, b)| (a - b).abs() * 255.0).collect();
    assert!(off.iter().all(|x| x.is_finite()));
    (off.iter().copied().fold(0.0, f32::max), off.iter().sum::<f32>() / off.len() as f32)
}

#[test]
fn algorithm_1_is_that_of_the_cpu() {
    if Emulator::get().is_none() {
        return;
    }
    for (name, model) in models() {
        let stylizer = Stylizer::new(&model, KernelPath::new(Isa::Scalar, Precision::Exact)).unwrap();
        for (exact, (height, width), from) in [
            (true, (21, 18), StyleSource::Bank(4)),
            (false, (24, 35), StyleSource::Batch),
            (false, (8, 19), StyleSource::Bank(4)),
        ] {
            let n = 3;
            let size = n * height * width * 3;
            let pixels: Vec<f32> = bytes(size).into_iter().map(|x| f32::from(x) / 255.0).collect();
            let (z, params) = (bank(4), params(n));
            let styles = match from {
                StyleSource::Bank(_) => {
                    Styles::Bank(Arc::new(Bank::new(z.clone(), DIM, stylizer.space(), None).unwrap()))
                }
                StyleSource::Batch => Styles::Batch,
            };
            let images = Images::new(Pixels::F32(&pixels), &[n, height, width, 3]).unwrap();
            let mut reference = vec![0.0; size];
            let block = Sassl::new(0.8, (0.1, 0.3), (0.1, 0.3), styles).unwrap();
            block.apply(&stylizer, images, &params, PixelsMut::F32(&mut reference), 1).unwrap();

            let cuda = DeviceStylizer::new(&model, exact).unwrap();
            let of = |space| layout(space, PixelType::F32, (height, width));
            let plan = cuda.apply(&of(Space::Images), &params, from, &of(Space::Out)).unwrap();
            let mut device = device(&cuda, Memory::of(&pixels), 4 * size, &z);
            device.run_all(&plan);
            let ours: &[f32] = bytemuck::cast_slice(&device.out.bytes()[..4 * size]);
            let (most, mean) = apart(ours, &reference);
            let what = format!("{name}, {height}x{width}, exact {exact}, {from:?}: {most} at most, {mean} in the mean");
            eprintln!("{what}");
            assert!(if exact { most < 0.01 } else { mean < 0.5 && most < 12.0 }, "{what}");
            let (from, to) = (height * width * 3, 2 * height * width * 3);
            assert_eq!(ours[from..to], pixels[from..to], "{what}: an image that was not drawn");
        }
    }
}

/// Uses integers, whose sums do not depend on the order.
#[test]
fn a_convolution_is_the_sum_of_its_products() {
    if Emulator::get().is_none() {
        return;
    }
    let mut generator = ChaCha8Rng::seed_from_u64(2);
    let mut some = |n: usize| (0..n).map(|_| generator.random_range(-2..=2) as f32).collect::<Vec<_>>();
    let (height, width) = (11, 19);
    for ((rows, columns), stride, inputs, outputs) in [
        ((1, 1), 1, 3, 5),
        ((3, 3), 2, 3, 12),
        ((9, 9), 1, 4, 3),
        ((1, 1), 1, 70, 96),
        ((3, 3), 1, 40, 70),
        ((1, 7), 1, 40, 24),
        ((7, 1), 1, 3, 16),
    ] {
        let shape = Shape { stride, kernel: (rows, columns), ..Shape::plain(inputs, outputs, 1) };
        let (x, weight, bias) = (some(height * width * inputs), some(outputs * inputs * shape.taps()), some(outputs));
        for (number, border) in [(Number::F16, Border::Reflect), (Number::F32, Border::Edge)] {
            let mut weights = Weights::default();
            let conv = Conv::new(number, shape, &weight, Some(&bias), &mut weights);
            let mut plan = Plan::new(number);
            let map = plan.room.stored(number, 1, (height, width), inputs);
            let pad = Pad { top: rows / 2, left: columns / 2, bottom: rows / 2, right: columns / 2 };
            let source = Source::Map(&map, None);
            // As a map of its own, or as a slice between other channels.
            let (slice, others) = if outputs.is_multiple_of(8) { (Some(8), 16) } else { (None, 0) };
            let y = conv.output(source, pad, stored(outputs) + others, &mut plan.room);
            let launch = conv.launch(source, pad, border, Target { map: &y, slice, skip: None, moments: None });
            let workspace = Memory::new(plan.workspace());
            let mut device = Device { weights: Memory::of(&weights.bytes), workspace, ..Device::empty() };
            for (n, pixel) in x.chunks(inputs).enumerate() {
                let stored = pixel.iter().copied().chain(std::iter::repeat(0.0)).take(map.channels);
                device.write(map.at, n * map.channels, number, stored);
            }
            device.run(&mut Emulator::get().unwrap().lock().unwrap(), &launch);
            for (row, column) in (0..y.height).flat_map(|row| (0..y.width).map(move |column| (row, column))) {
                let at = (row * y.width + column) * y.channels;
                let ours = device.read(y.at, at + slice.unwrap_or(0), number, outputs);
                let mut beside = |from: usize| device.read(y.at, at + from, number, 8).iter().all(|x| x.is_nan());
                assert!(slice.is_none() || (beside(0) && beside(8 + outputs)), "{shape:?} wrote beside its channels");
                let inside = |o: usize, t: usize, pad: usize, n: usize| {
                    border.index((o * stride + t) as isize - pad as isize, n)
                };
                let mut reference = bias.clone();
                for tap in 0..shape.taps() {
                    let from =
                        (inside(row, tap / columns, pad.top, height), inside(column, tap % columns, pad.left, width));
                    let (Some(from_row), Some(from_column)) = from else { continue };
                    let pixel = &x[(from_row * width + from_column) * inputs..][..inputs];
                    for (o, sum) in reference.iter_mut().enumerate() {
                        let weight =
                            pixel.iter().enumerate().map(|(c, x)| x * weight[(o * inputs + c) * shape.taps() + tap]);
                        *sum += weight.sum::<f32>();
                    }
                }
                assert_eq!(ours, reference, "{shape:?}, {number:?}, {border:?}, row {row}, column {column}");
            }
        }
    }
}

#[test]
fn an_image_of_one_colour_becomes_one_colour() {
    if Emulator::get().is_none() {
        return;
    }
    let (height, width) = (21, 18);
    let each = height * width * 3;
    let mut pixels: Vec<u8> = [200, 30, 90].into_iter().cycle().take(3 * each).collect();
    // The other images differ in their last value, and in one beyond the pixels that are compared first.
    pixels[2 * each - 1] ^= 1;
    pixels[2 * each + each / 2] ^= 1;
    let params: Vec<StyleParams> =
        params(4).into_iter().take(3).map(|one| StyleParams { apply: true, beta: 1.0, ..one }).collect();
    let z = bank(4);
    for (name, model) in models().into_iter().take(2) {
        let stylizer = Stylizer::new(&model, KernelPath::new(Isa::Scalar, Precision::Exact)).unwrap();
        let styles = Styles::Bank(Arc::new(Bank::new(z.clone(), DIM, stylizer.space(), None).unwrap()));
        let images = Images::new(Pixels::U8(&pixels), &[3, height, width, 3]).unwrap();
        let mut reference = vec![0; pixels.len()];
        let block = Sassl::new(0.8, (0.1, 0.3), (0.1, 0.3), styles).unwrap();
        block.apply(&stylizer, images, &params, PixelsMut::U8(&mut reference), 1).unwrap();
        for exact in [true, false] {
            let cuda = DeviceStylizer::new(&model, exact).unwrap();
            let of = |space| layout(space, PixelType::U8, (height, width));
            let plan = cuda.apply(&of(Space::Images), &params, StyleSource::Bank(4), &of(Space::Out)).unwrap();
            let mut device = device(&cuda, Memory::of(&pixels), pixels.len(), &z);
            device.run_all(&plan);
            let ours = &device.out.bytes()[..pixels.len()];
            let flat = |image: usize| {
                let image = &ours[image * each..][..each];
                image.iter().skip(3).eq(image.iter().take(each - 3))
            };
            assert!(flat(0) && !flat(1) && !flat(2), "{name}, exact {exact}");
            // F's z may be rounded differently.
            let near = ours[..3].iter().zip(&reference[..3]).all(|(a, b)| a.abs_diff(*b) <= 1);
            assert!(near, "{name}, exact {exact}: {:?}, not {:?}", &ours[..3], &reference[..3]);
        }
    }
}

#[test]
fn magentas_predictors_are_those_of_the_cpu() {
    if Emulator::get().is_none() {
        return;
    }
    let mobile = json!({"kind": "mobilenet_v2", "size": 32, "dim": DIM});
    let inception = json!({"kind": "inception_v3", "activation": "relu6", "pools_count_zeros": false, "dim": DIM});
    for predictor in [mobile, inception] {
        let model = with_predictor(predictor, 4);
        let (n, height, width) = (2, 43, 50);
        let pixels = bytes(n * height * width * 3);
        let images = Images::new(Pixels::U8(&pixels), &[n, height, width, 3]).unwrap();
        let path = KernelPath::new(Isa::detect().unwrap(), Precision::Exact);
        let reference = Stylizer::new(&model, path).unwrap().encode(images, 1).unwrap();
        let cuda = DeviceStylizer::new(&model, false).unwrap();
        let plan = cuda.encode(&layout(Space::Images, PixelType::U8, (height, width)), n).unwrap();
        let mut device = device(&cuda, Memory::of(&pixels), 4 * reference.len(), &[0.0]);
        device.run_all(&plan);
        let ours: &[f32] = bytemuck::cast_slice(&device.out.bytes()[..4 * reference.len()]);
        let length = reference.iter().map(|x| x * x).sum::<f32>().sqrt();
        let off = ours.iter().zip(&reference).map(|(a, b)| (a - b) * (a - b)).sum::<f32>().sqrt();
        assert!(length > 1e-3 && off < 0.01 * length, "{:?}: {off} of {length}", model.network.predictor);
    }
}

/// Creates an operation that is applied with this probability.
fn image(kind: &str, name: &str, p: f32, settings: &serde_json::Value) -> Step {
    let operation = operation(kind, &settings.to_string()).unwrap();
    Step { name: name.into(), action: Action::Image(operation, Probability::constant(p).unwrap()) }
}

fn crop(interpolation: Interpolation) -> Step {
    let crop = RandomResizedCrop::new((0.08, 1.0), (0.75, 1.333)).unwrap();
    Step { name: "crop".into(), action: Action::Crop(crop, interpolation) }
}

/// Creates two views with the recipes' operations, all of them likely; `style` returns the steps before and after the crop.
fn two_views(
    form: &str,
    taps: Option<usize>,
    interpolation: Interpolation,
    size: (usize, usize),
    output: (Dtype, bool),
    style: impl Fn(usize) -> [Vec<Step>; 2],
) -> Views {
    let view = |which| {
        let [before, after] = style(which);
        let jitter = json!({"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.2, "form": form});
        let others = [
            image("rotation", "rotation", 0.3, &json!({"degrees": [-90.0, 90.0]})),
            image("horizontal_flip", "horizontal_flip", 0.5, &json!({})),
            image("vertical_flip", "vertical_flip", 0.3, &json!({})),
            image("color_jitter", "color_jitter", 0.8, &jitter),
            image("grayscale", "grayscale", 0.2, &json!({})),
            image("gaussian_blur", "gaussian_blur", 0.6, &json!({"sigma": [0.1, 9.0], "kernel_size": taps})),
            image("solarize", "solarize", 0.3, &json!({"threshold": 128})),
        ];
        let steps = before.into_iter().chain([crop(interpolation)]).chain(after).chain(others);
        View::new(steps.collect(), size, self::output(output)).unwrap()
    };
    Views::new(Isa::detect().unwrap(), vec![view(0), view(1)]).unwrap()
}

/// Creates one view with all operations, in an order that no recipe has.
fn another_order(size: (usize, usize), dtype: Dtype) -> Views {
    let jitter = json!({"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.2, "form": "torchvision"});
    let shear = [-20.0, 20.0, -9.0, 9.0];
    let affine = json!({"degrees": [-40.0, 40.0], "translate": [0.2, 0.1], "scale": [0.7, 1.4], "shear": shear});
    let taps = json!({"sigma": [0.5, 2.0], "kernel_size": 5});
    let boxes = json!({"sigma": [0.5, 2.0], "kernel_size": null});
    let steps = vec![
        crop(Interpolation::Bilinear),
        image("solarize", "first", 0.5, &json!({"threshold": 100})),
        image("horizontal_flip", "flip", 0.5, &json!({})),
        image("color_jitter", "jitter", 0.7, &jitter),
        image("gaussian_blur", "taps", 0.6, &taps),
        image("color_jitter", "again", 0.7, &jitter),
        image("affine", "affine", 0.5, &affine),
        image("posterize", "posterize", 0.5, &json!({"bits": 3})),
        image("grayscale", "gray", 0.3, &json!({})),
        image("gaussian_blur", "boxes", 0.5, &boxes),
        image("vertical_flip", "other flip", 0.5, &json!({})),
        image("solarize", "second", 0.5, &json!({"threshold": 50})),
        image("solarize", "third", 0.5, &json!({"threshold": 200})),
        image("gaussian_blur", "more taps", 0.6, &taps),
        image("solarize", "last", 0.5, &json!({"threshold": 150})),
    ];
    let view = View::new(steps, size, output((dtype, false))).unwrap();
    Views::new(Isa::detect().unwrap(), vec![view]).unwrap()
}

fn output((dtype, channels_last): (Dtype, bool)) -> Output {
    let normalize = if dtype == Dtype::U8 { Normalize::NONE } else { NORMALIZE };
    Output::new(dtype, normalize, channels_last).unwrap()
}

const NORMALIZE: Normalize = Normalize { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };

/// Samples the draws for a batch of images of this size.
pub(crate) fn draws(views: &Views, size: (usize, usize), n: usize) -> Vec<Vec<ViewParams>> {
    let key = |i| Key { seed: 5, epoch: 0, index: i as u64, view: 0 };
    (0..n).map(|i| views.sample(key(i), size, (i, n))).collect()
}

/// Returns the location of each view of a batch in the output: one view of all images after the other.
pub(crate) fn places(views: &Views, n: usize) -> Vec<DeviceImages> {
    let mut first = 0;
    let place = |view: &View| {
        let (height, width) = view.size();
        let pixels = match view.output().dtype() {
            Dtype::U8 => PixelType::U8,
            Dtype::F16 => PixelType::F16,
            Dtype::F32 => PixelType::F32,
        };
        let dense = layout(Space::Out, pixels, (height, width));
        let planar = [3 * height * width, width, 1, height * width].map(|x| x as i64);
        let strides = if view.output().channels_last() { dense.strides } else { planar.into() };
        let bytes = first;
        first += n * view.bytes();
        DeviceImages { at: At { space: Space::Out, bytes }, strides, ..dense }
    };
    views.views().iter().map(place).collect()
}

/// A batch of images, its draws, and the bytes of all views as computed on the CPU, `[view][image]`, each in the view's layout.
pub(crate) struct Batch {
    pub(crate) size: (usize, usize),
    pub(crate) pixels: Vec<u8>,
    pub(crate) params: Vec<Vec<ViewParams>>,
    pub(crate) reference: Vec<u8>,
}

impl Batch {
    pub(crate) fn image(&self, i: usize) -> RgbView<'_> {
        let (height, width) = self.size;
        RgbView { height, width, bytes: &self.pixels[i * height * width * 3..][..height * width * 3] }
    }
}

/// Computes the bytes of all views of a batch, with the kernels and on the CPU.
fn both(views: &Views, size: (usize, usize), n: usize, style: Option<(&DeviceStylizer, StyleSource)>) -> [Vec<u8>; 2] {
    let batch = on_the_cpu(views, size, n);
    let images = layout(Space::Images, PixelType::U8, size);
    let plan = views.plan(&images, &batch.params, &places(views, n), style).unwrap();
    [run_plan(&plan, Memory::of(&batch.pixels), batch.reference.len(), style), batch.reference]
}

/// Runs a plan on this image memory, and returns `out` bytes of output.
pub(crate) fn run_plan(
    plan: &Plan,
    images: Memory,
    out: usize,
    style: Option<(&DeviceStylizer, StyleSource)>,
) -> Vec<u8> {
    let none = DeviceStylizer::new(&model(1), false).unwrap();
    let cuda = style.map_or(&none, |style| style.0);
    let mut device = device(cuda, images, out, &bank(4));
    device.run_all(plan);
    device.out.bytes()[..out].to_vec()
}

pub(crate) fn on_the_cpu(views: &Views, (height, width): (usize, usize), n: usize) -> Batch {
    let pixels = bytes(n * height * width * 3);
    let params = draws(views, (height, width), n);
    let mut made = Batch { size: (height, width), pixels, params, reference: vec![] };
    let image = |i: usize| made.image(i);
    let params = &made.params;
    let z: Vec<f32> = (0..n).flat_map(|i| views.encode(image(i), &params[i]).unwrap()).collect();
    let all = n * views.views().iter().map(View::bytes).sum::<usize>();
    let mut reference = Memory::new(all);
    for (i, params) in params.iter().enumerate() {
        let mut rest = &mut reference.bytes()[..all];
        let mut out = vec![];
        for view in views.views() {
            let (own, others) = rest.split_at_mut(n * view.bytes());
            out.push(&mut own[i * view.bytes()..][..view.bytes()]);
            rest = others;
        }
        let batch = views.needs_batch().then_some(BatchStyles { z: &z, place: i });
        views.apply(image(i), params, batch, out).unwrap();
    }
    made.reference = reference.bytes()[..all].to_vec();
    made
}

/// The views, the size of the images, and their number.
pub(crate) type Case = (Views, (usize, usize), usize);

/// Small views; views that are not whole tiles or words; more taps than a tile holds; lines longer than a block holds.
pub(crate) fn cases() -> Vec<Case> {
    use Interpolation::{Bicubic, Bilinear};
    let of = |form, taps, interpolation, size, output| {
        two_views(form, taps, interpolation, size, output, |_| [vec![], vec![]])
    };
    vec![
        (of("torchvision", Some(5), Bilinear, (17, 14), (Dtype::F32, false)), (40, 25), 8),
        (of("byol", None, Bicubic, (17, 14), (Dtype::F16, true)), (40, 25), 8),
        (of("torchvision", None, Bicubic, (16, 20), (Dtype::U8, false)), (25, 40), 8),
        (of("byol", Some(23), Bilinear, (70, 68), (Dtype::U8, true)), (90, 41), 4),
        (of("torchvision", Some(185), Bilinear, (96, 101), (Dtype::F32, true)), (31, 60), 3),
        (of("torchvision", None, Bilinear, (3, 3100), (Dtype::F16, false)), (30, 20), 3),
        (of("byol", None, Bilinear, (1600, 7), (Dtype::F32, false)), (20, 30), 3),
        (another_order((17, 14), Dtype::F32), (40, 25), 24),
        (another_order((20, 31), Dtype::U8), (25, 40), 24),
    ]
}

#[test]
fn views_are_those_of_the_cpu_to_the_bit() {
    if Emulator::get().is_none() {
        return;
    }
    for (which, (views, size, n)) in cases().into_iter().enumerate() {
        let [ours, reference] = both(&views, size, n, None);
        let wrong = ours.iter().zip(&reference).filter(|(a, b)| a != b).count();
        assert_eq!(wrong, 0, "of {} bytes; case {which}", reference.len());
    }
}

/// Bounds the launches for views of 64 images, with each step drawn for some: a step costs a launch, not one per image.
#[test]
fn a_batch_of_views_takes_few_launches() {
    let most = [22, 24, 24, 22, 29, 24, 24, 26, 26];
    for (which, ((views, size, _), most)) in cases().into_iter().zip(most).enumerate() {
        let images = layout(Space::Images, PixelType::U8, size);
        let plan = views.plan(&images, &draws(&views, size, 64), &places(&views, 64), None).unwrap();
        assert!(
            plan.launches.len() <= most,
            "{} launches, where {most} were enough; case {which}",
            plan.launches.len()
        );
    }
}

/// `color.cu` divides by means of an approximate reciprocal.
#[test]
fn a_reciprocal_divides_bytes_as_a_division_does() {
    for by in 1..=255u8 {
        for off in -2..=2 {
            let inverse = f32::from_bits((1.0 / f32::from(by)).to_bits().wrapping_add_signed(off));
            for x in 0..=255u8 {
                let (x, by) = (f32::from(x), f32::from(by));
                let near = x * inverse;
                assert_eq!((-near).mul_add(by, x).mul_add(inverse, near), x / by, "{x} / {by}, {off} off");
            }
        }
    }
}

#[test]
fn every_colour_turns_as_on_the_cpu() {
    if Emulator::get().is_none() {
        return;
    }
    let side = 1 << 12;
    let mut colours = Planes::new(side, side);
    for (c, colour) in colours.colors_mut().into_iter().enumerate() {
        colour.iter_mut().enumerate().for_each(|(i, x)| *x = (i >> (8 * c)) as u8);
    }
    for by in [0.0, 0.3, -0.45] {
        let mut plan = Plan::new(Number::F16);
        let chain = Chain::new([Some(DeviceFactor::new(FactorKind::Hue, by)), None, None, None], false);
        jitter(Space::Images.into(), side * side, &[(0, chain)], &mut plan);
        let none = DeviceStylizer::new(&model(1), false).unwrap();
        let mut device = device(&none, Memory::of(colours.as_slice()), 0, &[0.0]);
        device.run_all(&plan.finish());
        let mut reference = colours.clone();
        turn_hue(Isa::detect().unwrap(), (by * 255.0) as i32 as u8, &mut reference);
        assert!(device.images.bytes()[..3 * side * side] == *reference.as_slice(), "{by}");
    }
}

/// Creates views with style, before or after the crop: both views, or for in-batch styles only the left one.
pub(crate) fn styled(stylizer: &Arc<Stylizer>, styles: Styles, before: bool) -> Views {
    let of_batch = matches!(styles, Styles::Batch);
    let sassl = Sassl::new(0.9, (0.1, 0.3), (0.3, 0.5), styles).unwrap();
    let style = |which| {
        let p = Probability::constant(0.9).unwrap();
        let action = Action::Style(Styling { stylizer: stylizer.clone(), sassl: sassl.clone(), p });
        let step = Step { name: "sassl".into(), action };
        match (which == 0 || !of_batch, before) {
            (false, _) => [vec![], vec![]],
            (true, true) => [vec![step], vec![]],
            (true, false) => [vec![], vec![step]],
        }
    };
    two_views("torchvision", Some(5), Interpolation::Bilinear, (17, 14), (Dtype::F32, false), style)
}

#[test]
fn styled_views_are_those_of_the_cpu() {
    if Emulator::get().is_none() {
        return;
    }
    let model = model(1);
    let stylizer = Arc::new(Stylizer::new(&model, KernelPath::new(Isa::Scalar, Precision::Exact)).unwrap());
    let cuda = DeviceStylizer::new(&model, true).unwrap();
    for (from, before) in [(StyleSource::Bank(4), false), (StyleSource::Batch, false), (StyleSource::Bank(4), true)] {
        let styles = match from {
            StyleSource::Bank(_) => Styles::Bank(Arc::new(Bank::new(bank(4), DIM, stylizer.space(), None).unwrap())),
            StyleSource::Batch => Styles::Batch,
        };
        let views = styled(&stylizer, styles, before);
        let [ours, reference] = both(&views, (40, 25), 3, Some((&cuda, from)));
        let [ours, reference] = [&ours, &reference].map(|bytes| bytemuck::pod_collect_to_vec::<u8, f32>(bytes));
        // In byte levels before normalization; a change of hue may exceed the bound for single values.
        let off: Vec<f32> = ours.iter().zip(&reference).map(|(a, b)| (a - b).abs() * 0.226 * 255.0).collect();
        assert!(ours.iter().all(|x| x.is_finite()));
        let far = off.iter().filter(|&&off| off > 1.5).count();
        assert!(far * 1000 <= off.len(), "{far} of {} numbers; {from:?}, {before}", off.len());
    }
}

/// Needs NVRTC on the loader's path, but no GPU.
#[cfg(feature = "cuda")]
#[test]
fn every_kernel_compiles_for_every_architecture() {
    use crate::adain;
    use sassl::kernels::cuda::compiler;
    if let Err(error) = compiler::version() {
        eprintln!("DID NOT RUN: {error}");
        return;
    }
    let mut kernels = std::collections::HashSet::new();
    for (_, model) in models() {
        for (exact, pixels) in [(true, PixelType::F32), (false, PixelType::U8), (false, PixelType::BF16)] {
            let of = |space| layout(space, pixels, (40, 40));
            let cuda = DeviceStylizer::new(&model, exact).unwrap();
            let plan = cuda.apply(&of(Space::Images), &params(3), StyleSource::Batch, &of(Space::Out)).unwrap();
            kernels.extend(plan.launches.into_iter().map(|launch| launch.kernel));
        }
    }
    for model in [&*adain::NORMALISED, &adain::TORCHVISION] {
        let of = |space| layout(space, PixelType::U8, (40, 40));
        let cuda = DeviceStylizer::new(model, false).unwrap();
        let plan = cuda.apply(&of(Space::Images), &params(3), StyleSource::Batch, &of(Space::Out)).unwrap();
        // Its convolutions are of the kinds compiled above.
        let others = plan.launches.into_iter().map(|launch| launch.kernel).filter(|kernel| kernel.name != "conv");
        kernels.extend(others);
    }
    for (views, size, n) in cases() {
        let images = layout(Space::Images, PixelType::U8, size);
        let plan = views.plan(&images, &draws(&views, size, n), &places(&views, n), None).unwrap();
        kernels.extend(plan.launches.into_iter().map(|launch| launch.kernel));
    }
    for arch in [75, 80, 86, 89, 90, 100, 120] {
        for kernel in &kernels {
            assert!(!compiler::compile(kernel, arch).unwrap().is_empty());
        }
    }
}
