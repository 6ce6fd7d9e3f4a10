//! TFLite files: every storage of the weights gives the same network; hostile files and other networks are rejected.
use super::flatbuffer::{Graph, Storage};
use super::tflite_files::{DIM, GOOD, Recipe, UNIT, numbers, predictor, transformer, window};
use proptest::prelude::*;
use sassl::Result;
use sassl::weights::Model;
use sassl::weights::convert::Conversion;
use sassl::weights::magenta::{read_predictor, read_transformer};
use sassl::weights::network::{AnyTransformer, Network, Predictor, Transformer};
use sassl::weights::{Tensor, Tensors};
use std::path::Path;

/// Converts two files, like `sassl convert`.
fn pair(f: &Path, t: &Path) -> Result<Model> {
    Conversion { paths: &[f.into(), t.into()], name: "tiny", as_is: false, any_pair: false }.run()
}

fn read(bytes: &[u8]) -> Result<(Transformer, Tensors)> {
    read_transformer(bytes, Path::new("tiny.tflite")).map(|(network, tensors, _)| (network, tensors))
}

#[test]
fn every_storage_gives_the_same_transformer() {
    let (network, tensors) = read(&transformer(GOOD)).unwrap();
    let expected = serde_json::json!({
        "dim": 2,
        "contract": [{"kernel": 3, "stride": 2, "channels": 4}],
        "residual": {"blocks": 1, "separable": false},
        "expand": [{"kernel": 3, "channels": 5, "separable": false}],
        "head": {"kernel": 5, "upsample": false, "separable": false, "skip": false},
    });
    assert_eq!(serde_json::to_value(&network).unwrap(), expected);
    // The tensors are exactly those of the description.
    let predictor = Predictor::Cnn { size: 32, smallest: None, channels: vec![1], dim: 2 };
    let mut named = Network { predictor, transformer: AnyTransformer::Conditional(network.clone()) }.tensors();
    named.retain(|name, _| name.starts_with("transformer."));
    assert_eq!(named, tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shape.clone())).collect());
    // The order is OHWI in the file, OIHW in the model.
    let file = numbers(&[5, 3, 3, 4], 3);
    let Tensor { shape, data } = &tensors["transformer.expand.0.weight"];
    assert_eq!(shape, &[5, 4, 3, 3]);
    for (n, x) in data.iter().enumerate() {
        let (o, i, y, x_at) = (n / 36, n / 9 % 4, n / 3 % 3, n % 3);
        assert_eq!(*x, file[((o * 3 + y) * 3 + x_at) * 4 + i], "{n}");
    }
    assert_eq!(tensors["transformer.contract.0.bias"].data, [0.5, -0.25, 0.0, 0.125]);
    assert_eq!(tensors["transformer.head.beta.weight"].data, numbers(&[3, 2], 4 + 3));
    assert_eq!(tensors["transformer.head.gamma.bias"].data, numbers(&[3], 4 + 6));
    for storage in [Storage::F16, Storage::Int8, Storage::Int8Channels] {
        assert_eq!(
            read(&transformer(Recipe { storage, ..GOOD })).unwrap(),
            (network.clone(), tensors.clone()),
            "{storage:?}"
        );
    }
}

#[test]
fn transformers_that_compute_otherwise_are_refused() {
    for (recipe, phrase) in [
        (Recipe { eps: 1e-3, ..GOOD }, "no style norm"),
        (Recipe { mirror: 1, ..GOOD }, "without reflection padding"),
        (Recipe { border: 2, ..GOOD }, "padding [0, 0, 2, 2, 2, 2, 0, 0]"),
        (Recipe { half_pixel: 1, ..GOOD }, "half-pixel"),
        (Recipe { relu: 0, ..GOOD }, "no activation after residual.0.conv1"),
        (Recipe { relu: 3, ..GOOD }, "ReLU6 after residual.0.conv1"),
        (Recipe { relu: 4, ..GOOD }, "activation 4"),
        (Recipe { bias: 0.5, ..GOOD }, "a bias"),
        (Recipe { kernel: 5, ..GOOD }, "a kernel of 5 after an upsampling"),
        (Recipe { sum: false, ..GOOD }, "does not add the input of residual block 0"),
        (Recipe { sigmoid: false, ..GOOD }, "no sigmoid"),
    ] {
        let error = read(&transformer(recipe)).unwrap_err().to_string();
        assert!(error.contains(phrase) && error.starts_with("tiny.tflite: "), "{error:?} does not say {phrase:?}");
        assert!(!error.contains('\n'), "{error:?}");
    }
}

