//! JPEG: each path of the kernels against the scalar one, and decoded regions against whole images.
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sassl::image::{Crop, DecodeOptions, Decoded, RgbImage, decode};
use sassl::kernels::image::jpeg::Kernels;
use sassl::kernels::isa::Isa;
use std::path::{Path, PathBuf};

fn files() -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/jpeg");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

/// Generates a block: realistic or of arbitrary values, dense or sparse.
fn block(rng: &mut ChaCha8Rng) -> ([i16; 64], [u16; 64]) {
    let wild = rng.random_bool(0.5);
    let sparse = rng.random_bool(0.5);
    let mut coefficients = [0; 64];
    let rows = if rng.random_bool(0.3) { 8 } else { 64 };
    for x in &mut coefficients[..rows] {
        if !sparse || rng.random_bool(0.1) {
            *x = if wild { rng.random() } else { rng.random_range(-30..30) };
        }
    }
    let quantization = std::array::from_fn(|_| if wild { rng.random() } else { rng.random_range(1..60) });
    (coefficients, quantization)
}

#[test]
fn paths_agree_on_blocks_that_overflow_too() {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let scalar = Kernels::new(Isa::Scalar);
    let mut ends = 0;
    for _ in 0..3000 {
        let (coefficients, quantization) = block(&mut rng);
        for size in [1, 2, 4, 8] {
            let expected = scalar.inverse_dct(size, &coefficients, &quantization);
            ends += expected.iter().filter(|&&x| x == 0 || x == 255).count();
            for isa in Isa::supported() {
                let got = Kernels::new(isa).inverse_dct(size, &coefficients, &quantization);
                assert_eq!(got, expected, "{} {size} {coefficients:?} {quantization:?}", isa.name());
            }
        }
    }
    assert!(ends > 10_000);
}

#[test]
fn a_block_within_range_is_its_formula() {
    use std::f64::consts::PI;
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for _ in 0..200 {
        let coefficients: [i16; 64] = std::array::from_fn(|i| if i < 40 { rng.random_range(-9..9) } else { 0 });
        let quantization: [u16; 64] = std::array::from_fn(|_| rng.random_range(1..9));
        let got = Kernels::new(Isa::Scalar).inverse_dct(8, &coefficients, &quantization);
        for (at, sample) in got.into_iter().enumerate() {
            let wave = |x: usize, u: usize| {
                let scale = if u == 0 { 0.125_f64.sqrt() } else { 0.5 };
                scale * ((2 * x + 1) as f64 * u as f64 * PI / 16.0).cos()
            };
            let term = |i: usize| {
                f64::from(coefficients[i]) * f64::from(quantization[i]) * wave(at / 8, i / 8) * wave(at % 8, i % 8)
            };
            let exact = (0..64).map(term).sum::<f64>() + 128.0;
            assert!((f64::from(sample) - exact.clamp(0.0, 255.0)).abs() < 0.6, "{sample} {exact}");
        }
    }
}

#[test]
fn paths_agree_on_rows_of_any_length() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let mut row = |n: usize| -> Vec<u8> { (0..n).map(|_| rng.random()).collect() };
    for width in (3..70).chain([127, 128, 129, 500]) {
        let (a, b, c) = (row(width), row(width), row(width));
        let made = |isa| {
            let kernels = Kernels::new(isa);
            let (mut one, mut two, mut pixels) = (vec![0; 2 * width], vec![0; 2 * width], vec![0; 3 * width]);
            kernels.h2v1(&a, &mut one, 0..width);
            kernels.h2v2(&a, &b, &mut two, 0..width);
            kernels.ycc_to_rgb([&a, &b, &c], &mut pixels);
            (one, two, pixels)
        };
        let expected = made(Isa::Scalar);
        // The formulas, in the interior and at the edges.
        let (i, sum) = (1, |i: usize| 3 * u32::from(a[i]) + u32::from(b[i]));
        assert_eq!(u32::from(expected.0[2 * i]), (3 * u32::from(a[i]) + u32::from(a[i - 1]) + 1) >> 2);
        assert_eq!(u32::from(expected.1[2 * i + 1]), (3 * sum(i) + sum(i + 1) + 7) >> 4);
        assert_eq!((expected.0[0], expected.0[2 * width - 1]), (a[0], a[width - 1]));
        for isa in Isa::supported() {
            assert_eq!(made(isa), expected, "{} {width}", isa.name());
            // A range leaves the rest unchanged.
            let mut part = vec![0; 2 * width];
            Kernels::new(isa).h2v1(&a, &mut part, 1..width - 1);
            assert_eq!(part[2..2 * width - 2], expected.0[2..2 * width - 2]);
            assert_eq!((part[0], part[2 * width - 1]), (0, 0));
        }
    }
}

