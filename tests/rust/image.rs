//! `image/` and its kernels: each path against the others, draws within their ranges, bytes that are not images.
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sassl::image::*;
use sassl::kernels::isa::Isa;
use sassl::random::{Generator, Key};
use sha2::{Digest, Sha256};
use std::path::Path;

fn pixels(generator: &mut ChaCha8Rng, height: usize, width: usize) -> RgbImage {
    RgbImage { height, width, bytes: (0..3 * height * width).map(|_| generator.random()).collect() }
}

fn planes(isa: Isa, pixels: &RgbImage) -> Planes {
    let mut planes = Planes::default();
    planes.fill(isa, pixels.height, pixels.width, &pixels.bytes);
    planes
}

fn generator(index: u64) -> Generator {
    Key { index, ..Key::default() }.generator()
}

#[test]
fn paths_agree_to_the_bit() {
    let mut numbers = ChaCha8Rng::seed_from_u64(0);
    let mut gray = vec![];
    for (height, width) in [(1, 1), (2, 3), (17, 33), (40, 64), (31, 131)] {
        let image = pixels(&mut numbers, height, width);
        let crop = Crop { top: height / 3, left: width / 4, height: height.div_ceil(2), width: width.div_ceil(2) };
        let made = |isa: Isa, gray: &mut Vec<u8>| {
            let mut all = vec![];
            let torchvisions =
                [Factor::Brightness(1.3), Factor::Contrast(0.6), Factor::Saturation(1.7), Factor::Hue(-0.1)];
            let byols = [Factor::Shift(0.3), Factor::ColorContrast(1.4), Factor::HsvSaturation(1.2)];
            for factor in torchvisions.into_iter().chain(byols) {
                let mut planes = planes(isa, &image);
                factor.apply(isa, &mut planes, gray);
                all.push(planes);
            }
            for sigma in [0.1, 0.9, 2.0, 5.0, 300.0] {
                let mut planes = planes(isa, &image);
                box_blur(isa, &mut planes, sigma, &mut Default::default()).unwrap();
                all.push(planes);
            }
            let mut changed = planes(isa, &image);
            grayscale(isa, &mut changed, gray);
            all.push(changed);
            let mut changed = planes(isa, &image);
            solarize(isa, changed.as_mut_slice(), 100);
            all.push(changed);
            for size in [(1, 1), (5, 70), (33, 17)] {
                for interpolation in [Interpolation::Bilinear, Interpolation::Bicubic] {
                    let (mut out, mut pixels) = (Planes::new(size.0, size.1), vec![0; 3 * size.0 * size.1]);
                    for to in [Resampled::Planes(&mut out), Resampled::Pixels(&mut pixels, size)] {
                        resized_crop(isa, image.view(), crop, interpolation, to, &mut Default::default()).unwrap();
                    }
                    let mut same = Planes::default();
                    same.fill(isa, size.0, size.1, &pixels);
                    assert!(same == out, "{}: pixels are planes", isa.name());
                    all.push(out);
                }
            }
            all
        };
        let reference = made(Isa::Scalar, &mut gray);
        for isa in Isa::supported() {
            assert!(made(isa, &mut gray) == reference, "{} {height}x{width}", isa.name());
            let mut back = vec![0; image.bytes.len()];
            planes(isa, &image).write(isa, &mut back);
            assert_eq!(back, image.bytes, "{} {height}x{width}", isa.name());
            let (mut flipped, mut out) = (planes(isa, &image), vec![0; image.bytes.len()]);
            flipped.flip_horizontally();
            flipped.write(isa, &mut out);
            assert_eq!(hflip(isa, image.view()), out, "{} {height}x{width}", isa.name());
        }
    }
}

