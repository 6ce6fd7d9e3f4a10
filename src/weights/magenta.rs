//! Magenta's arbitrary image stylization, from TFLite to our names.
//!
//! The graphs are walked by their operators: tensor names differ from conversion to conversion, the order of the layers does
//! not. Source: magenta/magenta `arbitrary_image_stylization/{nza_model, arbitrary_image_stylization_build_mobilenet_model}`.
use super::network::{Contract, Expand, Head, Network, Predictor, Residual, Transformer, mobilenet_v2_blocks};
use super::tflite::{Graph, Kind, Operator, RELU, RELU6};
use super::{Model, Tensor, Tensors};
use crate::error::{Error, Result};
use std::path::Path;

const LICENCE: &str = "Apache-2.0";
const PROVENANCE: &str = "Magenta arbitrary-image-stylization-v1-256 (Ghiasi et al. 2017, arXiv 1705.06830), Google, \
                          converted from TFLite";

/// F and T that belong together, as one model.
///
/// # Errors
/// A file cannot be read, or is not such a network; or the two are not of one pair.
pub fn mobile_pair(predictor: &Path, transformer: &Path, name: &str) -> Result<Model> {
    let read = |path: &Path| std::fs::read(path).map_err(|error| Error::io(path, error));
    let (f, mut tensors) = read_predictor(&read(predictor)?, predictor)?;
    let (t, others) = read_transformer(&read(transformer)?, transformer)?;
    tensors.extend(others);
    let network = Network { predictor: f, transformer: t };
    Model::new(transformer, name, LICENCE, PROVENANCE, network, tensors)
}

/// F: a MobileNetV2 and a linear layer.
///
/// # Errors
/// The bytes are not such a network.
pub fn read_predictor(bytes: &[u8], origin: &Path) -> Result<(Predictor, Tensors)> {
    let graph = Graph::read(bytes, origin)?;
    let wrong = |reason: String| Error::weights(origin, reason);
    let convolution = |o: &&Operator| matches!(o.kind, Kind::Conv { .. } | Kind::Depthwise { .. });
    let convolutions: Vec<_> = graph.operators.iter().filter(convolution).collect();
    let layers = mobilenet_layers();
    if convolutions.len() != layers.len() {
        return Err(wrong(format!(
            "has {} convolutions, a style predictor on MobileNetV2 has {}; is it the predictor's file?",
            convolutions.len(),
            layers.len()
        )));
    }
    let mut tensors = Tensors::new();
    for (operator, layer) in convolutions.iter().zip(&layers) {
        let name = &layer.name;
        let (stride, same, activation) = match operator.kind {
            Kind::Conv { stride, same, activation } | Kind::Depthwise { stride, same, activation } => {
                (stride, same, activation)
            }
            _ => continue,
        };
        let depthwise = matches!(operator.kind, Kind::Depthwise { .. });
        // A 1x1 convolution is the same under both paddings.
        if depthwise != layer.depthwise
            || stride != layer.stride
            || (activation == RELU6) != layer.relu6
            || !(same || layer.pointwise)
        {
            return Err(wrong(format!("{name} is {:?}, not what MobileNetV2 has in its place", operator.kind)));
        }
        let (weight, bias) = weight_and_bias(&graph, operator)?;
        let mut weight = if depthwise { depthwise_from_tflite(weight) } else { oihw_from_ohwi(weight) };
        if name == "head" {
            weight.shape.truncate(2);
        }
        tensors.insert(format!("predictor.{name}.weight"), weight);
        tensors.insert(format!("predictor.{name}.bias"), bias);
    }
    let &[_, size, _, 3] = graph.inputs.first().map_or(&[][..], |&input| graph.shape(input)) else {
        return Err(wrong("its input is no RGB image".into()));
    };
    let dim = tensors.get("predictor.head.bias").map_or(0, |bias| bias.data.len());
    Ok((Predictor::MobilenetV2 { size, dim }, tensors))
}

