//! The transformer T of Magenta's networks, of any width and number of residual blocks.
//!
//! The kind of a convolution is recognized by the operations around it:
//!
//! - contracting: followed by ReLU, without a norm;
//! - residual: followed by a norm, before the first upsampling;
//! - expanding: preceded by an upsampling, followed by a norm and ReLU;
//! - head: the last convolution, followed by a norm and a sigmoid.
use super::super::containers::graph::{Activation, Graph, Kind, Operator};
use super::super::network::{Contract, Expand, Head, Residual, Transformer};
use super::super::{Tensor, Tensors};
use super::{TrainedWith, check_range, first_output, inputs, is_linear, weight_and_bias};
use crate::error::{Error, Result};
use std::path::Path;

/// Maximum number of layers; valid networks have fewer. The limit also ends the walk through a graph with cycles.
const MAX_LAYERS: usize = 150;

/// Reads T, of any width and number of blocks. Also detects the predictor with which T was trained, as far as the file shows
/// it.
///
/// # Errors
/// The bytes are not a style transformer of Magenta.
pub fn read_transformer(bytes: &[u8], origin: &Path) -> Result<(Transformer, Tensors, TrainedWith)> {
    let graph = Graph::read(bytes, origin)?;
    read(&graph).map_err(|reason| Error::weights(origin, format!("{reason}; is it the file of a style transformer?")))
}

fn read(graph: &Graph) -> std::result::Result<(Transformer, Tensors, TrainedWith), String> {
    let image = |input: &usize| matches!(graph.shape(*input), [_, _, _, 3]);
    let style = |input: &usize| matches!(graph.shape(*input), [_, 1, 1, _]) && !image(input);
    let find = |what: &dyn Fn(&usize) -> bool| graph.inputs.iter().copied().find(|input| what(input));
    let (2, Some(image), Some(style)) = (graph.inputs.len(), find(&image), find(&style)) else {
        let taken = inputs(graph);
        return Err(format!("does not take an RGB image and a style vector of shape (1, 1, 1, dim), but {taken}"));
    };
    check_range(graph, image)?;
    let walk = Walk { graph, style, at: image, tensors: Tensors::new() };
    let (transformer, tensors) = walk.run().map_err(|reason| match graph.range(image) {
        Some(_) => format!(
            "{reason}; it computes in 8 bits (QUANTIZE first): give the file in float32, float16 or dynamic int8"
        ),
        None => reason,
    })?;
    // The style input has the name of the last operation of its F.
    let name = graph.name(style).trim_start_matches("serving_default_").trim_end_matches(":0");
    let trained_with = match name {
        "mobilenet_conv/Conv/BiasAdd" => TrainedWith::MobilenetV2,
        "Conv/BiasAdd" => TrainedWith::InceptionV3,
        _ => TrainedWith::by_width(&transformer),
    };
    Ok((transformer, tensors, trained_with))
}

/// The state of a walk through the graph.
struct Walk<'a> {
    graph: &'a Graph<'a>,
    style: usize,
    /// The current tensor.
    at: usize,
    tensors: Tensors,
}

/// A dense or separable convolution, with the operations that precede it.
struct Layer {
    /// True if the input is upsampled.
    enlarged: bool,
    output: usize,
    kernel: usize,
    stride: usize,
    activation: Activation,
    /// The depthwise weight, if the convolution is separable.
    depthwise: Option<Tensor>,
    /// The weight of the dense or the pointwise convolution.
    weight: Tensor,
    bias: Tensor,
}

/// The style norm of a convolution's output x, `x (gamma / deviation) + (beta - mean (gamma / deviation))`.
struct Norm<'a> {
    beta: &'a Operator,
    gamma: &'a Operator,
    output: usize,
    activation: Activation,
}

impl<'a> Walk<'a> {
    fn run(mut self) -> std::result::Result<(Transformer, Tensors), String> {
        let (mut contract, mut blocks, mut expand) = (vec![], vec![], vec![]);
        for _ in 0..MAX_LAYERS {
            let layer = self.layer()?;
            let (kernel, channels, separable) = (layer.kernel, layer.weight.shape[0], layer.depthwise.is_some());
            if !layer.enlarged && layer.activation == Activation::Relu && blocks.len() + expand.len() == 0 {
                contract.push(Contract { kernel, stride: layer.stride, channels });
                self.contracting(layer, contract.len() - 1)?;
            } else if !layer.enlarged && expand.is_empty() {
                self.block(layer, blocks.len())?;
                blocks.push(separable);
            } else if layer.enlarged && channels != 3 {
                // Our kernels pad the map before upsampling, which equals the graph's reflection of the upsampled map only for
                // kernels of up to 3 pixels.
                if kernel > 3 {
                    return Err(format!("has a kernel of {kernel} after an upsampling; at most 3 is supported"));
                }
                self.site(layer, &format!("expand.{}", expand.len()), Activation::Relu)?;
                expand.push(Expand { kernel, channels, separable });
            } else {
                self.site(layer, "head", Activation::None)?;
                if !self.graph.takers(self.at).any(|o| o.kind == Kind::Logistic) {
                    return Err("has no sigmoid after its last layer".into());
                }
                // Magenta's own last upsampling is by 1. Graphs may not specify sizes, but an upsampling by 2 would be refused
                // by the check of the network, in which the strides must match.
                let head = Head { kernel, upsample: false, separable, skip: false };
                let dim = self.graph.shape(self.style).get(3).copied().unwrap_or(0);
                let separable = blocks.first().copied().unwrap_or(false);
                if blocks.contains(&!separable) {
                    return Err("has both separable and dense residual blocks, which is not supported".into());
                }
                let residual = Residual { blocks: blocks.len(), separable };
                let transformer = Transformer { dim, contract, contract_norm: false, residual, expand, head };
                return Ok((transformer, self.tensors));
            }
        }
        Err(format!("has more than {MAX_LAYERS} layers"))
    }