/// The formulas of deepmind-research `byol/utils/augmentations.py`, in floats.
#[test]
fn byols_jitter_is_its_formula_within_rounding() {
    let image = pixels(&mut ChaCha8Rng::seed_from_u64(2), 30, 40);
    let n = 30 * 40;
    let isa = Isa::supported().last().unwrap();
    /// A function of the channel's index, a pixel and the channel means.
    type Formula<'a> = &'a dyn Fn(usize, &[f64; 3], &[f64; 3]) -> f64;
    let check = |factor: Factor, formula: Formula| {
        let before = planes(isa, &image);
        let mut after = before.clone();
        factor.apply(isa, &mut after, &mut vec![]);
        let means = before.colors().map(|color| color.iter().map(|&x| f64::from(x)).sum::<f64>() / n as f64);
        for i in 0..n {
            let pixel = before.colors().map(|color| f64::from(color[i]));
            for (c, color) in after.colors().iter().enumerate() {
                let expected = formula(c, &pixel, &means).clamp(0.0, 255.0);
                assert!((f64::from(color[i]) - expected).abs() < 0.51, "{factor:?} of {pixel:?}: {expected}");
            }
        }
    };
    for x in [-0.4, -0.01, 0.33] {
        check(Factor::Shift(x), &|c, pixel, _| pixel[c] + 255.0 * f64::from(x));
    }
    for x in [0.6, 1.0, 1.4] {
        check(Factor::ColorContrast(x), &|c, pixel, means| means[c] + f64::from(x) * (pixel[c] - means[c]));
        check(Factor::HsvSaturation(x), &|c, pixel, _| {
            let (most, least) =
                (pixel.iter().copied().fold(0.0, f64::max), pixel.iter().copied().fold(255.0, f64::min));
            let saturation = if most > 0.0 { (most - least) / most } else { 0.0 };
            let changed = (saturation * f64::from(x)).min(1.0);
            // The hue is unchanged: each channel keeps its relative position between the least and the largest value.
            let place = if most > least { (pixel[c] - least) / (most - least) } else { 1.0 };
            most * (1.0 - changed) + place * most * changed
        });
    }
}

#[test]
fn blur_is_within_one_of_the_scalar_reference() {
    let mut numbers = ChaCha8Rng::seed_from_u64(1);
    let mut scratch = BlurScratch::default();
    for (height, width, taps) in [(1, 1, 1), (2, 2, 3), (12, 12, 23), (33, 70, 23), (64, 129, 9)] {
        let image = pixels(&mut numbers, height, width);
        for sigma in [0.1, 0.7, 2.0, 50.0] {
            let mut reference = planes(Isa::Scalar, &image);
            gaussian_blur(Isa::Scalar, &mut reference, taps, sigma, &mut scratch).unwrap();
            for isa in Isa::supported() {
                let mut got = planes(isa, &image);
                gaussian_blur(isa, &mut got, taps, sigma, &mut scratch).unwrap();
                let off = got.as_slice().iter().zip(reference.as_slice()).map(|(a, b)| a.abs_diff(*b)).max();
                assert!(off <= Some(1), "{} {height}x{width}, sigma {sigma}: {off:?}", isa.name());
            }
        }
    }
}

