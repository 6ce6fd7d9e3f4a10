//! A reader of ONNX files: the graph of a model, with constants in float32 or float16, or quantized to int8, uint8 or int32.
//!
//! <https://github.com/onnx/onnx/blob/main/onnx/onnx.proto>. The layout is NCHW, except that inputs may be NHWC, followed by a
//! Transpose.
use super::constant::{Constant, Element, Numbers, Quantization};
use super::graph::{Graph, Kind, MAX_LIST, MAX_OPERANDS, MAX_RANK, Slot, quoted};
use super::onnx_operator::{self, Node};
use super::protobuf::{Damaged, Value, fields};
use std::collections::HashMap;

/// The tensor that a name in the file refers to.
#[derive(Clone, Copy)]
pub(super) struct Named {
    pub(super) tensor: usize,
    /// True if the layout of the tensor is NHWC.
    pub(super) channels_last: bool,
}

/// The placeholder tensor for undefined names.
const NOTHING: Named = Named { tensor: 0, channels_last: false };

/// A graph under construction.
pub(super) struct Reader<'a, 'g> {
    pub(super) graph: &'g mut Graph<'a>,
    names: HashMap<&'a str, Named>,
}

/// Returns `true` if the bytes look like an ONNX file: a protocol buffer that starts with a small version number.
pub(super) fn is(bytes: &[u8]) -> bool {
    matches!(*bytes, [8, version, tag, ..] if (1..32).contains(&version) && tag != 0)
}

/// Reads the structure of a file into an empty graph; the error states the reason for a failure.
pub(super) fn parse<'a>(bytes: &'a [u8], graph: &mut Graph<'a>) -> Result<(), String> {
    let [body] = parts(bytes, [7], 1).map_err(in_the("model"))?;
    let body = body.first().ok_or("has no graph")?;
    let [nodes, constants, inputs] = parts(body, [1, 5, 11], MAX_LIST).map_err(in_the("graph"))?;
    graph.add(Slot::computed("", vec![]));
    let mut reader = Reader { graph, names: HashMap::from([("", NOTHING)]) };
    for bytes in constants {
        let slot = constant(bytes).map_err(in_the("list of initialisers"))?;
        reader.define(slot, false)?;
    }
    for bytes in inputs {
        let (name, shape) = input(bytes).map_err(in_the("list of inputs"))?;
        // Old files list initialisers among the inputs.
        if reader.names.contains_key(name) {
            continue;
        }
        if reader.graph.inputs.len() == MAX_OPERANDS {
            return Err(format!("takes more than {MAX_OPERANDS} tensors"));
        }
        let (shape, channels_last) = nhwc(shape);
        let tensor = reader.define(Slot::computed(name, shape), channels_last)?;
        reader.graph.inputs.push(tensor);
    }
    for (i, bytes) in nodes.into_iter().enumerate() {
        let node = Node::read(bytes).map_err(in_the("list of nodes"))?;
        let read = reader.node(&node);
        read.map_err(|what| format!("node {i}, {}, {what}", quoted(node.kind)))?;
    }
    Ok(())
}

fn in_the(what: &'static str) -> impl Fn(Damaged) -> String {
    move |Damaged| format!("an element or a length in its {what} is wrong")
}

/// Returns the byte values (e.g. nested messages) of each of the fields `numbers`, in order. More than `most` values of one
/// field are an error.
pub(super) fn parts<const N: usize>(
    message: &[u8],
    numbers: [u64; N],
    most: usize,
) -> Result<[Vec<&[u8]>; N], Damaged> {
    let mut parts = [const { vec![] }; N];
    for field in fields(message) {
        let (number, value) = field?;
        if let Some(list) = numbers.iter().position(|&n| n == number).map(|i| &mut parts[i]) {
            list.push(value.bytes()?);
            if list.len() > most {
                return Err(Damaged);
            }
        }
    }
    Ok(parts)
}

/// Returns the name and the shape of an input; unknown dimensions are 0.
fn input(message: &[u8]) -> Result<(&str, Vec<usize>), Damaged> {
    let [names, types] = parts(message, [1, 2], 1)?;
    let name = names.first().map_or(Ok(""), |name| Value::Bytes(name).text())?;
    let mut at = types;
    for number in [1, 2] {
        let [inner] = at.first().map_or(Ok([vec![]]), |message| parts(message, [number], 1))?;
        at = inner;
    }
    let [sides] = at.first().map_or(Ok([vec![]]), |message| parts(message, [1], MAX_RANK))?;
    let side = |message: &[u8]| -> Result<usize, Damaged> {
        let mut side = 0;
        for field in fields(message) {
            if let (1, value) = field? {
                // Some programs write -1 for unknown dimensions.
                side = u16::try_from(value.varint()?).map_or(0, usize::from);
            }
        }
        Ok(side)
    };
    Ok((name, sides.into_iter().map(side).collect::<Result<_, _>>()?))
}

