//! The readers of untrusted bytes, one row each.
use crate::cifar_files::{batch, string};
use crate::flatbuffer::Storage;
use crate::onnx_files;
use crate::tflite_files::{GOOD, Recipe, UNIT, predictor, transformer};
use sassl::Result;
use sassl::data::{Cifar, Layout, Records, Source, WebDataset};
use sassl::error::Error;
use sassl::image::{Crop, DecodeOptions, color_profile, decode};
use sassl::style::{Bank, Gaussian, Styles};
use sassl::train::{Config, OptimizerSettings, State, checkpoint};
use sassl::weights::containers::pth::PthFile;
use sassl::weights::containers::saved_model::read_variables;
use sassl::weights::containers::tfjs::read_weights;
use sassl::weights::magenta::variables::is_variable;
use sassl::weights::magenta::{read_predictor, read_transformer};
use sassl::weights::{Model, safetensors};
use serde::de::IgnoredAny;
use serde_json::json;
use std::borrow::Cow;
use std::path::Path;

/// A reader.
pub struct Target {
    pub name: &'static str,
    /// The number of inputs in a round: many if they are cheap.
    pub share: u64,
    /// Valid files.
    pub seeds: Vec<Vec<u8>>,
    /// Corrects the checksums in a file, because a wrong one would hide the other changes.
    pub mend: fn(&mut [u8]),
    /// Reads bytes, or the file at this path, which contains them.
    pub read: fn(&[u8], &Path) -> Result<()>,
    /// Whether the file is read.
    pub path: bool,
}

/// Returns all readers; `folder` is for temporary files.
pub fn all(folder: &Path) -> Vec<Target> {
    let row = |name, share, seeds, read| Target { name, share, seeds, mend: |_| {}, read, path: false };
    let of_file = |name, share, seeds, read| Target { path: true, ..row(name, share, seeds, read) };
    let tflite = [Storage::F32, Storage::F16, Storage::Int8, Storage::Int8Channels];
    let tflite = tflite.map(|storage| transformer(Recipe { storage, ..GOOD })).to_vec();
    let onnx = |storage| onnx_files::transformer(onnx_files::Recipe { storage, ..onnx_files::TINY });
    let onnx = {
        use onnx_files::Storage::{External, Half, Quantized, Raw, Typed, TypedHalf};
        [Raw, Typed, Half, TypedHalf, Quantized, External].map(onnx).to_vec()
    };
    let graphs = [tflite, onnx].concat();
    let containers = |end: &str| golden("containers", end);
    let weights = golden("", "safetensors");
    let colors = vec![7; 2 * 3072];
    let cifar = vec![
        batch(&string(6144, &colors), b"u1"),
        batch(&[&b"X"[..], &6144_u32.to_le_bytes(), &colors].concat(), b"u1"),
    ];
    let records = [2 * 3073, 3074, 27_648].map(|size| vec![1; size]).to_vec();
    vec![
        Target { mend: mend_png, ..row("images", 40, images(), read_image) },
        row("safetensors", 200, weights.clone(), read_safetensors),
        row("models", 60, weights, |bytes, path| Model::from_bytes(bytes.to_vec(), path).map(drop)),
        of_file("banks", 100, vec![bank(folder, 3, 4), bank(folder, 40, 8), gaussian(folder)], read_bank),
        of_file("checkpoints", 100, vec![saved(folder)], |_, path| checkpoint::load(path).map(drop)),
        row("transformers", 120, graphs, |bytes, path| read_transformer(bytes, path).map(drop)),
        row("predictors", 1, vec![predictor(UNIT, 3, true)], |bytes, path| read_predictor(bytes, path).map(drop)),
        row("pth", 100, containers("pth"), read_pth),
        Target { mend: mend_tar, ..of_file("archives", 60, containers("tar"), read_archive) },
        Target { mend: mend_tar, ..of_file("shards", 100, vec![shard(true), shard(false)], read_shard) },
        of_file("cifar", 120, cifar, |_, path| read_all(&Cifar::new(Layout::CIFAR10, vec![path.into()])?)),
        of_file("records", 40, records, read_records),
        row("configurations", 400, vec![serde_json::to_vec(&config()).unwrap_or_default()], read_config),
    ]
}

/// Returns the files of a golden folder with this suffix, or all, in the order of their names.
fn golden(folder: &str, suffix: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(folder);
    let mut paths: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.is_file() && path.extension().is_some_and(|found| suffix.is_empty() || found == suffix));
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

fn read_pth(bytes: &[u8], path: &Path) -> Result<()> {
    let file = PthFile::from_bytes(bytes.to_vec(), path)?;
    file.names().try_for_each(|name| file.tensor(name).map(drop))
}

/// Reads a checkpoint, a SavedModel or a TensorFlow.js model; each reader rejects the other formats.
fn read_archive(_: &[u8], path: &Path) -> Result<()> {
    let variables = read_variables(path, is_variable).map(drop);
    read_weights(path).map(drop).or(variables)
}

fn images() -> Vec<Vec<u8>> {
    let made = [
        &b"P6 2 2 255\n0123456789AB"[..],
        b"P5 3 2 65535\n0123456789AB",
        b"P1\n3 2\n1 0 1 0 1 0\n",
        b"P2 2 1 9\n3 4\n",
    ];
    [golden("pictures", ""), golden("jpeg", "jpg"), made.map(<[u8]>::to_vec).to_vec()].concat()
}

