//! Converts style augmentation (Jackson et al. 2019, arXiv 1809.05375) from PyTorch files to our tensor names. The style
//! predictor F is InceptionV3 up to Mixed_6e. The transformer T is the network of Ghiasi et al. 2017, with instance norms
//! instead of batch norms.
//!
//! Source: philipjackson/style-augmentation `{ghiasi, stylePredictor, styleAugmentor}.py`, torchvision `models/inception.py`.
//! F's batch norms are folded into the preceding convolutions, with the factor gamma / sqrt(variance + 1e-3). The preprocessing
//! of the image is folded into F's first convolution. The biases of T's convolutions are dropped, because the instance norm
//! after each convolution cancels any bias.
use super::containers::pth::StateDict;
use super::network::{AnyTransformer, Contract, Expand, Head, Network, Predictor, Rectifier, Residual, Transformer};
use super::{Tensor, Tensors};
use crate::error::{Error, Result};

/// Length of a style vector z.
const DIM: usize = 100;
/// The number of F's channels before the linear layer.
const FEATURES: usize = 768;
/// Epsilon of F's batch norms.
const EPSILON: f64 = 1e-3;
/// The preprocessing of each colour channel, `x' = scale x + shift`. Red and green become 2 x - 1. For blue, the source divides
/// by 0.255 instead of 0.225.
const COLOURS: [(f64, f64); 3] = {
    let scale = 2.0 * (0.225 / 0.255);
    [(2.0, -1.0), (2.0, -1.0), (scale, 2.0 * 0.406 - 1.0 - scale * 0.406)]
};

const PREDICTOR_KEY: &str = "Conv2d_1a_3x3.conv.weight";
const TRANSFORMER_KEY: &str = "layers.0.conv.weight";

