//! T, of any width and number of residual blocks.
//!
//! What follows each convolution tells what it is: ReLU, and no norm: contracting. A norm: residual, until one stands after an
//! enlargement: expanding, if ReLU follows; the head, if the sigmoid does.
use super::super::network::{Contract, Expand, Head, Residual, Transformer};
use super::super::tflite::{Activation, Graph, Kind, Operator};
use super::super::{Tensor, Tensors};
use super::{oihw_from_ohwi, reason, weight_and_bias};
use crate::error::{Error, Result};
use std::path::Path;

/// More than a description of a network may have; a graph that runs in circles ends here.
const MAX_LAYERS: usize = 150;

/// T, of any width and number of blocks.
///
/// # Errors
/// The bytes are not such a network.
pub fn read_transformer(bytes: &[u8], origin: &Path) -> Result<(Transformer, Tensors)> {
    let graph = Graph::read(bytes, origin)?;
    let image = |input: &usize| matches!(graph.shape(*input), [_, _, _, 3]);
    let style = |input: &usize| matches!(graph.shape(*input), [_, 1, 1, _]) && !image(input);
    let find = |what: &dyn Fn(&usize) -> bool| graph.inputs.iter().copied().find(|input| what(input));
    let read = match (find(&image), find(&style)) {
        (Some(image), Some(style)) => Walk { graph: &graph, style, at: image, tensors: Tensors::new() }.run(),
        _ => Err("does not take an RGB image and a style vector of shape (1, 1, 1, dim)".to_owned()),
    };
    read.map_err(|reason| Error::weights(origin, format!("{reason}; is it the file of a style transformer?")))
}

/// Where a walk through the graph stands.
struct Walk<'a> {
    graph: &'a Graph<'a>,
    style: usize,
    /// The tensor reached.
    at: usize,
    tensors: Tensors,
}

/// A convolution and what leads to it.
struct Layer {
    /// Whether its input was enlarged.
    enlarged: bool,
    output: usize,
    stride: usize,
    activation: Activation,
    /// OIHW.
    weight: Tensor,
    bias: Tensor,
}

/// The norm of a convolution x, `x (gamma / deviation) + (beta - mean (gamma / deviation))`.
struct Norm<'a> {
    beta: &'a Operator,
    gamma: &'a Operator,
    output: usize,
    activation: Activation,
}

impl<'a> Walk<'a> {
    fn run(mut self) -> std::result::Result<(Transformer, Tensors), String> {
        let (mut contract, mut blocks, mut expand) = (vec![], 0, vec![]);
        for _ in 0..MAX_LAYERS {
            let layer = self.layer()?;
            let (kernel, channels) = (layer.weight.shape[2], layer.weight.shape[0]);
            if !layer.enlarged && layer.activation == Activation::Relu && blocks + expand.len() == 0 {
                let name = format!("transformer.contract.{}", contract.len());
                contract.push(Contract { kernel, stride: layer.stride, channels });
                self.at = layer.output;
                self.tensors.insert(format!("{name}.weight"), layer.weight);
                self.tensors.insert(format!("{name}.bias"), layer.bias);
            } else if !layer.enlarged && expand.is_empty() {
                let input = self.at;
                self.site(layer, &format!("residual.{blocks}.conv1"), Activation::Relu)?;
                let second = self.layer()?;
                if second.enlarged {
                    return Err(format!("enlarges within residual block {blocks}"));
                }
                self.site(second, &format!("residual.{blocks}.conv2"), Activation::None)?;
                let sum = self.graph.takers(self.at);
                let sum = sum.filter(|o| o.kind == Kind::Add(Activation::None)).find(|o| o.inputs.contains(&input));
                self.at =
                    first_output(sum.ok_or_else(|| format!("does not add the input of residual block {blocks}"))?)?;
                blocks += 1;
            } else if layer.enlarged && channels != 3 {
                // Wider kernels see cells of the small map beyond our border where the graph reflects the large one.
                if kernel > 3 {
                    return Err(format!("has a kernel of {kernel} after an enlargement; up to 3 is possible"));
                }
                self.site(layer, &format!("expand.{}", expand.len()), Activation::Relu)?;
                expand.push(Expand { kernel, channels, separable: false });
            } else {
                self.site(layer, "head", Activation::None)?;
                if !self.graph.takers(self.at).any(|o| o.kind == Kind::Logistic) {
                    return Err("has no sigmoid after its last layer".into());
                }
                // Magenta's own last enlargement is by 1. Graphs may leave sizes open, but the network's must come out even,
                // so one by 2 is refused with the network.
                let head = Head { kernel, upsample: false, separable: false, skip: false };
                let dim = self.graph.shape(self.style).get(3).copied().unwrap_or(0);
                let residual = Residual { blocks, separable: false };
                return Ok((Transformer { dim, contract, residual, expand, head }, self.tensors));
            }
        }
        Err(format!("has more than {MAX_LAYERS} layers"))
    }