    /// Reads the next convolution: an optional upsampling, a reflection padding, and a dense or separable convolution.
    fn layer(&self) -> std::result::Result<Layer, String> {
        let graph = self.graph;
        let taker = |tensor: usize, what: fn(Kind) -> bool| {
            graph.takers(tensor).find(|o| what(o.kind) && o.inputs.first() == Some(&tensor))
        };
        let nearest = taker(self.at, |kind| kind == Kind::Nearest);
        let at = nearest.map_or(Ok(self.at), first_output)?;
        let reflect = taker(at, |kind| matches!(kind, Kind::Reflect(_)));
        let reflect = reflect.ok_or("has a layer without reflection padding")?;
        let bordered = first_output(reflect)?;
        let mut operator =
            taker(bordered, |kind| kind.window().is_some()).ok_or("has a padding without a convolution after it")?;
        let mut window = operator.kind.window().ok_or("has no convolution")?;
        let (mut weight, mut bias) = weight_and_bias(graph, operator)?;
        let (kernel, stride) = (weight.shape[2], window.stride);
        let width = i64::try_from(kernel / 2).unwrap_or(i64::MAX);
        let borders = Kind::Reflect([0, 0, width, width, width, width, 0, 0]);
        if let Kind::Reflect(widths) = reflect.kind
            && (reflect.kind != borders || weight.shape[3] != kernel || !window.padding.is_valid([kernel, kernel]))
        {
            let (sides, padding) = (&weight.shape[2..], window.padding);
            return Err(format!(
                "has the reflection padding {widths:?} and {padding} padding for a kernel of {sides:?}"
            ));
        }
        let mut depthwise = None;
        if matches!(operator.kind, Kind::Depthwise(_)) {
            plain(window.activation, &bias, "the pointwise part of a separable convolution")?;
            let pointwise = taker(first_output(operator)?, |kind| matches!(kind, Kind::Conv(_)));
            operator = pointwise.ok_or("has a depthwise convolution without a pointwise one after it")?;
            window = operator.kind.window().ok_or("has no convolution")?;
            depthwise = Some(weight);
            (weight, bias) = weight_and_bias(graph, operator)?;
            if weight.shape[2..] != [1, 1] || window.stride != 1 || !window.padding.is_same([1, 1], 1, 1) {
                return Err("has a depthwise convolution without a pointwise one after it".into());
            }
        }
        let (output, enlarged, activation) = (first_output(operator)?, nearest.is_some(), window.activation);
        if enlarged && stride != 1 {
            return Err(format!("has a stride of {stride} after an upsampling"));
        }
        Ok(Layer { enlarged, output, kernel, stride, activation, depthwise, weight, bias })
    }

    /// Reads a contracting layer, and moves to its output.
    fn contracting(&mut self, layer: Layer, i: usize) -> std::result::Result<(), String> {
        let name = format!("transformer.contract.{i}");
        if layer.depthwise.is_some() {
            return Err(format!("has a separable convolution for contract.{i}; only dense ones are supported there"));
        }
        self.at = layer.output;
        self.tensors.insert(format!("{name}.weight"), layer.weight);
        self.tensors.insert(format!("{name}.bias"), layer.bias);
        Ok(())
    }

    /// Reads a residual block that starts with this convolution, and moves to its output.
    fn block(&mut self, first: Layer, i: usize) -> std::result::Result<(), String> {
        let (input, separable) = (self.at, first.depthwise.is_some());
        let odd = |layer: &Layer| layer.enlarged || layer.depthwise.is_some() != separable || layer.kernel != 3;
        let refused = |layer: &Layer| match odd(layer) {
            true => {
                Err(format!("has an upsampling, or convolutions of two kinds or not of 3x3, in residual block {i}"))
            }
            false => Ok(()),
        };
        refused(&first)?;
        self.site(first, &format!("residual.{i}.conv1"), Activation::Relu)?;
        let second = self.layer()?;
        refused(&second)?;
        self.site(second, &format!("residual.{i}.conv2"), Activation::None)?;
        let sum = self.graph.takers(self.at);
        let sum = sum.filter(|o| o.kind == Kind::Add(Activation::None)).find(|o| o.inputs.contains(&input));
        self.at = first_output(sum.ok_or_else(|| format!("does not add the input of residual block {i}"))?)?;
        Ok(())
    }

