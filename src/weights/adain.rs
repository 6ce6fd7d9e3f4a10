//! Converts AdaIN (Huang and Belongie 2017, arXiv 1703.06868) from PyTorch files to our tensor names. Two forms are supported:
//!
//! - "normalised", from naoto0804/pytorch-AdaIN: two files, `vgg_normalised.pth` and `decoder.pth`, with positions in a
//!   `Sequential` as keys. A 1x1 convolution maps RGB in [0, 1] to the encoder's input.
//! - "torchvision", from irasin/Pytorch_AdaIN: one file, `model_state.pth`, with torchvision's VGG-19 as the encoder.
//!
//! The weights of both forms have the same shapes, but padding, pools and standard deviations differ. The form is therefore
//! recognized by the keys.
use super::containers::pth::StateDict;
use super::layers::Layer;
use super::network::{AnyTransformer, Decoder, EncoderBorder, Epsilon, Network, Predictor};
use super::vgg19::{self, CHANNELS};
use super::{Tensor, Tensors};
use crate::error::{Error, Result};

/// The part of AdaIN that a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Encoder,
    Decoder,
    Whole,
}

/// ImageNet's mean colour. torchvision's networks normalize images by this mean and the standard deviation [`DEVIATION`].
const MEAN: [f64; 3] = [0.485, 0.456, 0.406];
const DEVIATION: [f64; 3] = [0.229, 0.224, 0.225];

const NORMALISED_ENCODER: [&str; 9] = ["2", "5", "9", "12", "16", "19", "22", "25", "29"];
const NORMALISED_DECODER: [&str; 9] = ["1", "5", "8", "11", "14", "18", "21", "25", "28"];
const TORCHVISION_ENCODER: [&str; 9] = [
    "vgg_encoder.slice1.0",
    "vgg_encoder.slice2.2",
    "vgg_encoder.slice2.5",
    "vgg_encoder.slice3.7",
    "vgg_encoder.slice3.10",
    "vgg_encoder.slice4.12",
    "vgg_encoder.slice4.14",
    "vgg_encoder.slice4.16",
    "vgg_encoder.slice4.19",
];
const TORCHVISION_DECODER: [&str; 9] = [
    "decoder.rc1.conv",
    "decoder.rc2.conv",
    "decoder.rc3.conv",
    "decoder.rc4.conv",
    "decoder.rc5.conv",
    "decoder.rc6.conv",
    "decoder.rc7.conv",
    "decoder.rc8.conv",
    "decoder.rc9.conv",
];

/// Reads AdaIN from `vgg_normalised.pth` and `decoder.pth`, in any order, or from `model_state.pth`. The preprocessing of the
/// image is folded into the first convolution, the postprocessing of the decoder's output into the last.
///
/// # Errors
/// A file is none of these three or lacks a tensor, the encoder or the decoder is missing, or there are too many files.
pub fn read(files: &[StateDict]) -> Result<(Network, Tensors)> {
    let parts = files.iter().map(part).collect::<Result<Vec<_>>>()?;
    let wrong = |file: &StateDict, reason: &str| Err(Error::weights(file.origin(), reason));
    match (files, &parts[..]) {
        ([file], [Part::Whole]) => Ok((network(EncoderBorder::Zero), torchvision(file)?)),
        ([encoder, decoder], [Part::Encoder, Part::Decoder]) | ([decoder, encoder], [Part::Decoder, Part::Encoder]) => {
            Ok((network(EncoderBorder::Reflect), normalised(encoder, decoder)?))
        }
        ([file], [Part::Encoder]) => wrong(
            file,
            "holds AdaIN's encoder alone (recognized by its key \"0.weight\"); give the decoder, decoder.pth, too",
        ),
        ([file], [Part::Decoder]) => wrong(
            file,
            "holds AdaIN's decoder alone (recognized by its key \"28.weight\"); give the encoder, vgg_normalised.pth, too",
        ),
        ([_, file], [Part::Encoder, Part::Encoder]) => wrong(
            file,
            "holds AdaIN's encoder, as the other file does; give the decoder, decoder.pth, instead of one of them",
        ),
        ([_, file], [Part::Decoder, Part::Decoder]) => wrong(
            file,
            "holds AdaIN's decoder, as the other file does; give the encoder, vgg_normalised.pth, instead of one of them",
        ),
        _ => {
            let requirement = "must be AdaIN's two, vgg_normalised.pth and decoder.pth, or one with both parts, \
                               model_state.pth";
            Err(Error::value("files", format!("{} files", files.len()), requirement))
        }
    }
}

fn part(file: &StateDict) -> Result<Part> {
    let holds = |keys: [&str; 2]| keys.iter().all(|key| file.has(key));
    match () {
        () if holds(["vgg_encoder.slice1.0.weight", "decoder.rc1.conv.weight"]) => Ok(Part::Whole),
        () if holds(["0.weight", "29.weight"]) => Ok(Part::Encoder),
        () if holds(["1.weight", "28.weight"]) => Ok(Part::Decoder),
        () => Err(Error::weights(
            file.origin(),
            "is not an AdaIN file: it has neither the keys \"0.weight\" and \"29.weight\" of vgg_normalised.pth, nor \"1.weight\" and \
             \"28.weight\" of decoder.pth, nor \"vgg_encoder.slice1.0.weight\" and \"decoder.rc1.conv.weight\" of model_state.pth; \
             give one of these files",
        )),
    }
}

