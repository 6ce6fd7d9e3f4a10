//! The style predictor F of Magenta's full pair of networks: InceptionV3 up to Mixed_6e, recognized by the operations of its
//! layers.
//!
//! The graph is walked from the mean back to the image, since each tensor is the output of one operator. Every convolution is
//! followed by ReLU6. Converters may move the ReLU6 to after the concatenation of branches, or to after an average pool that
//! follows the convolution.
use super::super::Tensors;
use super::super::containers::graph::{Activation, Graph, Kind, Operator, Pool, Window};
use super::super::inception_v3::{Branch, InceptionStage, stages};
use super::super::layers::Layer;
use super::super::network::Predictor;
use super::variables::inception_v3_of;
use super::{predictor, weight_and_bias};

/// Reads F backwards, from its mean to its input `image`.
pub(super) fn walk(graph: &Graph, image: usize) -> Result<(Predictor, Tensors), String> {
    let mut walk = Walk { graph, tensors: Tensors::new() };
    let mean = graph.operators.iter().find(|o| o.kind == Kind::Mean).ok_or("has no mean before its last layer")?;
    let dim = predictor::head(graph, mean, &mut walk.tensors)?;
    let mut at = *mean.inputs.first().ok_or("has a mean of nothing")?;
    for stage in stages().iter().rev() {
        at = match stage {
            InceptionStage::Conv(layer) => walk.convolution(at, layer, Activation::None)?,
            InceptionStage::MaxPool => walk.largest(at)?,
            InceptionStage::Mixed(branches) => walk.block(at, branches)?,
        };
    }
    if at != image {
        return Err("has something between its image and stem.0".into());
    }
    Ok((inception_v3_of(dim), walk.tensors))
}

/// Returns the name of a layer as shown in errors.
fn short(layer: &Layer) -> &str {
    layer.name.trim_start_matches("predictor.")
}

struct Walk<'a> {
    graph: &'a Graph<'a>,
    tensors: Tensors,
}

impl<'a> Walk<'a> {
    /// Reads the block with this output, and returns its input.
    fn block(&mut self, output: usize, branches: &[Branch]) -> Result<usize, String> {
        let graph = self.graph;
        let name = branches.iter().flat_map(Branch::layers).next().map_or("", short);
        let name = name.split(".branch").next().unwrap_or(name);
        let (after, ends) = match graph.maker(output) {
            Some(Operator { kind: Kind::Concat(after), inputs, .. }) if inputs.len() == branches.len() => {
                (*after, inputs)
            }
            _ => return Err(format!("has no concatenation of {} branches for InceptionV3's {name}", branches.len())),
        };
        let mut start = None;
        for (branch, &end) in branches.iter().zip(ends) {
            let from = match branch {
                Branch::Convs(layers) => self.convolutions(end, layers, after)?,
                Branch::MaxPool => self.largest(end)?,
                Branch::AveragePool(layer) => self.average_and_convolution(end, layer, after)?,
            };
            if *start.get_or_insert(from) != from {
                return Err(format!("has branches with different inputs for InceptionV3's {name}"));
            }
        }
        start.ok_or_else(|| format!("has no branch for InceptionV3's {name}"))
    }

    /// Reads the sequence of convolutions with this output, and returns the sequence's input. `after` is the activation that
    /// follows the concatenation.
    fn convolutions(&mut self, output: usize, layers: &[Layer], after: Activation) -> Result<usize, String> {
        let (mut at, mut after) = (output, after);
        for layer in layers.iter().rev() {
            at = self.convolution(at, layer, after)?;
            after = Activation::None;
        }
        Ok(at)
    }

    fn convolution(&mut self, output: usize, layer: &Layer, after: Activation) -> Result<usize, String> {
        let (operator, window) = self.dense(output, layer)?;
        let (weight, bias) = weight_and_bias(self.graph, operator)?;
        let kernel = [layer.kernel.0, layer.kernel.1];
        // With a stride of 1, the size of the map does not matter.
        let padded =
            if layer.valid { window.padding.is_valid(kernel) } else { window.padding.is_same(kernel, layer.stride, 1) };
        let activated = [window.activation, after].contains(&Activation::Relu6);
        if weight.shape[2..] != kernel || window.stride != layer.stride || !padded || !activated {
            let found = window.described(" convolution", &weight.shape[2..]);
            return Err(format!("has {found} for {}, unlike InceptionV3", short(layer)));
        }
        self.tensors.insert(format!("{}.weight", layer.name), weight);
        self.tensors.insert(format!("{}.bias", layer.name), bias);
        operator.inputs.first().copied().ok_or_else(|| format!("has a convolution of nothing for {}", short(layer)))
    }

    /// Reads a 3x3 average pool and a 1x1 convolution in either order, and returns the input. The two commute, even with a
    /// bias, because the weights of an average sum to one.
    fn average_and_convolution(&mut self, output: usize, layer: &Layer, after: Activation) -> Result<usize, String> {
        if let Some((window, input)) = self.average(output) {
            let outer = if window.activation == Activation::None { after } else { window.activation };
            return match self.dense(input, layer)?.1.activation {
                Activation::None => self.convolution(input, layer, outer),
                other => Err(format!("has {other} between the convolution and the mean for {}", short(layer))),
            };
        }
        let between = self.convolution(output, layer, after)?;
        match self.average(between) {
            Some((window, input)) if window.activation == Activation::None => Ok(input),
            _ => Err(format!("has no mean over 3x3 pixels for {}, unlike InceptionV3", short(layer))),
        }
    }

    /// Returns the window and the input of the 3x3 average pool with this output.
    fn average(&self, output: usize) -> Option<(Window, usize)> {
        let operator = self.graph.maker(output)?;
        match operator.kind {
            Kind::AveragePool(Pool { kernel: [3, 3], window })
                if window.stride == 1 && window.padding.is_same([3, 3], 1, 1) =>
            {
                Some((window, *operator.inputs.first()?))
            }
            _ => None,
        }
    }

    /// Reads the 3x3 max pool with this output, and returns its input.
    fn largest(&self, output: usize) -> Result<usize, String> {
        match self.graph.maker(output).map(|o| (o.kind, o.inputs.as_slice())) {
            Some((Kind::MaxPool(Pool { kernel: [3, 3], window }), &[input]))
                if window.stride == 2 && window.padding.is_valid([3, 3]) && window.activation == Activation::None =>
            {
                Ok(input)
            }
            _ => Err("has no 3x3 max pool of stride 2 where InceptionV3 has one".into()),
        }
    }

    /// Returns the dense convolution with this output, and its window.
    fn dense(&self, output: usize, layer: &Layer) -> Result<(&'a Operator, Window), String> {
        let operator = self.graph.maker(output);
        let found = operator.and_then(|o| if let Kind::Conv(window) = o.kind { Some((o, window)) } else { None });
        found.ok_or_else(|| format!("has no convolution for {}, unlike InceptionV3", short(layer)))
    }
}