    /// Reads a convolution and the norm that follows it, and moves to the norm's output.
    fn site(&mut self, layer: Layer, name: &str, then: Activation) -> std::result::Result<(), String> {
        plain(layer.activation, &layer.bias, &format!("the norm of {name}"))?;
        if layer.stride != 1 {
            return Err(format!("has a stride of {} before the norm of {name}", layer.stride));
        }
        let norm = self.norm(layer.output).ok_or_else(|| format!("has no style norm after {name}"))?;
        if norm.activation != then {
            return Err(format!("has {} after {name}, not {then}", norm.activation));
        }
        for (part, operator) in [("beta", norm.beta), ("gamma", norm.gamma)] {
            let (mut weight, bias) = weight_and_bias(self.graph, operator)?;
            if weight.shape[2..] != [1, 1] || !is_linear(operator) {
                return Err(format!("has no linear layer for {part} of {name}"));
            }
            weight.shape.truncate(2);
            self.tensors.insert(format!("transformer.{name}.{part}.weight"), weight);
            self.tensors.insert(format!("transformer.{name}.{part}.bias"), bias);
        }
        let separable = if layer.depthwise.is_some() { ".pointwise" } else { "" };
        self.tensors.insert(format!("transformer.{name}{separable}.weight"), layer.weight);
        if let Some(weight) = layer.depthwise {
            self.tensors.insert(format!("transformer.{name}.depthwise.weight"), weight);
        }
        self.at = norm.output;
        Ok(())
    }

    /// Returns the norm that is applied to a convolution's output x, if any.
    fn norm(&self, x: usize) -> Option<Norm<'a>> {
        let graph = self.graph;
        // Scale: x times (1 / deviation times gamma).
        let (product, scale) = graph.takers(x).filter(|o| o.kind == Kind::Mul).find_map(|product| {
            let scale = product.inputs.iter().copied().find(|&input| input != x)?;
            graph.maker(scale).filter(|o| o.kind == Kind::Mul).map(|maker| (product, maker))
        })?;
        let gamma = scale.inputs.iter().find_map(|&input| self.style_layer(input))?;
        let root = scale.inputs.iter().filter_map(|&input| graph.maker(input)).find(|o| o.kind == Kind::Rsqrt)?;
        let mean = self.mean_below(*root.inputs.first()?, x)?;
        // Shift: beta minus (mean times the scale).
        let scale = *scale.outputs.first()?;
        let last = graph.takers(*product.outputs.first()?);
        last.filter_map(|o| if let Kind::Add(activation) = o.kind { Some((o, activation)) } else { None }).find_map(
            |(add, activation)| {
                let shift = add.inputs.iter().filter_map(|&input| graph.maker(input)).find(|o| o.kind == Kind::Sub)?;
                let &[beta, moved] = shift.inputs.as_slice() else { return None };
                let moves =
                    |o: &&Operator| o.kind == Kind::Mul && o.inputs.contains(&scale) && o.inputs.contains(&mean);
                graph.maker(moved).filter(moves)?;
                let (beta, output) = (self.style_layer(beta)?, *add.outputs.first()?);
                Some(Norm { beta, gamma, output, activation })
            },
        )
    }

    /// Returns the tensor with the mean of x, if `tensor` is the variance of x plus 1e-5.
    fn mean_below(&self, tensor: usize, x: usize) -> Option<usize> {
        let graph = self.graph;
        let maker = |tensor: usize, kind: Kind| graph.maker(tensor).filter(|o| o.kind == kind);
        let sum = maker(tensor, Kind::Add(Activation::None))?;
        let eps = sum.inputs.iter().find_map(|&input| graph.constant(input).ok())?;
        // In float16, 1e-5 is off by 0.14 percent.
        if !matches!(eps.data.as_slice(), [eps] if (eps - 1e-5).abs() < 1e-7) {
            return None;
        }
        let variance = sum.inputs.iter().find_map(|&input| maker(input, Kind::Mean))?;
        let squares = maker(*variance.inputs.first()?, Kind::SquaredDifference)?;
        let mean = squares.inputs.iter().copied().find(|&input| input != x)?;
        let over = maker(mean, Kind::Mean)?;
        (over.inputs.first() == Some(&x) && squares.inputs.contains(&x)).then_some(mean)
    }

    /// Returns the convolution that computes `tensor` from the style vector, if there is one.
    fn style_layer(&self, tensor: usize) -> Option<&'a Operator> {
        let operator = self.graph.maker(tensor).filter(|o| matches!(o.kind, Kind::Conv(_)))?;
        (*operator.inputs.first()? == self.style).then_some(operator)
    }
}

/// Refuses a bias or an activation where our networks have none.
fn plain(activation: Activation, bias: &Tensor, before: &str) -> std::result::Result<(), String> {
    match activation == Activation::None && bias.data.iter().all(|&x| x == 0.0) {
        true => Ok(()),
        false => Err(format!("has a bias or an activation before {before}")),
    }
}
