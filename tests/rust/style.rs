//! Algorithm 1: its draws, their application, and invalid arguments.
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sassl::kernels::inference::pixels::{Pixels, PixelsMut};
use sassl::kernels::isa::{Isa, KernelPath, Precision};
use sassl::random::Key;
use sassl::style::{Bank, Drawn, Images, Sassl, Strength, Style, StyleParams, Styles, Stylizer};
use sassl::weights::{Model, Network, Tensor};
use std::path::Path;
use std::sync::Arc;

const DIM: usize = 6;

/// Creates a small network of the family with random weights: cnn, separable blocks, an upsampling head with a skip.
pub(crate) fn model(seed: u64) -> Model {
    with_predictor(serde_json::json!({"kind": "cnn", "size": 32, "channels": [5, 9], "dim": DIM}), seed)
}

/// The same with another F.
pub(crate) fn with_predictor(predictor: serde_json::Value, seed: u64) -> Model {
    let transformer = serde_json::json!({
        "dim": DIM,
        "contract": [{"kernel": 3, "stride": 2, "channels": 8}, {"kernel": 3, "stride": 2, "channels": 12}],
        "residual": {"blocks": 2, "separable": true},
        "expand": [{"kernel": 3, "channels": 8, "separable": false}],
        "head": {"kernel": 5, "upsample": true, "separable": false, "skip": true},
    });
    random(serde_json::json!({"predictor": predictor, "transformer": transformer}), seed)
}

/// Creates a network of the family from its JSON, with random weights.
pub(crate) fn random(network: serde_json::Value, seed: u64) -> Model {
    let network: Network = serde_json::from_value(network).unwrap();
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    let tensors = network.tensors().into_iter().map(|(name, shape)| {
        let n: usize = shape.iter().product();
        let scale = (shape[0] as f32 / n as f32).sqrt();
        (name, Tensor { data: (0..n).map(|_| scale * generator.random_range(-1.5..1.5)).collect(), shape })
    });
    let tensors = tensors.collect();
    Model::new(Path::new("test"), "test", "none", "random numbers", network, tensors).unwrap()
}

fn stylizer(path: KernelPath) -> Stylizer {
    Stylizer::new(&model(1), path).unwrap()
}

fn bank(stylizer: &Stylizer, n: usize) -> Arc<Bank> {
    let vectors = (0..n * DIM).map(|i| (i as f32).sin()).collect();
    Arc::new(Bank::new(vectors, DIM, stylizer.space(), None).unwrap())
}

fn bytes(n: usize) -> Vec<u8> {
    let mut generator = ChaCha8Rng::seed_from_u64(9);
    (0..n).map(|_| generator.random()).collect()
}

fn sassl(p: f32, styles: Styles) -> Sassl {
    Sassl::new(p, (0.1, 0.3), (0.2, 0.4), styles).unwrap()
}

#[test]
fn draws_lie_in_their_ranges_and_depend_on_the_key_alone() {
    let stylizer = stylizer(KernelPath::new(Isa::Portable, Precision::Exact));
    let block = sassl(0.8, Styles::Bank(bank(&stylizer, 7)));
    let key = Key { seed: 3, epoch: 1, index: 100, view: 0 };
    let drawn = block.sample(key, 5000);
    let share = drawn.iter().filter(|d| d.apply).count() as f32 / 5000.0;
    assert!((share - 0.8).abs() < 0.03, "p = 0.8 gave {share}");
    let mut seen = [0; 7];
    for d in &drawn {
        assert!((0.1..=0.3).contains(&d.alpha) && (0.2..=0.4).contains(&d.beta), "{d:?}");
        let Drawn::Index(style) = d.style else { panic!("{d:?}") };
        seen[style] += 1;
    }
    assert!(seen.iter().all(|&n| (600..830).contains(&n)), "styles are not equally likely: {seen:?}");
    let mean = drawn.iter().map(|d| d.alpha).sum::<f32>() / 5000.0;
    assert!((mean - 0.2).abs() < 0.005, "mean alpha {mean}");
    assert_eq!(block.sample(Key { index: 140, ..key }, 10), drawn[40..50]);
    assert_ne!(block.sample(Key { view: 1, ..key }, 10), drawn[..10]);
    for p in [0.0, 1.0] {
        let all = sassl(p, Styles::Batch).sample(key, 200);
        assert!(all.iter().all(|d| d.apply == (p == 1.0)));
    }
}

#[test]
fn a_style_of_the_batch_is_another_image() {
    for n in [2, 3, 8] {
        let drawn = sassl(1.0, Styles::Batch).sample(Key::default(), n);
        for round in 0..50 {
            let drawn = sassl(1.0, Styles::Batch).sample(Key { seed: round, ..Key::default() }, n);
            assert!(drawn.iter().enumerate().all(|(i, d)| d.style != Drawn::Index(i)), "{drawn:?}");
        }
        assert_eq!(drawn.len(), n);
    }
    assert_eq!(sassl(1.0, Styles::Batch).sample(Key::default(), 1)[0].style, Drawn::Index(0));
}