    /// The next convolution: perhaps an enlargement, a border by reflection, the convolution.
    fn layer(&self) -> std::result::Result<Layer, String> {
        let graph = self.graph;
        let taker = |tensor: usize, kind: Kind| {
            graph.takers(tensor).find(|o| o.kind == kind && o.inputs.first() == Some(&tensor))
        };
        let nearest = taker(self.at, Kind::Nearest);
        let enlarged = nearest.map_or(Ok(self.at), first_output)?;
        let reflect = taker(enlarged, Kind::Reflect).ok_or("has a layer without a border by reflection")?;
        let bordered = first_output(reflect)?;
        let mut takers = graph.takers(bordered).filter(|o| o.inputs.first() == Some(&bordered));
        let (operator, window) = takers
            .find_map(|o| if let Kind::Conv(window) = o.kind { Some((o, window)) } else { None })
            .ok_or("has a border without a dense convolution after it")?;
        let (weight, bias) = weight_and_bias(graph, operator)?;
        let weight = oihw_from_ohwi(&weight);
        let (kernel, width) = (weight.shape[2], i32::try_from(weight.shape[2] / 2).unwrap_or(i32::MAX));
        let widths = reflect.inputs.get(1).ok_or("has a border without widths")?;
        let widths = graph.integers(*widths).map_err(reason)?;
        if widths != [0, 0, width, width, width, width, 0, 0] || (window.same && kernel > 1) {
            return Err(format!("has the border {widths:?} for a kernel of {kernel}"));
        }
        let (output, enlarged) = (first_output(operator)?, nearest.is_some());
        if enlarged && window.stride != 1 {
            return Err(format!("has a stride of {} after an enlargement", window.stride));
        }
        Ok(Layer { enlarged, output, stride: window.stride, activation: window.activation, weight, bias })
    }

    /// Takes a convolution with its norm, and goes on behind it.
    fn site(&mut self, layer: Layer, name: &str, then: Activation) -> std::result::Result<(), String> {
        if layer.bias.data.iter().any(|&x| x != 0.0) || layer.activation != Activation::None || layer.stride != 1 {
            return Err(format!("has a bias, an activation or a stride before the norm of {name}"));
        }
        let norm = self.norm(layer.output).ok_or_else(|| format!("has no style norm after {name}"))?;
        if norm.activation != then {
            return Err(format!("has the activation {:?} after {name}, not {then:?}", norm.activation));
        }
        for (part, operator) in [("beta", norm.beta), ("gamma", norm.gamma)] {
            let (mut weight, bias) = weight_and_bias(self.graph, operator)?;
            let window = operator.kind.window();
            if weight.shape[1..3] != [1, 1] || window.is_none_or(|w| (w.stride, w.activation) != (1, Activation::None))
            {
                return Err(format!("has no linear layer for {part} of {name}"));
            }
            weight.shape = vec![weight.shape[0], weight.shape[3]];
            self.tensors.insert(format!("transformer.{name}.{part}.weight"), weight);
            self.tensors.insert(format!("transformer.{name}.{part}.bias"), bias);
        }
        self.tensors.insert(format!("transformer.{name}.weight"), layer.weight);
        self.at = norm.output;
        Ok(())
    }

    /// The norm of a convolution's output x.
    fn norm(&self, x: usize) -> Option<Norm<'a>> {
        let graph = self.graph;
        // Scale: x times (1 / deviation times gamma).
        let (product, scale) = graph.takers(x).filter(|o| o.kind == Kind::Mul).find_map(|product| {
            let scale = product.inputs.iter().copied().find(|&input| input != x)?;
            graph.maker(scale).filter(|o| o.kind == Kind::Mul).map(|maker| (product, maker))
        })?;
        let gamma = scale.inputs.iter().find_map(|&input| self.style_layer(input))?;
        let root = scale.inputs.iter().filter_map(|&input| graph.maker(input)).find(|o| o.kind == Kind::Rsqrt)?;
        let sum = graph.maker(*root.inputs.first()?).filter(|o| matches!(o.kind, Kind::Add(_)))?;
        let eps = sum.inputs.iter().find_map(|&input| graph.constant(input).ok())?;
        // As float16, 1e-5 is off by 0.14 percent.
        if !matches!(eps.data.as_slice(), [eps] if (eps - 1e-5).abs() < 1e-7) {
            return None;
        }
        // Shift: beta minus (mean times the scale).
        let scale = *scale.outputs.first()?;
        let last = graph.takers(*product.outputs.first()?);
        last.filter_map(|o| if let Kind::Add(activation) = o.kind { Some((o, activation)) } else { None }).find_map(
            |(add, activation)| {
                let shift = add.inputs.iter().filter_map(|&input| graph.maker(input)).find(|o| o.kind == Kind::Sub)?;
                let &[beta, moved] = shift.inputs.as_slice() else { return None };
                graph.maker(moved).filter(|o| o.kind == Kind::Mul && o.inputs.contains(&scale))?;
                let (beta, output) = (self.style_layer(beta)?, *add.outputs.first()?);
                Some(Norm { beta, gamma, output, activation })
            },
        )
    }

    /// The convolution of the style vector that gives this tensor.
    fn style_layer(&self, tensor: usize) -> Option<&'a Operator> {
        let operator = self.graph.maker(tensor).filter(|o| matches!(o.kind, Kind::Conv(_)))?;
        (self.graph.unconverted(*operator.inputs.first()?) == self.style).then_some(operator)
    }
}

fn first_output(operator: &Operator) -> std::result::Result<usize, String> {
    operator.outputs.first().copied().ok_or_else(|| format!("has {:?} without output", operator.kind))
}
