//! Conversion of the variables of Magenta's style predictor F and transformer T, by their names in the TensorFlow graph, to our
//! tensors.
//!
//! Source: magenta/magenta `arbitrary_image_stylization/{arbitrary_image_stylization_build_model, nza_model}` and
//! google-research/tf-slim `nets/{inception_v3, mobilenet/mobilenet_v2}`.
use super::super::Tensors;
use super::super::network::{Contract, Expand, Head, Predictor, Rectifier, Residual, Transformer, mobilenet_v2_blocks};
use super::renaming::Renaming;
use crate::error::Result;
use std::path::Path;

/// InceptionV3's first convolutions.
const STEM: [&str; 5] = ["Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3"];

/// InceptionV3's blocks: the convolutions of each branch in order, under their original, partly misleading names.
const BLOCKS: [(&str, [&[&str]; 4]); 8] = [
    ("Mixed_5b", [&["Conv2d_0a_1x1"], &["Conv2d_0a_1x1", "Conv2d_0b_5x5"], &THREES, &POOLED]),
    ("Mixed_5c", [&["Conv2d_0a_1x1"], &["Conv2d_0b_1x1", "Conv_1_0c_5x5"], &THREES, &POOLED]),
    ("Mixed_5d", [&["Conv2d_0a_1x1"], &["Conv2d_0a_1x1", "Conv2d_0b_5x5"], &THREES, &POOLED]),
    ("Mixed_6a", [&["Conv2d_1a_1x1"], &["Conv2d_0a_1x1", "Conv2d_0b_3x3", "Conv2d_1a_1x1"], &[], &[]]),
    ("Mixed_6b", SEVENS),
    ("Mixed_6c", SEVENS),
    ("Mixed_6d", SEVENS),
    ("Mixed_6e", SEVENS),
];
const THREES: [&str; 3] = ["Conv2d_0a_1x1", "Conv2d_0b_3x3", "Conv2d_0c_3x3"];
const POOLED: [&str; 1] = ["Conv2d_0b_1x1"];
const SEVENS: [&[&str]; 4] = [
    &["Conv2d_0a_1x1"],
    &["Conv2d_0a_1x1", "Conv2d_0b_1x7", "Conv2d_0c_7x1"],
    &["Conv2d_0a_1x1", "Conv2d_0b_7x1", "Conv2d_0c_1x7", "Conv2d_0d_7x1", "Conv2d_0e_1x7"],
    &POOLED,
];

/// The side of F's training images, and the length to which Magenta's programs resize the shorter side of images.
const SIDE: usize = 256;

/// Describes InceptionV3 in Magenta's variant.
pub(super) fn inception_v3_of(dim: usize) -> Predictor {
    let (shorter_side, activation) = (Some(SIDE), Rectifier::Relu6);
    Predictor::InceptionV3 { shorter_side, activation, pools_count_zeros: false, dim }
}

/// Returns `true` if a variable of this name may belong to F or T, i.e. is neither an optimizer's slot nor part of the loss.
pub fn is_variable(name: &str) -> bool {
    let networks = ["InceptionV3/", "MobilenetV2/", "mobilenet_conv/", "Conv/", "transformer/", "style_params/"];
    let parts = [
        "weights",
        "biases",
        "depthwise_weights",
        "pointwise_weights",
        "beta",
        "gamma",
        "moving_mean",
        "moving_variance",
    ];
    let last = name.rsplit('/').next().unwrap_or_default();
    networks.iter().any(|network| name.starts_with(network)) && parts.contains(&last)
}

/// Returns F's tensors under our names. A checkpoint of Magenta's distillation holds both predictors; F is then the
/// MobileNetV2, not the InceptionV3 from which it was distilled.
///
/// # Errors
/// Variables are missing or of invalid shapes; the error names the file's `origin`.
pub fn rename_predictor(variables: &Tensors, origin: &Path) -> Result<(Predictor, Tensors)> {
    let mut renaming = Renaming::new(variables, origin);
    let is_mobile = renaming.has_any("MobilenetV2/");
    if is_mobile {
        mobilenet_v2(&mut renaming);
    } else {
        inception_v3(&mut renaming);
    }
    let tensors = renaming.finish("style predictor F")?;
    let dim = tensors.get("predictor.head.bias").map_or(0, |bias| bias.data.len());
    Ok((if is_mobile { Predictor::MobilenetV2 { size: SIDE, dim } } else { inception_v3_of(dim) }, tensors))
}