#[test]
fn what_converters_of_today_write_gives_the_same_transformer() {
    let expected = read(&transformer(GOOD)).unwrap();
    for recipe in [
        Recipe { reshape: Some(22), ..GOOD },
        Recipe { reshape: Some(43), ..GOOD },
        Recipe { reshape: Some(70), storage: Storage::F16, any_size: true, ..GOOD },
        Recipe { apart: true, ..GOOD },
        Recipe { range: Some(UNIT), storage: Storage::Int8Channels, ..GOOD },
    ] {
        assert_eq!(read(&transformer(recipe)).unwrap(), expected);
    }
    let (network, tensors) = read(&transformer(Recipe { separable: Some(0.0), ..GOOD })).unwrap();
    assert!(network.residual.separable && network.head.separable && network.expand[0].separable);
    assert_eq!(tensors["transformer.residual.0.conv2.depthwise.weight"].shape, [4, 1, 3, 3]);
    assert_eq!(tensors["transformer.head.pointwise.weight"].shape, [3, 5, 1, 1]);
    let file = numbers(&[1, 5, 5, 5], 24);
    let head = &tensors["transformer.head.depthwise.weight"];
    assert!(head.data.iter().enumerate().all(|(n, &x)| x == file[n % 25 * 5 + n / 25]));
    let predictor = Predictor::Cnn { size: 32, smallest: None, channels: vec![1], dim: 2 };
    let mut named = Network { predictor, transformer: AnyTransformer::Conditional(network) }.tensors();
    named.retain(|name, _| name.starts_with("transformer."));
    assert_eq!(named, tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shape.clone())).collect());
    for (recipe, phrase) in [
        (Recipe { separable: Some(0.5), ..GOOD }, "a bias or an activation before the pointwise"),
        (Recipe { range: Some((2.0 / 255.0, 0)), ..GOOD }, "images in [-1.003"),
        (Recipe { range: Some(UNIT), eps: 1e-3, ..GOOD }, "QUANTIZE first"),
        (Recipe { reshape: Some(36), ..GOOD }, "no style norm"),
    ] {
        let error = read(&transformer(recipe)).unwrap_err().to_string();
        assert!(error.contains(phrase), "{error:?} does not say {phrase:?}");
    }
}

#[test]
fn a_predictor_is_read() {
    let (network, tensors) = read_predictor(&predictor(UNIT, 3, true), Path::new("tiny.tflite")).unwrap();
    assert_eq!(network, Predictor::MobilenetV2 { size: 256, dim: 2 });
    let file = numbers(&[1, 3, 3, 96], 96);
    let depthwise = &tensors["predictor.block.1.depthwise.weight"];
    assert_eq!(depthwise.shape, [96, 1, 3, 3]);
    assert!(depthwise.data.iter().enumerate().all(|(n, &x)| x == file[n % 9 * 96 + n / 9]));
    assert_eq!(tensors["predictor.head.weight"].shape, [2, 1280]);
}

#[test]
fn predictors_that_compute_otherwise_are_refused() {
    for (bytes, phrase) in [
        (predictor((2.0 / 255.0, 0), 3, true), "images in [-1.003"),
        (predictor(UNIT, 1, true), "for stem"),
        (predictor(UNIT, 3, false), "does not add the block's input after block.2.project"),
        (transformer(GOOD), "takes 2 tensors"),
    ] {
        let error = read_predictor(&bytes, Path::new("tiny.tflite")).unwrap_err().to_string();
        assert!(error.contains(phrase), "{error:?} does not say {phrase:?}");
    }
    let error = read(&predictor(UNIT, 3, true)).unwrap_err().to_string();
    assert!(error.contains("file of a style transformer"), "{error}");
}

#[test]
fn pairs_of_two_families_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let [f, t] = ["f.tflite", "t.tflite"].map(|name| folder.path().join(name));
    std::fs::write(&f, predictor(UNIT, 3, true)).unwrap();
    std::fs::write(&t, transformer(GOOD)).unwrap();
    let model = pair(&f, &t).unwrap();
    assert_eq!((model.name.as_str(), model.licence.as_str()), ("tiny", "Apache-2.0"));
    let saved = folder.path().join("tiny.safetensors");
    model.save(&saved).unwrap();
    assert_eq!(sassl::weights::Model::load(&saved).unwrap().space, model.space);
    for (f, t, phrase) in [
        (&t, &t, "holds no style predictor F"),
        (&f, &f, "is one of 2 files with a style predictor F; give only one"),
        (&saved, &t, "not a supported network file"),
        (&folder.path().join("absent"), &t, "absent"),
    ] {
        let error = pair(f, t).unwrap_err().to_string();
        assert!(error.contains(phrase), "{error:?} does not say {phrase:?}");
    }
    let sparse = folder.path().join("large.tflite");
    std::fs::File::create(&sparse).unwrap().set_len(2 << 30).unwrap();
    assert!(pair(&sparse, &t).unwrap_err().to_string().contains("too large"));
}

