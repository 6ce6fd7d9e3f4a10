//! F of Magenta's mobile pair: MobileNetV2, its mean, and a linear layer.
use super::super::Tensors;
use super::super::network::{MOBILENET_V2_STEM, Predictor, mobilenet_v2_blocks};
use super::super::tflite::{Activation, Graph, Kind};
use super::{oihw_from_depthwise, oihw_from_ohwi, reason, weight_and_bias};
use crate::error::{Error, Result};
use std::path::Path;

/// F: a MobileNetV2 and a linear layer.
///
/// # Errors
/// The bytes are not such a network.
pub fn read_predictor(bytes: &[u8], origin: &Path) -> Result<(Predictor, Tensors)> {
    let graph = Graph::read(bytes, origin)?;
    walk(&graph).map_err(|reason| {
        Error::weights(origin, format!("{reason}; is it the file of a style predictor on MobileNetV2?"))
    })
}

fn walk(graph: &Graph) -> std::result::Result<(Predictor, Tensors), String> {
    let &[input] = graph.inputs.as_slice() else {
        return Err(format!("takes {} tensors, not one image", graph.inputs.len()));
    };
    let &[_, size, _, 3] = graph.shape(input) else { return Err("its input is no RGB image".into()) };
    let mut tensors = Tensors::new();
    let mut at = after_quantization(graph, input)?;
    let mut before_block = at;
    for layer in layers() {
        let name = &layer.name;
        if layer.place == Place::BlockStart {
            before_block = at;
        }
        if name == "head" {
            let mean = graph.takers(at).find(|o| o.kind == Kind::Mean);
            at = mean.and_then(|o| o.outputs.first().copied()).ok_or("has no mean before its last layer")?;
        }
        let convolution = graph.takers(at).find(|o| o.inputs.first() == Some(&at) && o.kind.window().is_some());
        let convolution = convolution.ok_or_else(|| format!("has nothing for {name}"))?;
        let window = convolution.kind.window().filter(|window| {
            let depthwise = matches!(convolution.kind, Kind::Depthwise(_));
            let activation = if layer.relu6 { Activation::Relu6 } else { Activation::None };
            // A 1x1 convolution is the same under both paddings.
            depthwise == layer.depthwise
                && (window.stride, window.activation) == (layer.stride, activation)
                && (window.same || layer.pointwise)
        });
        if window.is_none() {
            return Err(format!("has {:?} for {name}, not what MobileNetV2 has there", convolution.kind));
        }
        let (weight, bias) = weight_and_bias(graph, convolution)?;
        let mut weight = if layer.depthwise { oihw_from_depthwise(&weight) } else { oihw_from_ohwi(&weight) };
        if name == "head" && weight.shape[2..] == [1, 1] {
            weight.shape.truncate(2);
        }
        tensors.insert(format!("predictor.{name}.weight"), weight);
        tensors.insert(format!("predictor.{name}.bias"), bias);
        at = *convolution.outputs.first().ok_or("has a convolution without output")?;
        if layer.place == Place::BlockEndWithSum {
            let sum =
                graph.takers(at).find(|o| o.kind == Kind::Add(Activation::None) && o.inputs.contains(&before_block));
            let sum = sum.and_then(|o| o.outputs.first().copied());
            at = sum.ok_or_else(|| format!("does not add the block's input after {name}"))?;
        }
    }
    let dim = tensors.get("predictor.head.bias").map_or(0, |bias| bias.data.len());
    Ok((Predictor::MobilenetV2 { size, dim }, tensors))
}

/// The image after its quantization, if it has one, which must take [0, 1] as our networks do.
fn after_quantization(graph: &Graph, input: usize) -> std::result::Result<usize, String> {
    let Some(quantize) = graph.takers(input).find(|o| o.kind == Kind::Quantize) else { return Ok(input) };
    let output = *quantize.outputs.first().ok_or("quantizes its image to nothing")?;
    let (low, high) = graph.range(output).map_err(reason)?;
    match low.abs() < 1e-3 && (high - 1.0).abs() < 1e-3 {
        true => Ok(output),
        false => Err(format!("takes images in [{low}, {high}], not [0, 1]")),
    }
}

/// A convolution of MobileNetV2.
struct Layer {
    name: String,
    place: Place,
    depthwise: bool,
    pointwise: bool,
    stride: usize,
    relu6: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    BlockStart,
    /// The last of a block that adds its input.
    BlockEndWithSum,
    Elsewhere,
}

fn layers() -> Vec<Layer> {
    let layer = |name: String, place, stride, relu6| {
        let depthwise = name.ends_with("depthwise");
        let pointwise = !depthwise && name != "stem";
        Layer { name, place, depthwise, pointwise, stride, relu6 }
    };
    let mut layers = vec![layer("stem".into(), Place::Elsewhere, 2, true)];
    let mut inputs = MOBILENET_V2_STEM;
    for (i, block) in mobilenet_v2_blocks().enumerate() {
        let mut place = Place::BlockStart;
        if block.expansion != 1 {
            layers.push(layer(format!("block.{i}.expand"), place, 1, true));
            place = Place::Elsewhere;
        }
        layers.push(layer(format!("block.{i}.depthwise"), place, block.stride, true));
        let sums = block.stride == 1 && inputs == block.channels;
        let place = if sums { Place::BlockEndWithSum } else { Place::Elsewhere };
        layers.push(layer(format!("block.{i}.project"), place, 1, false));
        inputs = block.channels;
    }
    layers.push(layer("last".into(), Place::Elsewhere, 1, true));
    layers.push(layer("head".into(), Place::Elsewhere, 1, false));
    layers
}