/// Returns the tensors of T, of any width, dense or separable, under our names.
///
/// # Errors
/// The same as [`rename_predictor`].
pub fn rename_transformer(variables: &Tensors, origin: &Path) -> Result<(Transformer, Tensors)> {
    let mut renaming = Renaming::new(variables, origin);
    let mut contract = vec![];
    for (i, stride) in [1, 2, 2].into_iter().enumerate() {
        let ours = format!("transformer.contract.{i}");
        renaming.normed(&format!("transformer/contract/conv{}", i + 1), &ours, false);
        let [channels, _, kernel, _] = renaming.shape(&format!("{ours}.weight"));
        contract.push(Contract { kernel, stride, channels });
    }
    // There is at least one block, so that the error for a file without blocks lists what is missing.
    let blocks = (2..).take_while(|r| renaming.has_any(&format!("transformer/residual/residual{r}/"))).count() + 1;
    let mut separable = false;
    for (r, c) in (0..blocks).flat_map(|r| [(r, 1), (r, 2)]) {
        let (scope, ours) = (format!("residual/residual{}", r + 1), format!("residual.{r}.conv{c}"));
        separable |= site(&mut renaming, &scope, &format!("conv{c}"), &ours).separable;
    }
    let expand = [1, 2].map(|i| site(&mut renaming, &format!("expand/conv{i}"), "conv", &format!("expand.{}", i - 1)));
    let last = site(&mut renaming, "expand/conv3", "conv", "head");
    let head = Head { kernel: last.kernel, upsample: false, separable: last.separable, skip: false };
    let tensors = renaming.finish("style transformer T")?;
    let dim = tensors.get("transformer.head.beta.weight").map_or(0, |weight| weight.shape[1]);
    let residual = Residual { blocks, separable };
    Ok((Transformer { dim, contract, contract_norm: false, residual, expand: expand.into(), head }, tensors))
}

fn inception_v3(renaming: &mut Renaming) {
    for (i, layer) in STEM.iter().enumerate() {
        renaming.normed(&format!("InceptionV3/{layer}"), &format!("predictor.stem.{i}"), false);
    }
    for (b, (block, branches)) in BLOCKS.iter().enumerate() {
        for (i, branch) in branches.iter().enumerate() {
            for (j, layer) in branch.iter().enumerate() {
                let ours = format!("predictor.block.{b}.branch.{i}.{j}");
                renaming.normed(&format!("InceptionV3/{block}/Branch_{i}/{layer}"), &ours, false);
            }
        }
    }
    renaming.linear("Conv", "predictor.head");
}

fn mobilenet_v2(renaming: &mut Renaming) {
    renaming.normed("MobilenetV2/Conv", "predictor.stem", true);
    for (i, block) in mobilenet_v2_blocks().enumerate() {
        let theirs = if i == 0 { "expanded_conv".to_owned() } else { format!("expanded_conv_{i}") };
        let expand = (block.expansion != 1).then_some("expand");
        for layer in expand.into_iter().chain(["depthwise", "project"]) {
            renaming.normed(&format!("MobilenetV2/{theirs}/{layer}"), &format!("predictor.block.{i}.{layer}"), true);
        }
    }
    renaming.normed("MobilenetV2/Conv_1", "predictor.last", true);
    renaming.linear("mobilenet_conv/Conv", "predictor.head");
}

/// Converts a convolution, dense or separable, and its style norm. The norm's beta is named `Conv`, and gamma `Conv_1`. Returns
/// the description of the layer.
fn site(renaming: &mut Renaming, scope: &str, layer: &str, name: &str) -> Expand {
    let (dense, dilated) = (format!("transformer/{scope}/{layer}"), format!("transformer/{scope}/dilate_{layer}"));
    let ours = format!("transformer.{name}");
    let separable = renaming.has(&format!("{dilated}/depthwise_weights"));
    if separable {
        renaming.plain(&format!("{dilated}/depthwise_weights"), &format!("{ours}.depthwise"));
        renaming.plain(&format!("{dilated}/pointwise_weights"), &format!("{ours}.pointwise"));
    } else {
        renaming.plain(&format!("{dense}/weights"), &ours);
    }
    renaming.linear(&format!("style_params/{dense}/StyleNorm/Conv"), &format!("{ours}.beta"));
    renaming.linear(&format!("style_params/{dense}/StyleNorm/Conv_1"), &format!("{ours}.gamma"));
    let [first, last] = if separable { ["depthwise.weight", "pointwise.weight"] } else { ["weight", "weight"] };
    let [_, _, kernel, _] = renaming.shape(&format!("{ours}.{first}"));
    let [channels, ..] = renaming.shape(&format!("{ours}.{last}"));
    Expand { kernel, channels, separable }
}