fn options(region: Option<&(dyn Fn(usize, usize) -> Crop + Sync)>, least: Option<u16>) -> DecodeOptions<'_> {
    DecodeOptions { region, least, ..DecodeOptions::default() }
}

fn part(pixels: &RgbImage, crop: Crop) -> Vec<u8> {
    let rows = pixels.bytes.chunks_exact(3 * pixels.width).skip(crop.top).take(crop.height);
    rows.flat_map(|row| row[3 * crop.left..3 * (crop.left + crop.width)].iter().copied()).collect()
}

fn random_crop(rng: &mut ChaCha8Rng, height: usize, width: usize) -> Crop {
    let (top, left) = (rng.random_range(0..height), rng.random_range(0..width));
    Crop { top, left, height: rng.random_range(1..=height - top), width: rng.random_range(1..=width - left) }
}

/// Damages some bytes of the file.
fn damaged(rng: &mut ChaCha8Rng, file: &[u8]) -> Vec<u8> {
    let mut bytes = file.to_vec();
    let scan = bytes.windows(2).position(|two| two == [0xFF, 0xDA]).unwrap();
    match rng.random_range(0..4) {
        0 => {}
        1 => (0..3).for_each(|_| {
            let at = rng.random_range(scan..file.len());
            bytes[at] ^= 1 << rng.random_range(0..8);
        }),
        2 => bytes.truncate(rng.random_range(scan..file.len())),
        _ => {
            bytes.truncate(rng.random_range(scan..file.len()));
            bytes.extend([0xFF, 0xD9]);
        }
    }
    bytes
}

/// Inserts an EXIF segment with this orientation.
fn turned(file: &[u8], orientation: u8) -> Vec<u8> {
    let mut exif = b"\xFF\xE1\x00\x22Exif\0\0MM\0\x2A\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
    [&file[..2], &exif, &file[2..]].concat()
}

#[test]
fn a_part_is_that_of_the_whole_and_so_is_the_verdict() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let (mut refused, mut warned, mut whole) = (0, 0, 0);
    for (path, file) in files() {
        for round in 0..40 {
            let bytes = turned(&damaged(&mut rng, &file), round % 8 + 1);
            let least = [None, None, Some(38), Some(15), Some(9)][rng.random_range(0..5)];
            let expected = decode(&bytes, &path, &options(None, least));
            for _ in 0..6 {
                let seed = rng.random();
                let crop = |height, width| random_crop(&mut ChaCha8Rng::seed_from_u64(seed), height, width);
                let got = decode(&bytes, &path, &options(Some(&crop), least));
                match (&expected, got) {
                    (Ok(Decoded { pixels, damage }), Ok(got)) => {
                        let crop = crop(pixels.height, pixels.width);
                        assert_eq!((got.pixels.height, got.pixels.width), (pixels.height, pixels.width));
                        assert_eq!(part(&got.pixels, crop), part(pixels, crop), "{} {round} {crop:?}", path.display());
                        assert_eq!(got.damage, *damage);
                        warned += usize::from(damage.is_some());
                        whole += usize::from(got.pixels == *pixels);
                    }
                    (Err(expected), Err(got)) => {
                        assert_eq!(got.to_string(), expected.to_string());
                        refused += 1;
                    }
                    (expected, got) => panic!("{}: {expected:?}, {got:?}", path.display()),
                }
            }
        }
    }
    // Pixels outside the region are skipped: hardly any image is decoded completely.
    assert!(refused > 100 && warned > 300 && whole < 400, "{refused} {warned} {whole}");
}