proptest! {
    #[test]
    fn crops_lie_within_and_keep_their_promise(height in 1_usize..600, width in 1_usize..600, index in 0_u64..1000) {
        let crop = RandomResizedCrop::new((0.2, 1.0), (0.75, 4.0 / 3.0)).unwrap().sample(&mut generator(index), height, width);
        prop_assert!(crop.height > 0 && crop.top + crop.height <= height);
        prop_assert!(crop.width > 0 && crop.left + crop.width <= width);
        if height.min(width) > 50 && height.max(width) < 2 * height.min(width) {
            let (area, ratio) = ((crop.height * crop.width) as f64, crop.width as f64 / crop.height as f64);
            prop_assert!(area > 0.19 * (height * width) as f64, "{:?}", crop);
            prop_assert!((0.72..1.39).contains(&ratio), "{:?}", crop);
        }
    }

    #[test]
    fn resizing_takes_any_size(height in 1_usize..90, width in 1_usize..90, out in (1_usize..70, 1_usize..70), seed in 0_u64..50) {
        let image = pixels(&mut ChaCha8Rng::seed_from_u64(seed), height, width);
        let crop = RandomResizedCrop::new((0.08, 1.0), (0.75, 4.0 / 3.0)).unwrap().sample(&mut generator(seed), height, width);
        let isa = Isa::supported().last().unwrap();
        let mut made = Planes::new(out.0, out.1);
        resized_crop(isa, image.view(), crop, Interpolation::Bilinear, Resampled::Planes(&mut made), &mut Default::default()).unwrap();
        // A weighted mean of pixels lies within their range.
        let (low, high) = (image.bytes.iter().min().unwrap(), image.bytes.iter().max().unwrap());
        prop_assert!(made.as_slice().iter().all(|x| (low..=high).contains(&x)));
    }

    #[test]
    fn decoding_survives_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300), kind in 0_usize..4) {
        let heads: [&[u8]; 4] = [b"", b"\xFF\xD8\xFF\xE0", b"\x89PNG\r\n\x1A\n", b"RIFF\0\0\0\0WEBPVP8 "];
        let file = [heads[kind], &bytes].concat();
        let error = decode(&file, Path::new("file"), &DecodeOptions::default()).unwrap_err().to_string();
        prop_assert!(error.starts_with("file: "), "{error}");
    }
}

/// A case of `tests/golden/pictures/expected.json`.
#[derive(serde::Deserialize)]
struct Case {
    why: String,
    outcome: String,
    size: Option<(usize, usize)>,
    sha256: Option<String>,
    may_refuse: Option<String>,
}

#[test]
fn golden_images() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/pictures");
    let cases = std::fs::read(folder.join("expected.json")).unwrap();
    let cases: std::collections::BTreeMap<String, Case> = serde_json::from_slice(&cases).unwrap();
    let mut wrong = vec![];
    for (name, case) in &cases {
        let path = folder.join(name);
        let made = read(&path, &DecodeOptions::default());
        let again = decode(&std::fs::read(&path).unwrap(), &path, &DecodeOptions::default());
        assert_eq!(made.as_ref().ok(), again.as_ref().ok(), "{name}");
        let right = match made {
            Ok(image) => {
                let hash = Sha256::digest(&image.pixels.bytes).iter().map(|x| format!("{x:02x}")).collect::<String>();
                let size = (image.pixels.width, image.pixels.height);
                let damaged = case.outcome == "damaged";
                case.size == Some(size) && case.sha256 == Some(hash) && image.damage.is_some() == damaged
            }
            Err(error) => {
                let named = case.may_refuse.as_ref().is_some_and(|word| error.to_string().contains(word));
                case.outcome == "refused" || named
            }
        };
        if !right {
            wrong.push(format!("{name}: {}", case.why));
        }
    }
    assert!(wrong.is_empty(), "{} of {} are not as they should be: {wrong:#?}", wrong.len(), cases.len());
}

proptest! {
    /// Damaged metadata and containers neither cause a panic nor allocate memory for sizes that they only claim.
    #[test]
    fn decoding_survives_changed_files(
        name in 0_usize..11, changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..9), cut in any::<bool>(),
    ) {
        let names = [
            "p33-palette-4-bit-transparent.png", "p34-gray-alpha-exif-8.png", "p35-raw-profile-exif-3.png", "p36-xmp-5.png",
            "w38-exif-6-prefixed.webp", "w39-lossless-alpha-exif-7.webp", "w40-exif-of-4-gb.webp", "t41-palette.tif",
            "t42-big-planar-tiles.tif", "b43-rle8.bmp", "g44-gif-named.jpg",
        ];
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/pictures").join(names[name]);
        let mut file = std::fs::read(path).unwrap();
        for (at, byte) in &changes {
            // Headers are the sensitive part.
            let end = file.len().min(200);
            let at = at.index(end);
            file[at] = *byte;
        }
        if cut {
            file.truncate(changes[0].0.index(file.len()));
        }
        if let Err(error) = decode(&file, Path::new("file"), &DecodeOptions::default()) {
            prop_assert!(error.to_string().starts_with("file: "), "{error}");
        }
    }
}

