//! ONNX files: the same networks as in TFLite, in all their variants.
use super::onnx_files::{Attribute, Model, Recipe, Storage, TINY, field, number, oihw, transformer};
use super::tflite_files::{self, GOOD, numbers};
use proptest::prelude::*;
use sassl::Result;
use sassl::weights::inception_v3::{Branch, InceptionStage, stages};
use sassl::weights::layers::Layer;
use sassl::weights::magenta::{TrainedWith, read_predictor, read_transformer};
use sassl::weights::network::Transformer;
use sassl::weights::{Tensor, Tensors};
use std::path::Path;

fn read(bytes: &[u8]) -> Result<(Transformer, Tensors, TrainedWith)> {
    read_transformer(bytes, Path::new("tiny.onnx"))
}

#[test]
fn every_form_gives_the_transformer_that_tflite_gives() {
    let expected = read(&tflite_files::transformer(GOOD)).unwrap();
    assert_eq!(expected.2, TrainedWith::Unknown);
    for storage in
        [Storage::Raw, Storage::Typed, Storage::Half, Storage::TypedHalf, Storage::Quantized, Storage::Constant]
    {
        for (channels_first, old) in [(false, false), (true, false), (false, true), (true, true)] {
            let got = read(&transformer(Recipe { storage, channels_first, old, ..TINY }));
            assert_eq!(got.unwrap(), expected, "{storage:?} {channels_first} {old}");
        }
    }
    let rounded = Recipe { storage: Storage::Quantized, rounded: true, ..TINY };
    assert_eq!(read(&transformer(rounded)).unwrap(), expected);
    let (network, tensors, _) = read(&transformer(Recipe { separable: true, ..TINY })).unwrap();
    assert!(network.residual.separable && network.head.separable && network.expand[0].separable);
    assert_eq!(tensors["transformer.expand.0.depthwise.weight"].shape, [4, 1, 3, 3]);
    assert_eq!(tensors["transformer.expand.0.pointwise.weight"].shape, [5, 4, 1, 1]);
    assert_eq!(tensors["transformer.expand.0.depthwise.weight"].data, oihw([4, 3, 1], 23));
}

#[test]
fn transformers_that_compute_otherwise_are_refused() {
    for (recipe, phrase) in [
        (Recipe { mode: "constant", ..TINY }, "without reflection padding"),
        (Recipe { rounding: "ceil", ..TINY }, "without reflection padding"),
        (Recipe { scale: 3.0, ..TINY }, "without reflection padding"),
        (Recipe { shared: true, ..TINY }, "without reflection padding"),
        (Recipe { group: 2, ..TINY }, "in 2 groups"),
        (Recipe { storage: Storage::External, ..TINY }, "in an external file"),
    ] {
        let error = read(&transformer(recipe)).unwrap_err().to_string();
        println!("{error}");
        assert!(error.contains(phrase) && error.starts_with("tiny.onnx: ") && !error.contains('\n'), "{error}");
    }
}

#[test]
fn other_networks_and_other_files_are_refused() {
    let mut model = Model::new(Storage::Raw);
    model.input("content", &[1, 384, 384, 3]);
    model.input("style\nindex", &[1, 26]);
    let other = model.file();
    for (bytes, phrase) in [
        (&other[..], "\"style\\nindex\" (1, 1, 1, 26)"),
        (&[number(1, 8), field(2, b"x")].concat(), "has no graph"),
        (&[number(1, 8), field(7, b"\x0a\x05")].concat(), "graph is wrong"),
        (&b"\x80\x02}q"[..], "not an ONNX file"),
        (&b"\x08"[..], "not an ONNX file"),
    ] {
        let (f, t) = (read_predictor(bytes, Path::new("x")), read(bytes));
        println!("{}\n{}", f.as_ref().unwrap_err(), t.as_ref().err().map_or(String::new(), ToString::to_string));
        let text = f.unwrap_err().to_string();
        assert!(text.contains(phrase), "{text}");
    }
}

/// A variant of an InceptionV3 file.
#[derive(Clone, Copy)]
struct Trunk {
    /// The average pooling follows its convolution.
    commuted: bool,
    /// The activation follows the concatenation.
    behind: bool,
    count_zeros: i64,
    clip: f32,
    /// Different padding before and after a map, where the network pads both sides equally.
    uneven: bool,
}

const TRUNK: Trunk = Trunk { commuted: false, behind: false, count_zeros: 0, clip: 6.0, uneven: false };

fn relu6(m: &mut Model, t: Trunk, x: &str) -> String {
    let (low, high) = (m.floats(&[], &[0.0]), m.floats(&[], &[t.clip]));
    m.then("Clip", &[x, &low, &high], &[])
}