#[test]
fn a_gaussian_draws_along_the_bank() {
    let stylizer = stylizer(KernelPath::new(Isa::Portable, Precision::Exact));
    // The styles lie on a line; so do the draws, with the same mean and variance.
    let vectors: Vec<f32> =
        (0..50).flat_map(|i| (0..DIM).map(move |d| d as f32 + i as f32 * (d as f32 - 2.0))).collect();
    let bank = Bank::new(vectors, DIM, stylizer.space(), None).unwrap();
    let gaussian = Arc::new(bank.gaussian(1).unwrap());
    let drawn = sassl(1.0, Styles::Gaussian(gaussian)).sample(Key::default(), 4000);
    let steps: Vec<f32> = drawn
        .iter()
        .map(|d| {
            let Drawn::Vector(z) = &d.style else { panic!("{d:?}") };
            let step = (z[0] - 0.0) / -2.0;
            for (d, z) in z.iter().enumerate() {
                assert!((z - (d as f32 + step * (d as f32 - 2.0))).abs() < 1e-3, "off the line: {z}");
            }
            step
        })
        .collect();
    let mean = steps.iter().sum::<f32>() / 4000.0;
    let variance = steps.iter().map(|s| (s - mean).powi(2)).sum::<f32>() / 4000.0;
    assert!((mean - 24.5).abs() < 1.0, "mean {mean}");
    assert!((variance - 212.5).abs() < 20.0, "variance {variance}");
    assert!(bank.gaussian(0).is_err() && bank.gaussian(DIM + 1).is_err());
}

#[test]
fn apply_is_pure_and_leaves_the_others_alone() {
    for path in KernelPath::supported() {
        let stylizer = stylizer(path);
        let pixels = bytes(5 * 13 * 22 * 3);
        let images = Images::new(Pixels::U8(&pixels), &[5, 13, 22, 3]).unwrap();
        let block = sassl(1.0, Styles::Batch);
        let mut params = block.sample(Key::default(), 5);
        params[1].apply = false;
        params[2].beta = 0.0;
        let run = |threads| {
            let mut out = vec![0; pixels.len()];
            block.apply(&stylizer, images, &params, PixelsMut::U8(&mut out), threads).unwrap();
            out
        };
        let out = run(1);
        assert_eq!(out, run(3), "{}: threads change the result", path);
        let each = images.floats();
        for i in 0..5 {
            let same = out[i * each..][..each] == pixels[i * each..][..each];
            assert_eq!(same, i == 1 || i == 2, "{}: image {i}", path);
        }
        // A single image gives the same result as the batch.
        let z = stylizer.encode(images, 1).unwrap();
        let z_style = block.vectors(&params, DIM, Some(&z)).unwrap();
        let image = Images::new(images.get(3), &[1, 13, 22, 3]).unwrap();
        let (alpha, beta) = (Strength::All(params[3].alpha), Strength::All(params[3].beta));
        let style = Style { z: &z_style[3 * DIM..4 * DIM], z_content: None, alpha, beta, apply: None };
        let mut alone = vec![0; each];
        stylizer.stylize(image, &style, PixelsMut::U8(&mut alone), 1).unwrap();
        assert_eq!(alone, out[3 * each..4 * each], "{}", path);
    }
}

#[test]
fn paths_agree_on_the_whole_network() {
    let pixels = bytes(2 * 21 * 18 * 3);
    let images = Images::new(Pixels::U8(&pixels), &[2, 21, 18, 3]).unwrap();
    let run = |path| {
        let stylizer = stylizer(path);
        let z = stylizer.encode(images, 1).unwrap();
        let mut out = vec![0.0; pixels.len()];
        stylizer.transfer(images, &z, &mut out, 1).unwrap();
        (z, out)
    };
    let (z, out) = run(KernelPath::new(Isa::Scalar, Precision::Exact));
    for path in KernelPath::supported() {
        let (other_z, other_out) = run(path);
        let (near_z, near_out) = if path.in_bytes() { (0.05, 0.06) } else { (1e-4, 1e-4) };
        assert!(z.iter().zip(&other_z).all(|(a, b)| (a - b).abs() < near_z), "{}", path);
        assert!(out.iter().zip(&other_out).all(|(a, b)| (a - b).abs() < near_out), "{}", path);
    }
}

