//! Weight files: round trips, and clear errors for hostile files.
use super::style::model;
use proptest::prelude::*;
use sassl::files;
use sassl::style::{Bank, Gaussian, Styles};
use sassl::weights::convert::Conversion;
use sassl::weights::network::{AnyTransformer, Predictor};
use sassl::weights::safetensors::{Dtype, File, write};
use sassl::weights::{Model, magenta};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

fn saved() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    model(1).save(&path).unwrap();
    std::fs::read(path).unwrap()
}

/// Returns the file with a changed header.
fn with_header(file: &[u8], change: impl FnOnce(&mut serde_json::Value)) -> Vec<u8> {
    let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let mut header: serde_json::Value = serde_json::from_slice(&file[8..8 + length]).unwrap();
    change(&mut header);
    let header = header.to_string();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &file[8 + length..]].concat()
}

fn error(bytes: Vec<u8>) -> String {
    Model::from_bytes(bytes, Path::new("hostile")).unwrap_err().to_string()
}

#[test]
fn a_model_comes_back_as_it_was() {
    let before = model(1);
    let after = Model::from_bytes(saved(), Path::new("saved")).unwrap();
    assert_eq!((&after.name, &after.space, &after.network), (&before.name, &before.space, &before.network));
    assert_eq!((&after.licence, &after.provenance), (&before.licence, &before.provenance));
    assert_eq!(after.tensors, before.tensors);
    assert_ne!(model(2).space, before.space, "another predictor, another space");
}

#[test]
fn a_gaussian_comes_back_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gaussian.safetensors");
    let gaussian = Gaussian::from_parts(vec![0.1, 0.2, -0.3], vec![1.0, 0.5, 0.25, 1e-7, 3.0, -2.0], "0123").unwrap();
    gaussian.save(&path).unwrap();
    let Styles::Gaussian(back) = Styles::load(&path).unwrap() else { panic!("not a Gaussian") };
    assert_eq!(*back, gaussian);
    let error = Bank::load(&path).unwrap_err().to_string();
    assert!(error.contains("sassl.gaussian") && error.contains("gaussian.safetensors"), "{error}");
    let metadata = [("format", "sassl.gaussian"), ("version", "1"), ("space", "0123")];
    let metadata = metadata.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    write(&path, &metadata, &[("mean", Dtype::F32, &[2], &[0.0; 2]), ("axes", Dtype::F32, &[1, 3], &[1.0; 3])])
        .unwrap();
    assert!(Styles::load(&path).unwrap_err().to_string().contains("not (dim,) and (rank, dim)"));
}

#[test]
fn a_bank_comes_back_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bank.safetensors");
    let vectors: Vec<f32> = (0..12).map(|i| i as f32 / 4.0).collect();
    let names: Vec<String> = ["a", "b", "\"c\""].map(String::from).into();
    Bank::new(vectors.clone(), 4, "0123", Some(names.clone())).unwrap().save(&path, Dtype::F16).unwrap();
    let bank = Bank::load(&path).unwrap();
    assert_eq!((bank.len(), bank.dim(), bank.space()), (3, 4, "0123"));
    assert_eq!((bank.vectors(), bank.names()), (vectors, Some(names.as_slice())));
    let mut row = [0.0; 4];
    bank.copy(2, &mut row).unwrap();
    assert_eq!(row, [2.0, 2.25, 2.5, 2.75]);
    assert!(bank.copy(3, &mut row).is_err());
    // Values that float16 rounds, and one outside its range.
    let exact = Bank::new(vec![0.1, -70000.0, 1e-9, 3.0], 2, "0123", None).unwrap();
    assert!(
        exact
            .save(&path, Dtype::F16)
            .unwrap_err()
            .to_string()
            .contains("vectors[0, 1] must be in [-65504, 65504], the range of float16, got -70000")
    );
    exact.save(&path, Dtype::F32).unwrap();
    assert_eq!(Bank::load(&path).unwrap().vectors(), exact.vectors());
    let error = Model::load(&path).unwrap_err().to_string();
    assert!(error.contains("not a model") && error.contains("bank.safetensors"), "{error}");
    std::fs::write(&path, saved()).unwrap();
    assert!(Bank::load(&path).unwrap_err().to_string().contains("not a style bank"));
}