/// Converts an input's shape to NHWC. The flag is `true` if the shape is already NHWC in the file.
fn nhwc(shape: Vec<usize>) -> (Vec<usize>, bool) {
    match *shape.as_slice() {
        [_, _, _, 3] | [_, 1, 1, _] => (shape, true),
        [n, c, h, w] => (vec![n, h, w, c], false),
        [n, c] => (vec![n, 1, 1, c], false),
        _ => (shape, false),
    }
}

/// Reads an initialiser, or the value of a constant.
pub(super) fn constant(message: &[u8]) -> Result<Slot<'_>, Damaged> {
    let (mut name, mut shape, mut kind, mut outside) = ("", vec![], 0, false);
    let mut stored: Option<(u64, &[u8])> = None;
    for field in fields(message) {
        let (number, value) = field?;
        match number {
            1 => {
                for side in value.varints() {
                    shape.push(usize::try_from(side?).map_err(|_| Damaged)?);
                    if shape.len() > MAX_RANK {
                        return Err(Damaged);
                    }
                }
            }
            2 => kind = value.varint()?,
            8 => name = value.text()?,
            // Values that are not packed would be spread over several fields, but no program writes them in this way.
            4 | 5 | 7 | 9 if stored.is_some() => return Err(Damaged),
            4 | 5 | 7 | 9 => stored = Some((number, value.bytes()?)),
            13 => outside = true,
            14 => outside |= value.varint()? != 0,
            _ => {}
        }
    }
    let mut slot = Slot::computed(name, shape.clone());
    slot.constant = match (numbers(kind, stored), outside) {
        (_, true) => Err("is in an external file, which is not supported; save the model as one file".into()),
        (numbers, false) => numbers.map(|numbers| Constant { shape, numbers, quantization: None }),
    };
    Ok(slot)
}

/// Returns the values of a tensor. `kind` is ONNX's code of the type. `stored` is the number and the content of the field that
/// holds the values.
fn numbers(kind: u64, stored: Option<(u64, &[u8])>) -> Result<Numbers<'_>, String> {
    let (element, typed) = match kind {
        1 => (Element::F32, 4),
        2 => (Element::U8, 5),
        3 => (Element::I8, 5),
        6 => (Element::I32, 5),
        7 => (Element::I64, 7),
        10 => (Element::F16, 5),
        _ => {
            return Err(format!("has type {kind}, not float32, float16, int8, uint8, int32 or int64"));
        }
    };
    match stored {
        Some((9, bytes)) => Ok(Numbers { element, bytes, varints: false }),
        Some((field, bytes)) if field == typed => Ok(Numbers { element, bytes, varints: element != Element::F32 }),
        Some(_) => Err("has values of another type than declared".into()),
        None => Ok(Numbers { element, bytes: &[], varints: false }),
    }
}