/// Describes the network of one of the two forms. The form is identified by `border`, the padding of its encoder.
fn network(border: EncoderBorder) -> Network {
    let reflects = border == EncoderBorder::Reflect;
    let epsilon = if reflects { Epsilon::Variance } else { Epsilon::Deviation };
    let dim = 2 * CHANNELS;
    Network {
        predictor: Predictor::Vgg19 { border, pools_ceil: reflects, epsilon, dim },
        transformer: AnyTransformer::Adain(Decoder::MirroredVgg19 { dim }),
    }
}

fn normalised(encoder: &StateDict, decoder: &StateDict) -> Result<Tensors> {
    let mut tensors = Tensors::new();
    add(encoder, NORMALISED_ENCODER, encoder_layers(), &mut tensors)?;
    add(decoder, NORMALISED_DECODER, vgg19::decoder(), &mut tensors)?;
    let (weight, bias) = (encoder.tensor("0.weight", &[3, 3, 1, 1])?, encoder.tensor("0.bias", &[3])?);
    let row = |c: usize| std::array::from_fn(|i| f64::from(weight.data[3 * c + i]));
    fold_input(&mut tensors, [0, 1, 2].map(row), std::array::from_fn(|c| f64::from(bias.data[c])));
    Ok(tensors)
}

fn torchvision(file: &StateDict) -> Result<Tensors> {
    let mut tensors = Tensors::new();
    add(file, TORCHVISION_ENCODER, encoder_layers(), &mut tensors)?;
    add(file, TORCHVISION_DECODER, vgg19::decoder(), &mut tensors)?;
    let row = |c: usize| std::array::from_fn(|i| if i == c { 1.0 / DEVIATION[c] } else { 0.0 });
    fold_input(&mut tensors, [0, 1, 2].map(row), std::array::from_fn(|c| -MEAN[c] / DEVIATION[c]));
    // The zero padding of the normalized image corresponds to this colour of the image.
    tensors.insert("predictor.border".into(), Tensor { shape: vec![3], data: MEAN.map(|x| x as f32).to_vec() });
    let last = format!("transformer.decoder.{}", vgg19::decoder().len() - 1);
    if let Some(weight) = tensors.get_mut(&format!("{last}.weight")) {
        let each = weight.data.len() / 3;
        weight.data.iter_mut().enumerate().for_each(|(n, w)| *w = (f64::from(*w) * DEVIATION[n / each]) as f32);
    }
    if let Some(bias) = tensors.get_mut(&format!("{last}.bias")) {
        bias.data.iter_mut().enumerate().for_each(|(c, b)| *b = (f64::from(*b) * DEVIATION[c] + MEAN[c]) as f32);
    }
    Ok(tensors)
}

fn encoder_layers() -> Vec<Layer> {
    vgg19::encoder().into_iter().map(|(layer, _)| layer).collect()
}

/// Adds the 3x3 convolutions of the encoder or the decoder under our names.
fn add(file: &StateDict, keys: [&str; 9], layers: Vec<Layer>, tensors: &mut Tensors) -> Result<()> {
    for (key, layer) in keys.iter().zip(layers) {
        let weight = file.tensor(&format!("{key}.weight"), &[layer.outputs, layer.inputs, 3, 3])?;
        tensors.insert(format!("{}.weight", layer.name), weight);
        tensors.insert(format!("{}.bias", layer.name), file.tensor(&format!("{key}.bias"), &[layer.outputs])?);
    }
    Ok(())
}

/// Folds the input transform `matrix image + shift` into the weights and bias of the first convolution.
fn fold_input(tensors: &mut Tensors, matrix: [[f64; 3]; 3], shift: [f64; 3]) {
    let name = |part: &str| format!("predictor.encoder.0.{part}");
    let Some(mut weight) = tensors.remove(&name("weight")) else { return };
    if let Some(bias) = tensors.get_mut(&name("bias")) {
        for (bias, filter) in bias.data.iter_mut().zip(weight.data.chunks_exact(27)) {
            let of_colours = filter.chunks_exact(9).zip(shift);
            let moved: f64 =
                of_colours.map(|(taps, shift)| shift * taps.iter().map(|&w| f64::from(w)).sum::<f64>()).sum();
            *bias = (f64::from(*bias) + moved) as f32;
        }
    }
    for filter in weight.data.chunks_exact_mut(27) {
        let own: Vec<f64> = filter.iter().map(|&w| f64::from(w)).collect();
        for (n, w) in filter.iter_mut().enumerate() {
            *w = (0..3).map(|c| own[9 * c + n % 9] * matrix[c][n / 9]).sum::<f64>() as f32;
        }
    }
    tensors.insert(name("weight"), weight);
}
