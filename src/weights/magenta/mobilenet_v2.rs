//! The style predictor F of Magenta's mobile pair of networks: MobileNetV2 up to its last convolution, recognized by the
//! operations of its layers.
use super::super::Tensors;
use super::super::containers::graph::{Activation, Graph, Kind};
use super::super::layers::{Layer, PredictorLayers};
use super::super::network::Predictor;
use super::{first_output, predictor, weight_and_bias};

/// Reads F, starting at its input `image`, a square of side `size`.
pub(super) fn walk(graph: &Graph, image: usize, size: usize) -> Result<(Predictor, Tensors), String> {
    if size == 0 {
        return Err("has no fixed image size, as MobileNetV2's predictor requires".into());
    }
    let mut walk = Walk { graph, at: image, side: size, tensors: Tensors::new() };
    let PredictorLayers::MobilenetV2 { stem, blocks, last } = (Predictor::MobilenetV2 { size, dim: 1 }).layers() else {
        return Err("is not a MobileNetV2".into());
    };
    walk.convolution(&stem, false, Activation::Relu6)?;
    for block in &blocks {
        let before = walk.at;
        if let Some(expand) = &block.expand {
            walk.convolution(expand, false, Activation::Relu6)?;
        }
        walk.convolution(&block.depthwise, true, Activation::Relu6)?;
        walk.convolution(&block.project, false, Activation::None)?;
        if block.residual {
            let sum = graph.takers(walk.at);
            let sum = sum.filter(|o| o.kind == Kind::Add(Activation::None)).find(|o| o.inputs.contains(&before));
            let sum = sum.ok_or_else(|| format!("does not add the block's input after {}", short(&block.project)))?;
            walk.at = first_output(sum)?;
        }
    }
    walk.convolution(&last, false, Activation::Relu6)?;
    let mean = graph.takers(walk.at).find(|o| o.kind == Kind::Mean).ok_or("has no mean before its last layer")?;
    let dim = predictor::head(graph, mean, &mut walk.tensors)?;
    Ok((Predictor::MobilenetV2 { size, dim }, walk.tensors))
}

/// Returns the name of a layer as shown in errors.
fn short(layer: &Layer) -> &str {
    layer.name.trim_start_matches("predictor.")
}

/// The state of a walk through the graph.
struct Walk<'a> {
    graph: &'a Graph<'a>,
    /// The current tensor.
    at: usize,
    /// The side of the current map.
    side: usize,
    tensors: Tensors,
}

impl Walk<'_> {
    /// Reads a convolution, and moves to its output.
    fn convolution(&mut self, layer: &Layer, depthwise: bool, activation: Activation) -> Result<(), String> {
        let (graph, at, name) = (self.graph, self.at, short(layer));
        let taker = graph.takers(at).filter(|o| o.inputs.first() == Some(&at));
        let found = taker.filter_map(|o| o.kind.window().map(|window| (o, window))).next();
        let (operator, window) = found.ok_or_else(|| format!("has nothing for {name}"))?;
        let (weight, bias) = weight_and_bias(graph, operator)?;
        let kernel = [weight.shape[2], weight.shape[3]];
        let found = (matches!(operator.kind, Kind::Depthwise(_)), window.stride, window.activation);
        if found != (depthwise, layer.stride, activation) || !window.padding.is_same(kernel, window.stride, self.side) {
            let kind = if found.0 { " depthwise convolution" } else { " convolution" };
            return Err(format!("has {} for {name}, unlike MobileNetV2", window.described(kind, &kernel)));
        }
        self.tensors.insert(format!("{}.weight", layer.name), weight);
        self.tensors.insert(format!("{}.bias", layer.name), bias);
        self.side = self.side.div_ceil(window.stride);
        self.at = first_output(operator)?;
        Ok(())
    }
}