/// What stands at one place of MobileNetV2.
struct Layer {
    name: String,
    depthwise: bool,
    pointwise: bool,
    stride: usize,
    relu6: bool,
}

fn mobilenet_layers() -> Vec<Layer> {
    let layer = |name: String, stride: usize, relu6: bool| {
        let depthwise = name.ends_with("depthwise");
        let pointwise = !depthwise && name != "stem";
        Layer { name, depthwise, pointwise, stride, relu6 }
    };
    let mut layers = vec![layer("stem".into(), 2, true)];
    for (i, block) in mobilenet_v2_blocks().enumerate() {
        if block.expansion != 1 {
            layers.push(layer(format!("block.{i}.expand"), 1, true));
        }
        layers.push(layer(format!("block.{i}.depthwise"), block.stride, true));
        layers.push(layer(format!("block.{i}.project"), 1, false));
    }
    layers.push(layer("last".into(), 1, true));
    layers.push(layer("head".into(), 1, false));
    layers
}

/// T, of any width and number of blocks.
///
/// # Errors
/// The bytes are not such a network.
pub fn read_transformer(bytes: &[u8], origin: &Path) -> Result<(Transformer, Tensors)> {
    let graph = Graph::read(bytes, origin)?;
    let wrong = |reason: &str| Error::weights(origin, format!("{reason}; is it the transformer's file?"));
    let style = graph.inputs.iter().copied().find(|&input| matches!(graph.shape(input), [_, 1, 1, _]));
    let style = style.ok_or_else(|| wrong("takes no style vector of shape (1, 1, 1, dim)"))?;
    let dim = graph.shape(style)[3];
    if graph.operators.iter().any(|o| matches!(o.kind, Kind::Depthwise { .. })) {
        return Err(wrong("has depthwise convolutions, which Magenta's TFLite transformers have not"));
    }
    let convolutions = graph.operators.iter().filter(|o| matches!(o.kind, Kind::Conv { .. }));
    let from_style = |o: &&Operator| o.inputs.first().is_some_and(|&input| graph.unconverted(input) == style);
    let (styles, layers): (Vec<_>, Vec<_>) = convolutions.partition(from_style);

    let sites = styles.len() / 2;
    let contracting = layers.len().checked_sub(sites).filter(|&n| n > 0 && styles.len() == 2 * sites && sites > 0);
    let contracting =
        contracting.ok_or_else(|| wrong("has not two style layers for each convolution after the first ones"))?;
    let mut tensors = Tensors::new();
    let mut contract = vec![];
    for (i, operator) in layers[..contracting].iter().enumerate() {
        let Kind::Conv { stride, activation: RELU, .. } = operator.kind else {
            return Err(wrong("has a contracting layer without ReLU"));
        };
        let (weight, bias) = weight_and_bias(&graph, operator)?;
        let weight = oihw_from_ohwi(weight);
        let &[channels, _, kernel, _] = weight.shape.as_slice() else { return Err(wrong("has a weight of odd shape")) };
        contract.push(Contract { kernel, stride, channels });
        tensors.insert(format!("transformer.contract.{i}.weight"), weight);
        tensors.insert(format!("transformer.contract.{i}.bias"), bias);
    }

    let mut weights = vec![];
    for operator in &layers[contracting..] {
        let (weight, bias) = weight_and_bias(&graph, operator)?;
        if bias.data.iter().any(|&x| x != 0.0) || weight.shape.len() != 4 {
            return Err(wrong("has a bias before a norm, which Magenta's networks have not"));
        }
        weights.push(oihw_from_ohwi(weight));
    }
    // Residual convolutions keep the number of channels; the head makes three; what is between expands.
    let width = contract.last().map_or(0, |layer| layer.channels);
    let kept = weights.iter().take_while(|weight| weight.shape[..2] == [width, width]).count();
    let blocks = kept / 2;
    let Some((head, expanding)) = weights[2 * blocks..].split_last() else {
        return Err(wrong("has no last layer"));
    };
    let expand =
        expanding.iter().map(|w| Expand { kernel: w.shape[2], channels: w.shape[0], separable: false }).collect();
    let head = Head { kernel: head.shape[2], upsample: false, separable: false, skip: false };

    let residual = (0..blocks).flat_map(|i| [1, 2].map(|n| format!("residual.{i}.conv{n}")));
    let names = residual.chain((0..expanding.len()).map(|i| format!("expand.{i}"))).chain(["head".to_owned()]);
    let names: Vec<String> = names.map(|name| format!("transformer.{name}")).collect();
    for (name, layer) in names.iter().zip(&layers[contracting..]) {
        let (beta, gamma) = style_of(&graph, layer, &styles)
            .ok_or_else(|| wrong("has a convolution whose norm takes no scale and shift from the style"))?;
        for (part, operator) in [("beta", beta), ("gamma", gamma)] {
            let (mut weight, bias) = weight_and_bias(&graph, operator)?;
            weight.shape = vec![weight.shape[0], weight.data.len() / weight.shape[0].max(1)];
            tensors.insert(format!("{name}.{part}.weight"), weight);
            tensors.insert(format!("{name}.{part}.bias"), bias);
        }
    }
    for (name, weight) in names.iter().zip(weights) {
        tensors.insert(format!("{name}.weight"), weight);
    }
    let residual = Residual { blocks, separable: false };
    Ok((Transformer { dim, contract, residual, expand, head }, tensors))
}