#[cfg(unix)]
#[test]
fn a_pipe_is_refused_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe.tflite");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert!(pair(&pipe, &pipe).unwrap_err().to_string().contains("neither a file nor a folder"));
}

#[test]
fn truncated_files_are_refused() {
    let good = transformer(Recipe { storage: Storage::Int8Channels, ..GOOD });
    // The last three bytes may be padding.
    for end in 0..good.len() - 3 {
        assert!(read(&good[..end]).is_err(), "cut at {end} of {}", good.len());
    }
    for (bytes, phrase) in [
        (&b""[..], "TFL3"),
        (&b"\x08\0\0\0TFL2"[..], "TFL3"),
        (&b"\x08\0\0\0TFL3"[..], "root"),
        (&b"\xff\xff\xff\xffTFL3"[..], "root"),
    ] {
        assert!(read(bytes).unwrap_err().to_string().contains(phrase));
    }
}

#[test]
fn lying_offsets_and_lengths_are_refused() {
    let good = transformer(GOOD);
    let word = |at: usize| u32::from_le_bytes(good[at..at + 4].try_into().unwrap());
    let changed = |at: usize, value: u32| {
        let mut bytes = good.clone();
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        read(&bytes).map(|_| ()).map_err(|error| error.to_string())
    };
    let root = word(0) as usize;
    for (at, what) in
        [(root, "root"), (root + 4, "operator codes"), (root + 8, "list of graphs"), (root + 12, "list of buffers")]
    {
        for value in [0x7fff_ffff, 0x8000_0000, 0x8000_0001, good.len() as u32] {
            let error = changed(at, value).unwrap_err();
            assert!(error.contains(what), "{error:?} does not say {what:?}");
        }
        if at > root {
            // The length of the list.
            let list = at + word(at) as usize;
            for value in [1 << 31, u32::MAX, 8193, good.len() as u32 / 4] {
                let error = changed(list, value).unwrap_err();
                assert!(error.contains(what), "{error:?} does not say {what:?}");
            }
        }
    }
    // Changes every word of the file in turn: an error or other weights result, but no panic and no hang.
    for at in (0..good.len() - 3).step_by(4) {
        for value in [0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX, word(at) ^ 4] {
            let _ = changed(at, value);
        }
    }
}

#[test]
fn graphs_that_run_in_circles_are_refused() {
    let mut graph = Graph::new(Storage::F32);
    let (image, z) = (graph.tensor(&[1, 8, 8, 3]), graph.tensor(&[1, 1, 1, DIM]));
    graph.inputs = vec![image, z];
    let widths = graph.integers(&[0, 0, 1, 1, 1, 1, 0, 0]);
    let bordered = graph.then(100, &[image, widths], &[], vec![]);
    let weight = graph.floats(&[3, 3, 3, 3], &numbers(&[3, 3, 3, 3], 0), 0);
    let bias = graph.floats(&[3], &[0.0; 3], 0);
    graph.operator(3, &[bordered, weight, bias], &[image], window(1, 1, (3, 1)));
    let error = read(&graph.file()).unwrap_err().to_string();
    assert!(error.contains("overlaps other tensors"), "{error}");
}

#[test]
fn tensors_that_share_their_claims_take_no_memory() {
    // 8,000 tensors that share one shape of a million dimensions: 64 GB if each were read.
    let mut graph = Graph::new(Storage::F32);
    graph.tensor(&vec![1; 1 << 20]);
    for _ in 0..8000 {
        graph.tensor(&[]);
    }
    let mut bytes = graph.file();
    let word = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let root = word(&bytes, 0);
    let graphs = root + 8 + word(&bytes, root + 8);
    let graph = graphs + 4 + word(&bytes, graphs + 4);
    let tensors = graph + 4 + word(&bytes, graph + 4);
    let first = tensors + 4 + word(&bytes, tensors + 4);
    for entry in (0..8001).map(|i| tensors + 4 + 4 * i) {
        let offset = (first - entry) as u32;
        bytes[entry..entry + 4].copy_from_slice(&offset.to_le_bytes());
    }
    assert!(read(&bytes).unwrap_err().to_string().contains("list of tensors"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mutated_graphs_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..30),
        cut in proptest::option::weighted(0.1, any::<prop::sample::Index>()),
        storage in prop::sample::select(vec![Storage::F32, Storage::F16, Storage::Int8, Storage::Int8Channels]),
    ) {
        let mut bytes = transformer(Recipe { storage, ..GOOD });
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        for result in [read(&bytes).map(|_| ()), read_predictor(&bytes, Path::new("tiny.tflite")).map(|_| ())] {
            if let Err(error) = result {
                let error = error.to_string();
                prop_assert!(error.starts_with("tiny.tflite: ") && !error.contains('\n'), "{}", error);
            }
        }
    }
}