#[test]
fn hostile_bytes_are_refused() {
    let good = saved();
    let header = |change: fn(&mut serde_json::Value)| with_header(&good, change);
    let long = |n: u64| [&n.to_le_bytes(), &good[8..]].concat();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", vec![], "too short"),
        ("seven bytes", good[..7].to_vec(), "too short"),
        ("no header", good[..8].to_vec(), "truncated"),
        ("half a header", good[..200].to_vec(), "truncated"),
        ("half the data", good[..good.len() / 2].to_vec(), "truncated"),
        ("last byte gone", good[..good.len() - 1].to_vec(), "truncated"),
        ("a byte too many", [&good[..], &[0]].concat(), "belong to no tensor"),
        ("header of 2 GB", long(2 << 30), "claims a header"),
        ("header of 2^64", long(u64::MAX), "claims a header"),
        ("not JSON", [&4u64.to_le_bytes()[..], b"{no}"].concat(), "not a JSON object"),
        ("a list", [&2u64.to_le_bytes()[..], b"[]"].concat(), "not a JSON object"),
        (
            "metadata of numbers",
            header(|h| h["__metadata__"] = serde_json::json!({"a": 1})),
            "not a map of unique strings",
        ),
        ("another dtype", header(|h| h["predictor.head.bias"]["dtype"] = "I32".into()), "float32 and float16"),
        ("tensor of 2 GB", header(|h| h["predictor.head.bias"]["data_offsets"][1] = (2u64 << 30).into()), "truncated"),
        (
            "shape beyond memory",
            header(|h| h["predictor.head.bias"]["shape"] = serde_json::json!([u64::MAX, 9])),
            "more than fits into memory",
        ),
        (
            "shape that lies",
            header(|h| h["predictor.head.bias"]["shape"] = serde_json::json!([7])),
            "contradicts itself",
        ),
        (
            "negative shape",
            header(|h| h["predictor.head.bias"]["shape"] = serde_json::json!([-6])),
            "predictor.head.bias",
        ),
        (
            "offsets reversed",
            header(|h| h["predictor.head.bias"]["data_offsets"] = serde_json::json!([9, 3])),
            "contradicts itself",
        ),
        (
            "overlap",
            header(|h| h["predictor.head.bias"]["data_offsets"] = serde_json::json!([4, 28])),
            "contradicts itself",
        ),
        ("foreign", header(|h| h["__metadata__"] = serde_json::json!({"format": "pt"})), "sassl convert"),
        (
            "no metadata",
            header(|h| {
                h.as_object_mut().unwrap().remove("__metadata__");
            }),
            "sassl convert",
        ),
        ("of the future", header(|h| h["__metadata__"]["version"] = "2".into()), "version 2"),
        (
            "no licence",
            header(|h| {
                h["__metadata__"].as_object_mut().unwrap().remove("licence");
            }),
            "licence",
        ),
        ("foreign space", header(|h| h["__metadata__"]["space"] = "0000000000000000".into()), "style space"),
        ("network unreadable", header(|h| h["__metadata__"]["network"] = "{}".into()), "description of the network"),
    ];
    for (what, bytes, phrase) in cases {
        let error = error(bytes);
        assert!(error.contains(phrase), "{what}: {error:?} does not say {phrase:?}");
        assert!(error.starts_with("hostile: "), "{what}: {error:?} does not name the file");
    }
    // Truncated at every position in the header, and at many after it.
    let header = 8 + u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
    let step = ((good.len() - header) / 97).max(1);
    for end in (0..header + 9).chain((header + 9..good.len()).step_by(step)) {
        assert!(error(good[..end].to_vec()).starts_with("hostile: "), "cut at {end}");
    }
}

/// Builds a file with this header and `data` bytes of data.
fn raw(header: &str, data: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0; data]].concat()
}