/// The style layers beta and gamma of a convolution's norm, `x (gamma / deviation) + (beta - mean (gamma / deviation))`, found
/// by following its output x.
fn style_of<'a>(graph: &Graph, layer: &Operator, styles: &[&'a Operator]) -> Option<(&'a Operator, &'a Operator)> {
    let &x = layer.outputs.first()?;
    let maker = |tensor: usize| graph.operators.iter().find(|operator| operator.outputs.contains(&tensor));
    let among = |tensors: &[usize]| styles.iter().find(|s| s.outputs.iter().any(|o| tensors.contains(o))).copied();
    let products = |tensor: usize| graph.takers(tensor).filter(|o| o.kind == Kind::Mul);
    let scale = products(x)
        .flat_map(|product| &product.inputs)
        .copied()
        .find(|&input| input != x && maker(input).is_some_and(|o| o.kind == Kind::Mul && among(&o.inputs).is_some()))?;
    let gamma = among(&maker(scale)?.inputs)?;
    let shifts = products(scale).flat_map(|product| &product.outputs).flat_map(|&output| graph.takers(output));
    let beta = shifts.filter(|o| o.kind == Kind::Sub).find_map(|o| among(&o.inputs))?;
    Some((beta, gamma))
}

/// Weight as it stands in the file, and bias.
fn weight_and_bias(graph: &Graph, operator: &Operator) -> Result<(Tensor, Tensor)> {
    let input = |n: usize| operator.inputs.get(n).copied().unwrap_or(usize::MAX);
    let (weight, bias) = (graph.constant(input(1))?, graph.constant(input(2))?);
    Ok((weight, bias))
}

fn oihw_from_ohwi(weight: Tensor) -> Tensor {
    let &[o, h, w, i] = weight.shape.as_slice() else { return weight };
    let from = |n: usize| (((n / (i * h * w)) * h + n / w % h) * w + n % w) * i + n / (h * w) % i;
    Tensor { shape: vec![o, i, h, w], data: (0..weight.data.len()).map(|n| weight.data[from(n)]).collect() }
}

fn depthwise_from_tflite(weight: Tensor) -> Tensor {
    let &[1, h, w, c] = weight.shape.as_slice() else { return weight };
    let data = (0..weight.data.len()).map(|n| weight.data[n % (h * w) * c + n / (h * w)]).collect();
    Tensor { shape: vec![c, 1, h, w], data }
}
