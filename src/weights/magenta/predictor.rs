//! The style predictor F of Magenta's two pairs of networks: MobileNetV2 or InceptionV3, the global mean, and a linear layer.
use super::super::Tensors;
use super::super::containers::graph::{Graph, Kind, Operator};
use super::super::network::Predictor;
use super::{check_range, first_output, inception_v3, inputs, is_linear, mobilenet_v2, weight_and_bias};
use crate::error::{Error, Result};
use std::path::Path;

/// Reads F, based on MobileNetV2 or InceptionV3.
///
/// # Errors
/// The bytes are not a style predictor of Magenta.
pub fn read_predictor(bytes: &[u8], origin: &Path) -> Result<(Predictor, Tensors)> {
    let graph = Graph::read(bytes, origin)?;
    walk(&graph)
        .map_err(|reason| Error::weights(origin, format!("{reason}; is it the file of a style predictor of Magenta?")))
}

fn walk(graph: &Graph) -> std::result::Result<(Predictor, Tensors), String> {
    let &[image] = graph.inputs.as_slice() else {
        let (n, taken) = (graph.inputs.len(), inputs(graph));
        return Err(format!("takes {n} tensors, not one image: {taken}"));
    };
    let &[_, size, _, 3] = graph.shape(image) else {
        return Err(format!("takes no RGB image, but {}", inputs(graph)));
    };
    check_range(graph, image)?;
    let has = |what: fn(Kind) -> bool| graph.operators.iter().any(|operator| what(operator.kind));
    if has(|kind| matches!(kind, Kind::Concat(_))) {
        inception_v3::walk(graph, image)
    } else if has(|kind| matches!(kind, Kind::Depthwise(_))) {
        mobilenet_v2::walk(graph, image, size)
    } else {
        Err("has neither MobileNetV2's depthwise convolutions nor InceptionV3's concatenations".into())
    }
}

/// Reads the linear layer after the mean, stored as a 1x1 convolution. Returns the length of a style vector z.
pub(super) fn head(graph: &Graph, mean: &Operator, tensors: &mut Tensors) -> std::result::Result<usize, String> {
    let over = first_output(mean)?;
    let layer = graph.takers(over).find(|o| o.inputs.first() == Some(&over) && matches!(o.kind, Kind::Conv(_)));
    let layer = layer.ok_or("has nothing for head")?;
    let (mut weight, bias) = weight_and_bias(graph, layer)?;
    if weight.shape[2..] != [1, 1] || !is_linear(layer) {
        return Err("has no linear layer for head".into());
    }
    weight.shape.truncate(2);
    let dim = bias.data.len();
    tensors.insert("predictor.head.weight".into(), weight);
    tensors.insert("predictor.head.bias".into(), bias);
    Ok(dim)
}