/// Decodes an image with options that are chosen by a hash of the bytes.
fn read_image(bytes: &[u8], path: &Path) -> Result<()> {
    let way = bytes.iter().fold(0_u8, |sum, &byte| sum.rotate_left(1) ^ byte);
    let region = |height: usize, width: usize| {
        let (top, left) = (height / 3, width / 4);
        Crop { top, left, height: (height - top).div_ceil(2), width: (width - left).div_ceil(2) }
    };
    let options = DecodeOptions {
        exif: way & 1 == 0,
        least: (way & 2 == 0).then_some(1 << (way >> 4)),
        region: (way & 4 == 0).then_some(&region),
    };
    color_profile(bytes);
    let pixels = decode(bytes, path, &options)?.pixels;
    assert_eq!(pixels.bytes.len(), 3 * pixels.height * pixels.width, "as many bytes as pixels");
    Ok(())
}

fn mend_png(bytes: &mut [u8]) {
    if !bytes.starts_with(b"\x89PNG") {
        return;
    }
    let mut at = 8;
    while let Some(length) = bytes.get(at..at + 4) {
        let end = at + 8 + length.iter().fold(0, |n, &byte| n << 8 | usize::from(byte));
        let Some(chunk) = bytes.get(at + 4..end) else { return };
        let mut sum = flate2::Crc::new();
        sum.update(chunk);
        let Some(stored) = bytes.get_mut(end..end + 4) else { return };
        stored.copy_from_slice(&sum.sum().to_be_bytes());
        at = end + 4;
    }
}

fn read_safetensors(bytes: &[u8], path: &Path) -> Result<()> {
    let file = safetensors::File::from_bytes(Cow::Owned(bytes.to_vec()), path)?;
    file.names().try_for_each(|name| file.view(name).map(|view| drop((view.is_finite(), view.to_f32()))))
}

fn bank(folder: &Path, len: usize, dim: usize) -> Vec<u8> {
    let vectors = (0..len * dim).map(|i| (i as f32).sin()).collect();
    let names = (0..len).map(|i| format!("style {i}")).collect();
    let path = folder.join("bank");
    Bank::new(vectors, dim, "0123", Some(names)).unwrap().save(&path, safetensors::Dtype::F16).unwrap();
    std::fs::read(path).unwrap()
}

fn gaussian(folder: &Path) -> Vec<u8> {
    let path = folder.join("gaussian");
    Gaussian::from_parts(vec![0.5; 4], vec![0.25; 8], "0123").unwrap().save(&path).unwrap();
    std::fs::read(path).unwrap()
}

fn read_bank(_: &[u8], path: &Path) -> Result<()> {
    match Styles::load(path)? {
        Styles::Bank(bank) => {
            assert_eq!(bank.vectors().len(), bank.len() * bank.dim(), "as many numbers as styles");
            if bank.len() > 1 && bank.dim() < 16 { bank.gaussian(1).map(drop) } else { Ok(()) }
        }
        Styles::Gaussian(gaussian) => {
            assert_eq!(gaussian.axes().len(), gaussian.rank() * gaussian.dim(), "axes of the mean's length");
            Ok(())
        }
        Styles::Batch => panic!("a file is no batch"),
    }
}

fn config() -> Config {
    Config {
        method: json!({"name": "simclr", "dim": 4, "hidden_dim": 8, "layers": 2, "temperature": 0.5, "splits": 1}),
        backbone: json!({"name": "resnet18", "small_stem": true}),
        optimizer: OptimizerSettings::Sgd {
            momentum: 0.9,
            nesterov: false,
            weight_decay: 1e-4,
            exclude_bias_and_norm: true,
        },
        seed: 7,
        data: IgnoredAny,
        schedule: IgnoredAny,
        init: IgnoredAny,
    }
}

fn read_config(bytes: &[u8], path: &Path) -> Result<()> {
    let read = serde_json::from_slice::<Config>(bytes).map_err(|error| Error::weights(path, error.to_string()))?;
    drop(serde_json::to_string(&read));
    Ok(())
}

fn saved(folder: &Path) -> Vec<u8> {
    let state = State::from([("weight".into(), (vec![8, 16], vec![0.5; 128])), ("step".into(), (vec![], vec![3.0]))]);
    let told = [("config".into(), serde_json::to_string(&config()).unwrap()), ("epoch".into(), "3".into())];
    let path = folder.join("checkpoint");
    checkpoint::save(&path, &state, &told.into()).unwrap();
    std::fs::read(path).unwrap()
}

/// Builds a shard of two samples, with names that are short or need a second entry.
fn shard(short: bool) -> Vec<u8> {
    let mut archive = tar::Builder::new(vec![]);
    for key in ["a", "b"] {
        let key = if short { key.to_owned() } else { key.repeat(120) };
        for (suffix, bytes) in [("ppm", &b"P6 1 1 255\nABC"[..]), ("cls", b"1"), ("json", b"{}")] {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            archive.append_data(&mut header, format!("{key}.{suffix}"), bytes).unwrap();
        }
    }
    archive.into_inner().unwrap()
}

fn mend_tar(bytes: &mut [u8]) {
    for block in bytes.as_chunks_mut::<512>().0 {
        if block[257..262] == *b"ustar" {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
}

fn read_shard(_: &[u8], path: &Path) -> Result<()> {
    read_all(&WebDataset::new(vec![path.into()], false)?)
}

fn read_records(_: &[u8], path: &Path) -> Result<()> {
    let layouts = [Layout::CIFAR10, Layout::CIFAR100, Layout::STL10];
    let read = |layout| read_all(&Records::new(layout, vec![path.into()], None)?);
    layouts.into_iter().map(read).find(Result::is_ok).unwrap_or_else(|| read(Layout::STL10))
}

/// Reads the first images of a source, up to the first error.
fn read_all(source: &impl Source) -> Result<()> {
    (0..source.len().min(3)).try_for_each(|index| {
        source.name(index);
        source.get(index, &DecodeOptions::default()).map(drop)
    })
}