#[test]
fn draws_stay_within_their_ranges_in_any_order() {
    let jitter = |form: &str| {
        let settings =
            format!(r#"{{"brightness": 0.4, "contrast": 0.4, "saturation": 0.2, "hue": 0.1, "form": "{form}"}}"#);
        operation("color_jitter", &settings).unwrap()
    };
    let jitters = [jitter("torchvision"), jitter("byol")];
    let blur = operation("gaussian_blur", r#"{"sigma": [0.1, 2.0], "kernel_size": 23}"#).unwrap();
    let mut first = [0; 4];
    for index in 0..4000 {
        let mut generator = generator(index);
        let Values(factors) = jitters[index as usize % 2].sample(&mut generator, (32, 32));
        for (place, (name, x)) in factors.into_iter().enumerate() {
            let (kind, inside) = match &*name {
                "brightness" => (0, (0.599..=1.401).contains(&x)),
                "contrast" | "color_contrast" => (1, (0.599..=1.401).contains(&x)),
                "saturation" | "hsv_saturation" => (2, (0.799..=1.201).contains(&x)),
                "hue" => (3, (-0.101..=0.101).contains(&x)),
                "shift" => (0, (-0.401..=0.401).contains(&x)),
                other => panic!("{other}"),
            };
            assert!(inside, "{name}: {x}");
            first[kind] += usize::from(place == 0);
        }
        let [sigma] = blur.sample(&mut generator, (32, 32)).get(["sigma"]).unwrap();
        assert!((0.099..=2.001).contains(&sigma));
    }
    assert!(first.iter().all(|n| (900..1100).contains(n)), "{first:?}");
}

#[test]
fn settings_that_cannot_be() {
    let errors = [
        RandomResizedCrop::new((0.5, 1.2), (0.75, 1.3)).unwrap_err(),
        RandomResizedCrop::new((0.2, 1.0), (1.3, 0.75)).unwrap_err(),
        ColorJitter::new(-0.4, 0.4, 0.4, 0.1, JitterForm::Byol).unwrap_err(),
        ColorJitter::new(0.4, 0.4, 0.4, 0.6, JitterForm::Torchvision).unwrap_err(),
        Probability::constant(1.5).unwrap_err(),
        GaussianBlur::new((0.1, 2.0), BlurKernel::Taps(22)).unwrap_err(),
        operation("grayscale", r#"{"p": 1}"#).unwrap_err(),
        Output::new(Dtype::F32, Normalize { mean: [0.5; 3], std: [1.0, 0.0, 1.0] }, false).unwrap_err(),
        Output::new(Dtype::U8, Normalize { mean: [0.5; 3], std: [1.0; 3] }, true).unwrap_err(),
    ];
    let messages = [
        "scale must be a range (low, high) with 0 <= low <= high <= 1, got (0.5, 1.2)",
        "ratio must be a range (low, high) with 0 < low <= high, got (1.3, 0.75)",
        "brightness must be a finite number >= 0, got -0.4",
        "hue must be in [0, 0.5], got 0.6",
        "p must be in [0, 1], got 1.5",
        "kernel_size must be odd, got 22",
        "settings of grayscale are invalid: unknown field `p`",
        "std must be three finite values > 0, got [1.0, 0.0, 1.0]",
        "dtype must be \"float16\" or \"float32\" for normalized values, got \"uint8\"; ",
    ];
    for (error, message) in errors.iter().zip(messages) {
        assert!(error.to_string().starts_with(message), "{error}");
    }
}