#[test]
fn an_image_of_one_colour_becomes_one_colour() {
    let (height, width) = (21, 18);
    for colour in [[0, 0, 0], [255, 255, 255], [128, 128, 128], [200, 30, 90]] {
        let mut pixels: Vec<u8> = colour.into_iter().cycle().take(height * width * 3).collect();
        let z: Vec<f32> = (0..DIM).map(|i| (i as f32).cos()).collect();
        let run = |path, pixels: &[u8]| {
            let images = Images::new(Pixels::U8(pixels), &[1, height, width, 3]).unwrap();
            let mut out = vec![0.0; pixels.len()];
            stylizer(path).transfer(images, &z, &mut out, 1).unwrap();
            out
        };
        let reference = run(KernelPath::new(Isa::Scalar, Precision::Exact), &pixels);
        assert!(reference.iter().skip(3).eq(reference.iter().take(reference.len() - 3)), "{colour:?}: {reference:?}");
        for path in KernelPath::supported() {
            let out = run(path, &pixels);
            let near = out.iter().zip(&reference).all(|(a, b)| (a - b).abs() < 1e-6);
            assert!(near, "{} {colour:?}", path);
        }
        assert!(Pixels::U8(&pixels).is_flat());
        *pixels.last_mut().unwrap() ^= 1;
        assert!(!Pixels::U8(&pixels).is_flat(), "the last colour of the last pixel counts");
    }
}

#[test]
fn what_is_wrong_is_named() {
    let stylizer = stylizer(KernelPath::new(Isa::Portable, Precision::Exact));
    let pixels = vec![0.5; 2 * 8 * 8 * 3];
    let check = |pixels: &[f32], shape: &[usize], phrase: &str| {
        let error = Images::new(Pixels::F32(pixels), shape).unwrap_err().to_string();
        assert!(error.contains(phrase), "{error:?} does not say {phrase:?}");
    };
    check(&pixels, &[2, 7, 8, 3], "8x8");
    check(&pixels, &[2, 1, 1, 3], "1x1");
    check(&pixels, &[2, 8, 8], "(n, height, width, 3)");
    check(&pixels, &[2, 8, 8, 4], "(n, height, width, 3)");
    for (value, phrase) in [(f32::NAN, "NaN"), (1.5, "1.5"), (-0.1, "-0.1"), (f32::INFINITY, "inf")] {
        let mut pixels = pixels.clone();
        pixels[8 * 8 * 3 + 10 * 3 + 1] = value;
        check(&pixels, &[2, 8, 8, 3], phrase);
        check(&pixels, &[2, 8, 8, 3], "images[1, 1, 2, 1]");
    }
    let images = Images::new(Pixels::F32(&pixels), &[2, 8, 8, 3]).unwrap();
    let mut out = pixels.clone();
    let style = |z, alpha, beta| Style { z, z_content: None, alpha, beta, apply: None };
    let z = [0.0; DIM];
    let half = Strength::All(0.5);
    let cases = [
        (style(&z[1..], half, half), "z_style"),
        (style(&[f32::NAN; DIM], half, half), "NaN"),
        (style(&z, Strength::All(1.1), half), "alpha must be in [0, 1], from the content to the style, got 1.1"),
        (
            style(&z, half, Strength::Each(&[0.1, -0.5])),
            "beta[1] must be in [0, 1], from the content to the style, got -0.5",
        ),
        (style(&z, half, Strength::Each(&[0.1; 3])), "beta"),
    ];
    for (style, phrase) in cases {
        let error = stylizer.stylize(images, &style, PixelsMut::F32(&mut out), 1).unwrap_err().to_string();
        assert!(error.contains(phrase), "{error:?} does not say {phrase:?}");
    }
    for (p, alpha, phrase) in [
        (-0.1, (0.1, 0.3), "p must be in [0, 1], got -0.1"),
        (f32::NAN, (0.1, 0.3), "p"),
        (0.5, (0.3, 0.1), "alpha"),
        (0.5, (0.5, 1.5), "alpha"),
    ] {
        let error = Sassl::new(p, alpha, (0.1, 0.3), Styles::Batch).unwrap_err().to_string();
        assert!(error.contains(phrase), "{error:?} does not say {phrase:?}");
    }
    let block = sassl(1.0, Styles::Bank(bank(&stylizer, 3)));
    let params = |style| vec![StyleParams { apply: true, alpha: 0.1, beta: 0.1, style }];
    assert!(block.vectors(&params(Drawn::Index(3)), DIM, None).is_err());
    assert!(block.vectors(&params(Drawn::Vector(vec![0.0; 2])), DIM, None).is_err());
    assert!(sassl(1.0, Styles::Batch).vectors(&params(Drawn::Index(0)), DIM, None).is_err());
    assert!(block.apply(&stylizer, images, &params(Drawn::Index(0)), PixelsMut::F32(&mut out), 1).is_err());
    assert!(Bank::new(vec![], DIM, "x", None).is_err() && Bank::new(vec![f32::NAN; DIM], DIM, "x", None).is_err());
    assert!(Bank::new(vec![0.0; DIM], DIM, "x", Some(vec![])).is_err());
}