impl<'a> Reader<'a, '_> {
    /// Adds a tensor with a new name.
    fn define(&mut self, slot: Slot<'a>, channels_last: bool) -> Result<usize, String> {
        if self.names.len() > 4 * MAX_LIST {
            return Err(format!("has more than {} tensors", 4 * MAX_LIST));
        }
        let name = slot.name;
        let tensor = self.graph.add(slot);
        self.rename(name, Named { tensor, channels_last })?;
        Ok(tensor)
    }

    /// Adds another name for an existing tensor.
    fn rename(&mut self, name: &'a str, named: Named) -> Result<(), String> {
        match self.names.insert(name, named) {
            Some(_) => Err(format!("defines {} a second time", quoted(name))),
            None => Ok(()),
        }
    }

    fn named(&self, name: &str) -> Named {
        self.names.get(name).copied().unwrap_or(NOTHING)
    }

    /// Returns the tensor at this position among a node's inputs.
    pub(super) fn input(&self, node: &Node, place: usize) -> Named {
        node.inputs.get(place).map_or(NOTHING, |name| self.named(name))
    }

    /// Returns the input of a node at this position if it is a constant.
    pub(super) fn constant(&self, node: &Node, place: usize) -> Option<&Constant<'a>> {
        self.graph.stored(self.input(node, place).tensor)
    }

    fn node(&mut self, node: &Node<'a>) -> Result<(), String> {
        let first = self.input(node, 0);
        let Some(&output) = node.outputs.first() else { return Err("has no output".into()) };
        if let Some(named) = onnx_operator::same(node, self)? {
            self.set_range(node, first.tensor)?;
            return self.rename(output, named);
        }
        if node.kind == "Constant" {
            let mut slot = onnx_operator::value(node)?;
            slot.name = output;
            return self.define(slot, false).map(drop);
        }
        if node.kind == "DequantizeLinear" {
            let slot = self.dequantized(node, output)?;
            return self.define(slot, false).map(drop);
        }
        let (kind, activation) = (onnx_operator::kind(node, self)?, onnx_operator::activation(node, self));
        let mut outputs = vec![];
        for name in node.outputs.iter().filter(|name| !name.is_empty()) {
            let channels_last = first.channels_last && matches!(kind, Kind::Reflect(_));
            outputs.push(self.define(Slot::computed(name, vec![]), channels_last)?);
        }
        let (mut kind, mut inputs) = (kind, node.inputs.iter().map(|name| self.named(name).tensor).collect());
        if let Some((merged, from)) = self.merged(node, first) {
            (kind, inputs) = (merged, from);
        }
        match (activation, outputs.first()) {
            (Some(activation), Some(&output)) => self.graph.activate(activation, first.tensor, output),
            _ => self.graph.push(kind, inputs, outputs),
        }
        Ok(())
    }

    /// Returns the operator that a node forms together with the preceding node, and the operator's inputs; `None` if the two do
    /// not form one.
    fn merged(&self, node: &Node, first: Named) -> Option<(Kind, Vec<usize>)> {
        let maker = self.graph.maker(first.tensor)?;
        match (node.kind, maker.kind) {
            ("Reciprocal", Kind::Sqrt) => Some((Kind::Rsqrt, maker.inputs.clone())),
            ("Mul", Kind::Sub) if self.input(node, 1).tensor == first.tensor => {
                Some((Kind::SquaredDifference, maker.inputs.clone()))
            }
            _ => None,
        }
    }

    /// Returns the constant that a node dequantizes, with its quantization.
    fn dequantized(&self, node: &Node<'a>, output: &'a str) -> Result<Slot<'a>, String> {
        let mut slot = Slot::computed(output, vec![]);
        let (Some(constant), Some(scales)) = (self.constant(node, 0), self.constant(node, 1)) else {
            return Err("has a scale that is not a constant".into());
        };
        let axis = node.integer("axis")?.unwrap_or(1);
        let rank = constant.shape.len();
        let axis = usize::try_from(if axis < 0 { axis.saturating_add_unsigned(rank as u64) } else { axis });
        let quantization = Quantization {
            scales: scales.numbers,
            zeros: self.zeros(node)?,
            axis: axis.map_err(|_| "has an axis that its tensor lacks")?,
        };
        slot.constant = match (scales.quantization, constant.quantization) {
            (None, None) if scales.numbers.element == Element::F32 => {
                Ok(Constant { quantization: Some(quantization), ..constant.clone() })
            }
            _ => Err("has a scale that is not float32".into()),
        };
        Ok(slot)
    }

    /// Returns the zero points of a node that quantizes or dequantizes; `None` if it has none.
    fn zeros(&self, node: &Node) -> Result<Option<Numbers<'a>>, String> {
        match (node.inputs.len(), self.constant(node, 2)) {
            (0..3, _) => Ok(None),
            (_, Some(zeros)) => Ok(Some(zeros.numbers)),
            (_, None) => Err("has a zero point that is not a constant".into()),
        }
    }

    /// Stores the value range of a graph input that this node quantizes; the error states the reason for a failure.
    fn set_range(&mut self, node: &Node, input: usize) -> Result<(), String> {
        if node.kind != "QuantizeLinear" || !self.graph.inputs.contains(&input) {
            return Ok(());
        }
        let zeros = self.zeros(node)?;
        let element = zeros.map_or(Element::U8, |zeros| zeros.element);
        let scales = self.constant(node, 1).map(|scales| scales.numbers);
        let range = scales.and_then(|scales| Quantization { scales, zeros, axis: 0 }.range(element));
        let range = range.ok_or("quantizes an input with more than one scale")?;
        self.graph.slot_mut(input).into_iter().for_each(|slot| slot.range = Some(range));
        Ok(())
    }
}