/// A convolution of F: its key, number of output channels, and kernel height and width.
type Convolution = (&'static str, usize, usize, usize);

const STEM: [Convolution; 5] = [
    ("Conv2d_1a_3x3", 32, 3, 3),
    ("Conv2d_2a_3x3", 32, 3, 3),
    ("Conv2d_2b_3x3", 64, 3, 3),
    ("Conv2d_3b_1x1", 80, 1, 1),
    ("Conv2d_4a_3x3", 192, 3, 3),
];

/// Reads the weights of both networks from `checkpoint_transformer.pth` and `checkpoint_stylepredictor.pth`, in any order. The
/// names of the tensors are:
///
/// - F: `predictor.stem.{0..4}`, `predictor.block.{0..7}.branch.{i}.{j}` and `predictor.head`, each with `.weight` and `.bias`.
///   Branches are in the order of concatenation; the pool of Mixed_6a is left out.
/// - T's contracting layers: `transformer.contract.{0..2}.weight`.
/// - T's other layers: `transformer.residual.{0..4}.conv{1,2}`, `transformer.expand.{0,1}` and `transformer.head`, each with
///   `.weight`, `.beta.{weight,bias}` and `.gamma.{weight,bias}`.
///
/// # Errors
/// A file is neither of the two or lacks a tensor, one of the two is missing, or there are more than two files.
pub fn read(files: &[StateDict]) -> Result<Tensors> {
    for file in files {
        if !file.has(PREDICTOR_KEY) && !file.has(TRANSFORMER_KEY) {
            let reason = format!(
                "is not a styleaug file: it has neither the key {PREDICTOR_KEY:?} of checkpoint_stylepredictor.pth, nor \
                 {TRANSFORMER_KEY:?} of checkpoint_transformer.pth; give these two files"
            );
            return Err(Error::weights(file.origin(), reason));
        }
    }
    let find = |key: &str| files.iter().filter(|file| file.has(key)).collect::<Vec<_>>();
    let lacks = |file: &StateDict, key: &str, other: &str| {
        Error::weights(
            file.origin(),
            format!("is one of styleaug's two networks; give {other}, which has the key {key:?}, too"),
        )
    };
    match (&find(PREDICTOR_KEY)[..], &find(TRANSFORMER_KEY)[..]) {
        (&[f], &[t]) => {
            let mut tensors = predictor(f)?;
            tensors.extend(transformer(t)?);
            Ok(tensors)
        }
        (&[file], []) => Err(lacks(file, TRANSFORMER_KEY, "checkpoint_transformer.pth")),
        ([], &[file]) => Err(lacks(file, PREDICTOR_KEY, "checkpoint_stylepredictor.pth")),
        _ => {
            let requirement = "must be styleaug's two, checkpoint_transformer.pth and checkpoint_stylepredictor.pth; \
                               give each once";
            Err(Error::value("files", format!("{} files", files.len()), requirement))
        }
    }
}

/// Returns `true` if a file holds one of the two networks.
pub fn has_key(file: &StateDict) -> bool {
    file.has(PREDICTOR_KEY) || file.has(TRANSFORMER_KEY)
}

/// Describes the two networks.
pub fn network() -> Network {
    let contract = [(9, 1, 32), (3, 2, 64), (3, 2, 128)];
    let contract = contract.map(|(kernel, stride, channels)| Contract { kernel, stride, channels });
    let expand = [64, 32].map(|channels| Expand { kernel: 3, channels, separable: false });
    let transformer = Transformer {
        dim: DIM,
        contract: contract.into(),
        contract_norm: true,
        residual: Residual { blocks: 5, separable: false },
        expand: expand.into(),
        head: Head { kernel: 9, upsample: false, separable: false, skip: false },
    };
    let predictor =
        Predictor::InceptionV3 { shorter_side: None, activation: Rectifier::Relu, pools_count_zeros: true, dim: DIM };
    Network { predictor, transformer: AnyTransformer::Conditional(transformer) }
}

/// Converts F.
fn predictor(file: &StateDict) -> Result<Tensors> {
    let mut tensors = Tensors::new();
    let mut inputs = 3;
    for (i, convolution) in STEM.into_iter().enumerate() {
        let colours = (i == 0).then_some(&COLOURS);
        add_folded(file, "", convolution, inputs, colours, &format!("predictor.stem.{i}"), &mut tensors)?;
        inputs = convolution.1;
    }
    for (b, (block, branches)) in blocks().into_iter().enumerate() {
        // Mixed_6a concatenates its pooled input too.
        let mut outputs = if block == "Mixed_6a" { inputs } else { 0 };
        for (i, branch) in branches.into_iter().enumerate() {
            let mut channels = inputs;
            for (j, convolution) in branch.into_iter().enumerate() {
                let ours = format!("predictor.block.{b}.branch.{i}.{j}");
                add_folded(file, &format!("{block}."), convolution, channels, None, &ours, &mut tensors)?;
                channels = convolution.1;
            }
            outputs += channels;
        }
        inputs = outputs;
    }
    add_linear(file, "fc", "predictor.head", [DIM, FEATURES], &mut tensors)?;
    Ok(tensors)
}

/// Returns F's blocks. The branches of a block are in the order of concatenation.
fn blocks() -> [(&'static str, Vec<Vec<Convolution>>); 8] {
    let a = |pooled| {
        vec![
            vec![("branch1x1", 64, 1, 1)],
            vec![("branch5x5_1", 48, 1, 1), ("branch5x5_2", 64, 5, 5)],
            vec![("branch3x3dbl_1", 64, 1, 1), ("branch3x3dbl_2", 96, 3, 3), ("branch3x3dbl_3", 96, 3, 3)],
            vec![("branch_pool", pooled, 1, 1)],
        ]
    };
    let b = vec![
        vec![("branch3x3", 384, 3, 3)],
        vec![("branch3x3dbl_1", 64, 1, 1), ("branch3x3dbl_2", 96, 3, 3), ("branch3x3dbl_3", 96, 3, 3)],
    ];
    let c = |n| {
        vec![
            vec![("branch1x1", 192, 1, 1)],
            vec![("branch7x7_1", n, 1, 1), ("branch7x7_2", n, 1, 7), ("branch7x7_3", 192, 7, 1)],
            vec![
                ("branch7x7dbl_1", n, 1, 1),
                ("branch7x7dbl_2", n, 7, 1),
                ("branch7x7dbl_3", n, 1, 7),
                ("branch7x7dbl_4", n, 7, 1),
                ("branch7x7dbl_5", 192, 1, 7),
            ],
            vec![("branch_pool", 192, 1, 1)],
        ]
    };
    [
        ("Mixed_5b", a(32)),
        ("Mixed_5c", a(64)),
        ("Mixed_5d", a(64)),
        ("Mixed_6a", b),
        ("Mixed_6b", c(128)),
        ("Mixed_6c", c(160)),
        ("Mixed_6d", c(160)),
        ("Mixed_6e", c(192)),
    ]
}

/// Adds a convolution with the following batch norm folded in. For the first convolution, the preceding colour transform
/// `scale x + shift` is folded in too, which is exact because this convolution has no padding. The result is
/// `w' = w scale factor` and `b' = beta + (sum w shift - mean) factor`, with `factor = gamma / sqrt(variance + 1e-3)`.
fn add_folded(
    file: &StateDict,
    scope: &str,
    (key, outputs, height, width): Convolution,
    inputs: usize,
    colours: Option<&[(f64, f64); 3]>,
    ours: &str,
    tensors: &mut Tensors,
) -> Result<()> {
    let shape = [outputs, inputs, height, width];
    let Tensor { mut data, .. } = file.tensor(&format!("{scope}{key}.conv.weight"), &shape)?;
    let norm = |part: &str| file.tensor(&format!("{scope}{key}.bn.{part}"), &[outputs]).map(|tensor| tensor.data);
    let (gamma, beta, mean, variance) = (norm("weight")?, norm("bias")?, norm("running_mean")?, norm("running_var")?);
    if let Some(wrong) = variance.iter().find(|variance| variance.is_nan() || **variance < 0.0) {
        let reason =
            format!("\"{scope}{key}.bn.running_var\" holds {wrong}, which is not a variance; copy the file again");
        return Err(Error::weights(file.origin(), reason));
    }
    let mut bias = Vec::with_capacity(outputs);
    for (o, weights) in data.chunks_exact_mut(inputs * height * width).enumerate() {
        let factor = f64::from(gamma[o]) / (f64::from(variance[o]) + EPSILON).sqrt();
        let mut shifted = 0.0;
        for (i, weights) in weights.chunks_exact_mut(height * width).enumerate() {
            let (scale, shift) = colours.map_or((1.0, 0.0), |colours| colours[i]);
            shifted += weights.iter().map(|&w| f64::from(w) * shift).sum::<f64>();
            weights.iter_mut().for_each(|w| *w = (f64::from(*w) * scale * factor) as f32);
        }
        bias.push((f64::from(beta[o]) + (shifted - f64::from(mean[o])) * factor) as f32);
    }
    tensors.insert(format!("{ours}.weight"), Tensor { shape: shape.to_vec(), data });
    tensors.insert(format!("{ours}.bias"), Tensor { shape: vec![outputs], data: bias });
    Ok(())
}

/// Converts T.
fn transformer(file: &StateDict) -> Result<Tensors> {
    let mut tensors = Tensors::new();
    let mut add = |key: &str, ours: &str, sides: [usize; 3]| {
        let [inputs, outputs, kernel] = sides;
        let weight = file.tensor(&format!("{key}.weight"), &[outputs, inputs, kernel, kernel])?;
        tensors.insert(format!("{ours}.weight"), weight);
        Ok::<_, Error>(())
    };
    for (i, sides) in [[3, 32, 9], [32, 64, 3], [64, 128, 3]].into_iter().enumerate() {
        add(&format!("layers.{i}.conv"), &format!("transformer.contract.{i}"), sides)?;
    }
    for (i, n) in (0..5).flat_map(|i| [(i, 1), (i, 2)]) {
        add(&format!("layers.{}.conv{n}", i + 3), &format!("transformer.residual.{i}.conv{n}"), [128, 128, 3])?;
    }
    let last = [("expand.0", [128, 64, 3]), ("expand.1", [64, 32, 3]), ("head", [32, 3, 9])];
    for (i, (ours, sides)) in last.into_iter().enumerate() {
        add(&format!("layers.{}.conv", i + 8), &format!("transformer.{ours}"), sides)?;
    }
    for part in ["beta", "gamma"] {
        for (i, n) in (0..5).flat_map(|i| [(i, 1), (i, 2)]) {
            let (key, ours) =
                (format!("layers.{}.fc_{part}{n}", i + 3), format!("transformer.residual.{i}.conv{n}.{part}"));
            add_linear(file, &key, &ours, [128, DIM], &mut tensors)?;
        }
        for (i, (ours, [_, outputs, _])) in last.into_iter().enumerate() {
            let (key, ours) = (format!("layers.{}.fc_{part}", i + 8), format!("transformer.{ours}.{part}"));
            add_linear(file, &key, &ours, [outputs, DIM], &mut tensors)?;
        }
    }
    Ok(tensors)
}

fn add_linear(file: &StateDict, key: &str, ours: &str, shape: [usize; 2], tensors: &mut Tensors) -> Result<()> {
    tensors.insert(format!("{ours}.weight"), file.tensor(&format!("{key}.weight"), &shape)?);
    tensors.insert(format!("{ours}.bias"), file.tensor(&format!("{key}.bias"), &shape[..1])?);
    Ok(())
}