fn conv(m: &mut Model, t: Trunk, x: &str, layer: &Layer, activated: bool) -> String {
    let (h, w) = layer.kernel;
    let weight = m.floats(&[1, 1, h as i64, w as i64], &numbers(&[h as i32, w as i32], layer.outputs as i32));
    let bias = m.floats(&[1], &[0.5]);
    let (a, b) = if layer.valid { (0, 0) } else { (h as i64 / 2, w as i64 / 2) };
    let shift = i64::from(t.uneven && b > 0);
    let strides = [layer.stride as i64; 2];
    let y = m.then(
        "Conv",
        &[x, &weight, &bias],
        &[("strides", Attribute::Ints(&strides)), ("pads", Attribute::Ints(&[a, b - shift, a, b + shift]))],
    );
    if activated { relu6(m, t, &y) } else { y }
}

fn largest(m: &mut Model, x: &str) -> String {
    let attributes = [("kernel_shape", Attribute::Ints(&[3, 3])), ("strides", Attribute::Ints(&[2, 2]))];
    m.then("MaxPool", &[x], &attributes)
}

fn average(m: &mut Model, t: Trunk, x: &str) -> String {
    let attributes = [
        ("kernel_shape", Attribute::Ints(&[3, 3])),
        ("pads", Attribute::Ints(&[1, 1, 1, 1])),
        ("count_include_pad", Attribute::Int(t.count_zeros)),
    ];
    m.then("AveragePool", &[x], &attributes)
}

fn branch(m: &mut Model, t: Trunk, x: &str, branch: &Branch) -> String {
    match branch {
        Branch::MaxPool => largest(m, x),
        Branch::AveragePool(layer) if t.commuted => {
            let y = conv(m, t, x, layer, false);
            let y = average(m, t, &y);
            if t.behind { y } else { relu6(m, t, &y) }
        }
        Branch::AveragePool(layer) => {
            let y = average(m, t, x);
            conv(m, t, &y, layer, !t.behind)
        }
        Branch::Convs(layers) => {
            let mut x = x.to_owned();
            for (i, layer) in layers.iter().enumerate() {
                x = conv(m, t, &x, layer, !(t.behind && i + 1 == layers.len()));
            }
            x
        }
    }
}

fn inception(t: Trunk) -> Vec<u8> {
    let mut model = Model::new(Storage::Raw);
    let m = &mut model;
    m.input("image", &[1, 0, 0, 3]);
    let mut x = m.then("Transpose", &["image"], &[("perm", Attribute::Ints(&[0, 3, 1, 2]))]);
    for stage in stages() {
        x = match &stage {
            InceptionStage::Conv(layer) => conv(m, t, &x, layer, true),
            InceptionStage::MaxPool => largest(m, &x),
            InceptionStage::Mixed(branches) => {
                let ends: Vec<String> = branches.iter().map(|b| branch(m, t, &x, b)).collect();
                let ends: Vec<&str> = ends.iter().map(String::as_str).collect();
                let y = m.then("Concat", &ends, &[("axis", Attribute::Int(1))]);
                if t.behind { relu6(m, t, &y) } else { y }
            }
        };
    }
    let mean = m.then("GlobalAveragePool", &[&x], &[]);
    let weight = m.floats(&[1, 1, 1, 1], &[2.0]);
    m.then("Conv", &[&mean, &weight], &[]);
    model.file()
}

#[test]
fn inception_is_read_however_its_activations_and_averages_stand() {
    let read = |t: Trunk| read_predictor(&inception(t), Path::new("f.onnx"));
    let (network, tensors) = read(TRUNK).unwrap();
    assert_eq!(tensors.len(), 142);
    let Tensor { shape, data } = &tensors["predictor.block.4.branch.1.1.weight"];
    assert_eq!((shape.as_slice(), data.as_slice()), (&[1, 1, 1, 7][..], &numbers(&[1, 7], 128)[..]));
    for (commuted, behind) in [(true, false), (false, true), (true, true)] {
        assert_eq!(read(Trunk { commuted, behind, ..TRUNK }).unwrap(), (network.clone(), tensors.clone()));
    }
    for (t, phrase) in [
        (Trunk { count_zeros: 1, ..TRUNK }, "has ceil_mode or count_include_pad"),
        (Trunk { clip: 5.0, ..TRUNK }, "unlike InceptionV3"),
        (Trunk { uneven: true, ..TRUNK }, "padding and ReLU6 for block.7.branch"),
    ] {
        let error = read(t).unwrap_err().to_string();
        println!("{error}");
        assert!(error.contains(phrase), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mutated_graphs_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut in proptest::option::weighted(0.1, any::<prop::sample::Index>()),
        storage in prop::sample::select(vec![Storage::Raw, Storage::TypedHalf, Storage::Quantized, Storage::Constant]),
        (old, separable) in any::<(bool, bool)>(),
    ) {
        let mut bytes = transformer(Recipe { storage, old, separable, ..TINY });
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        for result in [read(&bytes).map(|_| ()), read_predictor(&bytes, Path::new("tiny.onnx")).map(|_| ())] {
            if let Err(error) = result {
                let error = error.to_string();
                prop_assert!(error.starts_with("tiny.onnx: ") && !error.contains('\n'), "{}", error);
            }
        }
    }
}