#[test]
fn headers_that_contradict_themselves_are_refused() {
    let tensor = |from: usize, to: usize| format!(r#"{{"dtype":"F32","shape":[1],"data_offsets":[{from},{to}]}}"#);
    let (first, second) = (tensor(0, 4), tensor(4, 8));
    let many = format!("{{\"a\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    for (header, data, phrase) in [
        (format!(r#"{{"a":{first},"a":{first}}}"#), 4, "twice"),
        (format!(r#"{{"a":{first},"a":{second}}}"#), 8, "twice"),
        (r#"{"__metadata__":{},"__metadata__":{}}"#.into(), 0, "twice"),
        (r#"{"__metadata__":{"space":"a","space":"b"}}"#.into(), 0, "twice"),
        (format!(r#"{{"a":{first},"b":{first}}}"#), 4, "contradicts itself"),
        (format!(r#"{{"a":{first},"b":{}}}"#, tensor(8, 12)), 12, "contradicts itself"),
        (format!(r#"{{"a":{}}}"#, tensor(usize::MAX - 3, usize::MAX)), 4, "truncated"),
        (r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"more":1}}"#.into(), 4, "more"),
        (r#"{"a":{"dtype":"F32","shape":[1],"shape":[1],"data_offsets":[0,4]}}"#.into(), 4, "duplicate"),
        (r#"{"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}}"#.into(), 4, "\"a\""),
        (r#"{"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}}"#.into(), 8, "float32 and float16"),
        (r#"{"a":{"dtype":"F32","shape":[2147483648,4294967296],"data_offsets":[0,4]}}"#.into(), 4, "more than fits"),
        (r#"{"a":{"dtype":"F32","shape":[536870912],"data_offsets":[0,2147483648]}}"#.into(), 4, "truncated"),
        (many, 0, "\"a\""),
    ] {
        let error = File::from_bytes(Cow::Owned(raw(&header, data)), Path::new("hostile")).unwrap_err().to_string();
        let start = &header[..header.len().min(90)];
        assert!(error.contains(phrase) && !error.contains('\n'), "{start}: {error:?} does not say {phrase:?}");
    }
}

#[test]
fn a_model_of_float16_keeps_its_space() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lite.safetensors");
    let lite = Model::embedded("lite").unwrap();
    lite.save(&path).unwrap();
    let copy = Model::load(&path).unwrap();
    assert_eq!((copy.space, copy.tensors), (lite.space.clone(), lite.tensors.clone()));

    // Values that float16 cannot represent are not rounded; another predictor means another space.
    let mut changed = lite.clone();
    changed.tensors.get_mut("transformer.head.beta.bias").unwrap().data[0] = 0.1;
    changed.save(&path).unwrap();
    assert_eq!(Model::load(&path).unwrap().tensors, changed.tensors);
    changed.tensors.get_mut("predictor.head.bias").unwrap().data[0] += 1.0;
    assert!(changed.save(&path).unwrap_err().to_string().contains("not written"));
    changed = lite.clone();
    changed.tensors.get_mut("predictor.head.bias").unwrap().data.pop();
    assert!(changed.save(&path).unwrap_err().to_string().contains("predictor.head.bias"));
    assert!(Model::load(&path).is_ok(), "the file of before is still there");

    // A cast to float32, which is exact, keeps the space; a cast to float16, which rounds, is an error that says so.
    let cast = |model: &Model, name: &str, dtype: Dtype| {
        model.save(&path).unwrap();
        let file = File::open(&path).unwrap();
        let tensors = model.tensors.iter();
        let tensors: Vec<_> =
            tensors.map(|(name, t)| (name.as_str(), dtype, t.shape.as_slice(), t.data.as_slice())).collect();
        let path = folder.path().join(name);
        write(&path, file.metadata(), &tensors).unwrap();
        Model::load(&path)
    };
    let wide = cast(&lite, "wide.safetensors", Dtype::F32).unwrap();
    assert_eq!((&wide.space, &wide.tensors), (&lite.space, &lite.tensors));
    wide.save(&path).unwrap();
    assert_eq!(Model::load(&path).unwrap().space, lite.space);
    let error = cast(&model(1), "narrow.safetensors", Dtype::F16).unwrap_err().to_string();
    assert!(error.contains("in float16, are those of") && error.contains("they were cast"), "{error}");
    let error = Model::embedded("litee").unwrap_err().to_string();
    assert!(error.contains("litee") && error.contains("\"lite\"") && error.contains(".safetensors"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_pipe_is_refused_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe.safetensors");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert!(Model::load(&pipe).unwrap_err().to_string().contains("not a file"));
}

#[test]
fn files_written_at_once_are_each_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let models = [model(1), model(2)];
    std::thread::scope(|scope| {
        for model in &models {
            scope.spawn(|| (0..20).for_each(|_| model.save(&path).unwrap()));
        }
    });
    let space = Model::load(&path).unwrap().space;
    assert!(models.iter().any(|model| model.space == space));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left behind");
}

#[test]
fn networks_that_make_no_sense_are_refused() {
    type Change = fn(&mut serde_json::Value);
    let cases: Vec<(Change, &str)> = vec![
        (|n| n["transformer"]["head"]["kernel"] = 4.into(), "kernel of 4"),
        (|n| n["transformer"]["head"]["kernel"] = 17.into(), "kernel of 17"),
        (|n| n["transformer"]["contract"][0]["stride"] = 3.into(), "stride"),
        (|n| n["transformer"]["contract"][0]["channels"] = 0.into(), "channels"),
        (|n| n["transformer"]["contract"][0]["stride"] = 1.into(), "halves 1 times and doubles 2"),
        (|n| n["transformer"]["residual"]["blocks"] = 10_000.into(), "residual blocks"),
        (|n| n["transformer"]["residual"]["blocks"] = 3.into(), "lacks the tensor"),
        (|n| n["transformer"]["residual"]["blocks"] = 1.into(), "does not name"),
        (|n| n["transformer"]["expand"][0]["channels"] = 9.into(), "has shape"),
        (|n| n["transformer"]["head"]["separable"] = true.into(), "separable"),
        (|n| n["transformer"]["dim"] = 7.into(), "computes vectors of length 6"),
        (|n| n["predictor"]["size"] = 7.into(), "image size"),
        (|n| n["predictor"]["smallest"] = 31.into(), "smallest image"),
        (|n| n["predictor"]["smallest"] = 1024.into(), "smallest image"),
        (|n| n["predictor"]["kind"] = "vgg".into(), "description of the network"),
        (|n| n["transformer"]["dropout"] = 1.into(), "description of the network"),
        (|n| n["transformer"]["contract"] = serde_json::json!([]), "contracting layers"),
    ];
    let good = saved();
    for (change, phrase) in cases {
        let bytes = with_header(&good, |header| {
            let mut network = serde_json::from_str(header["__metadata__"]["network"].as_str().unwrap()).unwrap();
            change(&mut network);
            header["__metadata__"]["network"] = network.to_string().into();
        });
        let error = error(bytes);
        assert!(error.contains(phrase), "{error:?} does not say {phrase:?}");
    }
}

#[test]
fn weights_that_are_not_numbers_are_refused() {
    let mut good = saved();
    let end = good.len();
    good[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    assert!(error(good).contains("NaN"));
}

#[test]
fn a_file_is_written_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("no such folder").join("model.safetensors");
    let error = model(1).save(&missing).unwrap_err().to_string();
    assert!(error.contains("no such folder"), "{error}");
    // The path is a folder: the rename fails, and no temporary file is left behind.
    let taken = folder.path().join("taken.safetensors");
    std::fs::create_dir(&taken).unwrap();
    std::fs::write(taken.join("inside"), "x").unwrap();
    assert!(model(1).save(&taken).is_err());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    assert!(Model::load(&taken).unwrap_err().to_string().contains("not a file"));
    assert!(Model::load(&folder.path().join("absent")).unwrap_err().to_string().contains("absent"));
}

#[test]
fn both_float_types_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("two.safetensors");
    let numbers = [1.5, -0.25, 65504.0, 0.0];
    write(&path, &BTreeMap::new(), &[("half", Dtype::F16, &[2, 2], &numbers), ("single", Dtype::F32, &[4], &numbers)])
        .unwrap();
    let file = File::open(&path).unwrap();
    for name in ["half", "single"] {
        assert_eq!(file.view(name).unwrap().to_f32(), numbers, "{name}");
    }
    assert_eq!(file.names().collect::<Vec<_>>(), ["half", "single"]);
    assert!(file.view("third").unwrap_err().to_string().contains("third"));
}

/// Returns a real TFLite file, in a folder next to the checkout, if it exists.
fn real(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/weights").join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("did not run: {} is not there", path.display());
    None
}

/// Converts files, like `sassl convert`.
fn converted(paths: &[&PathBuf]) -> sassl::Result<Model> {
    let paths: Vec<PathBuf> = paths.iter().map(|path| path.to_path_buf()).collect();
    Conversion { paths: &paths, name: "mobile", as_is: false, any_pair: false }.run()
}

#[test]
fn magentas_pair_converts() {
    let names = ["predictor_int8", "transformer_f16", "transformer_int8"].map(|n| format!("magenta_mobile_{n}.tflite"));
    let [Some(predictor), Some(half), Some(int8)] = names.map(|name| real(&name)) else { return };
    let exact = converted(&[&predictor, &half]).unwrap();
    let coarse = converted(&[&predictor, &int8]).unwrap();
    assert_eq!(exact.network.predictor, Predictor::MobilenetV2 { size: 256, dim: 100 });
    let AnyTransformer::Conditional(transformer) = &exact.network.transformer else { panic!("{:?}", exact.network) };
    assert_eq!((transformer.residual.blocks, transformer.expand.len()), (5, 2));
    assert_eq!(exact.network, coarse.network);
    assert_eq!(exact.space, coarse.space);
    for (name, tensor) in &exact.tensors {
        let most = tensor.data.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        let off =
            tensor.data.iter().zip(&coarse.tensors[name].data).fold(0.0_f32, |off, (a, b)| off.max((a - b).abs()));
        assert!(off <= 0.02 * most.max(1e-3), "{name}: int8 is off by {off} of {most}");
    }
    // Only one of the two, or one twice.
    let refused = |paths: &[&PathBuf]| converted(paths).unwrap_err().to_string();
    assert!(refused(&[&half]).contains("holds no style predictor F"));
    assert!(refused(&[&predictor]).contains("holds no style transformer T"));
    assert!(refused(&[&predictor, &predictor, &half]).contains("one of 2 files with a style predictor F"));
}

#[test]
fn the_full_transformer_is_read() {
    let Some(path) = real("magenta_full_transformer_f16.tflite") else { return };
    let (network, tensors, space) = magenta::read_transformer(&std::fs::read(&path).unwrap(), &path).unwrap();
    assert_eq!(space, magenta::TrainedWith::InceptionV3);
    if let Some(mobile) = real("magenta_mobile_predictor_int8.tflite") {
        let refused = converted(&[&mobile, &path]).unwrap_err().to_string();
        assert!(refused.contains("was trained with the style vectors of InceptionV3, not of MobileNetV2"), "{refused}");
    }
    assert_eq!(network.contract.iter().map(|layer| layer.channels).collect::<Vec<_>>(), [32, 64, 128]);
    assert_eq!(tensors["transformer.residual.4.conv2.weight"].shape, [128, 128, 3, 3]);
    assert_eq!(tensors["transformer.head.gamma.weight"].shape, [3, 100]);
}

/// Returns the int8 transformer, read once for all cases; its absence is reported once.
fn magenta_int8() -> Option<&'static (PathBuf, Vec<u8>)> {
    static FILE: LazyLock<Option<(PathBuf, Vec<u8>)>> = LazyLock::new(|| {
        let path = real("magenta_mobile_transformer_int8.tflite")?;
        let bytes = std::fs::read(&path).unwrap();
        Some((path, bytes))
    });
    FILE.as_ref()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mutated_models_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8), cut in any::<Option<prop::sample::Index>>()) {
        let mut bytes = saved();
        // The header is the sensitive part.
        let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        for (at, value) in changes {
            let at = at.index(header);
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let _ = Model::from_bytes(bytes.clone(), Path::new("mutated"));
        let _ = File::from_bytes(Cow::Owned(bytes), Path::new("mutated"));
    }

    #[test]
    fn mutated_magenta_files_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..30)) {
        let Some((path, bytes)) = magenta_int8() else { return Ok(()) };
        let mut bytes = bytes.clone();
        for (at, value) in &changes {
            let at = at.index(bytes.len());
            bytes[at] = *value;
        }
        let _ = magenta::read_transformer(&bytes, path);
        let _ = magenta::read_predictor(&bytes, path);
    }
}

#[cfg(unix)]
#[test]
fn what_stands_in_the_files_place_is_replaced_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("other"), "other").unwrap();
    std::os::unix::fs::symlink(at("other"), at("link")).unwrap();
    files::write(&at("link"), &[b"on", b"e"]).unwrap();
    assert_eq!(std::fs::read(at("link")).unwrap(), b"one");
    assert!(!at("link").is_symlink());
    assert_eq!(std::fs::read(at("other")).unwrap(), b"other", "no link is followed");
    files::write(&at(&"n".repeat(255)), &[b"a long name"]).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
    let error = files::write(&at("pipe"), &[b""]).unwrap_err().to_string();
    assert!(error.contains("pipe: exists and is a folder, a device or a pipe"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 4, "nothing is left behind");
}
