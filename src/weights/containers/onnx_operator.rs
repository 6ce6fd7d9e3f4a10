//! The ONNX operators that style networks use, with the relevant attributes.
use super::graph::{Activation, Kind, MAX_OPERANDS, Padding, Pool, Slot, Window};
use super::onnx::{self, Named, Reader, parts};
use super::protobuf::{Damaged, Value, fields};

/// A node of the file.
pub(super) struct Node<'a> {
    /// The operator's name.
    pub(super) kind: &'a str,
    /// The names of the input tensors; an absent optional input has an empty name.
    pub(super) inputs: Vec<&'a str>,
    pub(super) outputs: Vec<&'a str>,
    attributes: Vec<&'a [u8]>,
}

impl<'a> Node<'a> {
    pub(super) fn read(message: &'a [u8]) -> Result<Self, Damaged> {
        let text = |bytes: &'a [u8]| Value::Bytes(bytes).text();
        let [inputs, outputs, kinds, domains, attributes] = parts(message, [1, 2, 4, 7, 5], MAX_OPERANDS)?;
        let mut inputs: Vec<&str> = inputs.into_iter().map(text).collect::<Result<_, _>>()?;
        while inputs.last().is_some_and(|name| name.is_empty()) {
            inputs.pop();
        }
        let outputs = outputs.into_iter().map(text).collect::<Result<_, _>>()?;
        let kind = kinds.first().copied().map_or(Ok(""), text)?;
        // Other domains have operators of the same names.
        let ours = domains.first().is_none_or(|&domain| domain.is_empty() || domain == b"ai.onnx");
        Ok(Self { kind: if ours { kind } else { "" }, inputs, outputs, attributes })
    }

    /// Returns the values in field `field` of the attribute `name`.
    fn values(&self, name: &str, field: u64) -> Result<Vec<Value<'a>>, String> {
        let unreadable = |Damaged| "has attributes that cannot be read".to_owned();
        for message in &self.attributes {
            let [names] = parts(message, [1], 1).map_err(unreadable)?;
            if names.first() == Some(&name.as_bytes()) {
                let values = fields(message).filter(|value| value.map_or(true, |(number, _)| number == field));
                let values = values.take(MAX_OPERANDS).map(|value| value.map(|(_, value)| value));
                return values.collect::<Result<_, _>>().map_err(unreadable);
            }
        }
        Ok(vec![])
    }

    /// Returns the value of an integer attribute; `None` if it is absent.
    pub(super) fn integer(&self, name: &str) -> Result<Option<i64>, String> {
        Ok(self.values(name, 3)?.first().and_then(|value| value.varint().ok()).map(u64::cast_signed))
    }

    /// Returns the value of a float attribute; `None` if it is absent.
    fn float(&self, name: &str) -> Result<Option<f64>, String> {
        let values = self.values(name, 2)?;
        let Some(Value::Fixed32(bits)) = values.first() else { return Ok(None) };
        Ok(Some(f32::from_bits(*bits).into()))
    }

    /// Returns the values of an attribute that is a list of integers; `None` if it is absent.
    fn integers(&self, name: &str) -> Result<Option<Vec<i64>>, String> {
        let values = self.values(name, 8)?;
        let numbers = values.iter().flat_map(|value| value.varints()).take(MAX_OPERANDS);
        let numbers: Result<Vec<i64>, Damaged> = numbers.map(|number| number.map(u64::cast_signed)).collect();
        let numbers = numbers.map_err(|Damaged| "has attributes that cannot be read".to_owned())?;
        Ok((!values.is_empty()).then_some(numbers))
    }

    /// Returns the value of a string attribute, or the default if it is absent.
    fn text(&self, name: &str, default: &'static str) -> Result<&'a str, String> {
        let values = self.values(name, 4)?;
        let text = values.first().map_or(Ok(default), |value| value.text());
        text.map_err(|Damaged| "has attributes that cannot be read".to_owned())
    }

    /// Returns the height and width in an attribute such as `strides`; both are 1 if it is absent.
    fn sides(&self, name: &str) -> Result<[usize; 2], String> {
        let sides = self.integers(name)?.unwrap_or(vec![1, 1]);
        let sides: Option<Vec<usize>> = sides.iter().map(|&side| usize::try_from(side).ok()).collect();
        sides.and_then(|sides| sides.try_into().ok()).ok_or_else(|| format!("has {name} that are not two values"))
    }

    fn window(&self) -> Result<Window, String> {
        let [x, y] = self.sides("strides")?;
        if x != y || x == 0 {
            return Err(format!("has the strides {x} and {y}; they must be equal"));
        }
        if self.sides("dilations")? != [1, 1] {
            return Err("has a dilation, which is not supported".into());
        }
        let sides = self.integers("pads")?.unwrap_or(vec![0; 4]);
        let sides: Option<Vec<usize>> = sides.iter().map(|&side| usize::try_from(side).ok()).collect();
        let padding = match (self.text("auto_pad", "NOTSET")?, sides.as_deref()) {
            ("NOTSET", Some(&[0, 0, 0, 0])) | ("VALID", _) => Padding::Valid,
            ("NOTSET", Some(&[top, left, bottom, right])) => Padding::Sides([top, left, bottom, right]),
            ("SAME_UPPER", _) => Padding::Same,
            _ => return Err("has an unsupported padding".into()),
        };
        Ok(Window { stride: x, padding, activation: Activation::None })
    }

    fn pool(&self) -> Result<Pool, String> {
        if self.integer("ceil_mode")?.unwrap_or(0) != 0 || self.integer("count_include_pad")?.unwrap_or(0) != 0 {
            return Err("has ceil_mode or count_include_pad, which is not supported".into());
        }
        Ok(Pool { kernel: self.sides("kernel_shape")?, window: self.window()? })
    }
}

/// Returns the input of a node that only copies it to another type, layout or shape; `None` for other nodes. The layout in the
/// result is the layout of the node's output.
pub(super) fn same(node: &Node, reader: &Reader) -> Result<Option<Named>, String> {
    let input = reader.input(node, 0);
    let here = |channels_last: bool| Ok(Some(Named { tensor: input.tensor, channels_last }));
    match node.kind {
        "Identity" | "QuantizeLinear" => here(input.channels_last),
        // Casts to float32, float16 and float64.
        "Cast" if matches!(node.integer("to")?, Some(1 | 10 | 11)) => here(input.channels_last),
        "DequantizeLinear" if reader.constant(node, 0).is_none() => here(input.channels_last),
        "Squeeze" | "Unsqueeze" if reader.constant(node, 0).is_none() => here(false),
        "Transpose" => match (node.integers("perm")?.as_deref(), input.channels_last) {
            (Some([0, 3, 1, 2]), true) => here(false),
            (Some([0, 2, 3, 1]), false) if reader.constant(node, 0).is_none() => here(true),
            _ => Ok(None),
        },
        "Reshape" => {
            let shape = reader.constant(node, 1).and_then(|shape| shape.integers(8));
            let shape = if shape.is_none() { node.integers("shape")? } else { shape };
            // The values of a vector have the same order in every shape.
            let vector = shape.is_some_and(|shape| shape.iter().filter(|&&side| side != 1).count() <= 1);
            if vector && reader.constant(node, 0).is_none() { here(false) } else { Ok(None) }
        }
        "Resize" if scales(node, reader) == Some([1.0; 4]) => here(input.channels_last),
        _ => Ok(None),
    }
}

/// Returns the value of a `Constant` node.
pub(super) fn value<'a>(node: &Node<'a>) -> Result<Slot<'a>, String> {
    match node.values("value", 5)?.first() {
        Some(value) => value.bytes().and_then(onnx::constant).map_err(|Damaged| "cannot be read".into()),
        None => Ok(Slot::computed("", vec![])),
    }
}

/// Returns the activation that a node computes if it can be fused, i.e. is ReLU or ReLU6; otherwise `None`.
pub(super) fn activation(node: &Node, reader: &Reader) -> Option<Activation> {
    match node.kind {
        "Relu" => Some(Activation::Relu),
        "Clip" => {
            let limit = |place, name| {
                let number = reader.constant(node, place).and_then(|limit| limit.floats(1)?.first().copied());
                number.or(node.float(name).ok().flatten())
            };
            let limits = (limit(1, "min"), limit(2, "max"));
            if limits == (Some(0.0), Some(6.0)) { Some(Activation::Relu6) } else { None }
        }
        _ => None,
    }
}

/// Returns the operation of a node.
pub(super) fn kind(node: &Node, reader: &Reader) -> Result<Kind, String> {
    let channels_last = reader.input(node, 0).channels_last;
    Ok(match node.kind {
        "Add" => Kind::Add(Activation::None),
        "Mul" => Kind::Mul,
        "Sub" => Kind::Sub,
        "Sqrt" => Kind::Sqrt,
        "Sigmoid" => Kind::Logistic,
        "Pad" => reflect(node, reader, channels_last)?,
        // The other operators have the axes of NCHW.
        _ if channels_last => Kind::Other,
        "Conv" => convolution(node, reader)?,
        "AveragePool" => Kind::AveragePool(node.pool()?),
        "MaxPool" => Kind::MaxPool(node.pool()?),
        "Concat" if matches!(node.integer("axis")?, Some(1 | -3)) => Kind::Concat(Activation::None),
        "GlobalAveragePool" => Kind::Mean,
        "ReduceMean" => {
            let axes = reader.constant(node, 1).and_then(|axes| axes.integers(4));
            let axes = if axes.is_none() { node.integers("axes")? } else { axes };
            if axes.is_some_and(|axes| axes == [2, 3] || axes == [-2, -1]) { Kind::Mean } else { Kind::Other }
        }
        "Resize" => nearest(node, reader)?,
        _ => Kind::Other,
    })
}

fn convolution(node: &Node, reader: &Reader) -> Result<Kind, String> {
    let window = node.window()?;
    let group = node.integer("group")?.unwrap_or(1);
    let weight = reader.constant(node, 1).map_or(&[][..], |weight| &weight.shape);
    match (usize::try_from(group), weight) {
        (Ok(1), _) => Ok(Kind::Conv(window)),
        (Ok(group), &[channels, 1, _, _]) if group == channels => Ok(Kind::Depthwise(window)),
        _ => Err(format!("is a convolution in {group} groups, which is not supported")),
    }
}

fn reflect(node: &Node, reader: &Reader, channels_last: bool) -> Result<Kind, String> {
    if node.text("mode", "constant")? != "reflect" {
        return Ok(Kind::Other);
    }
    let widths = reader.constant(node, 1).and_then(|widths| widths.integers(8));
    let widths = if widths.is_none() { node.integers("pads")? } else { widths };
    let Some(&[n0, a0, b0, c0, n1, a1, b1, c1]) = widths.as_deref() else { return Ok(Kind::Other) };
    let [a, b, c] = [[a0, a1], [b0, b1], [c0, c1]];
    let [height, width, channels] = if channels_last { [a, b, c] } else { [b, c, a] };
    let [height, width, channels] = [height, width, channels];
    Ok(Kind::Reflect([n0, n1, height[0], height[1], width[0], width[1], channels[0], channels[1]]))
}

/// Returns the scale factors of a `Resize` node, if they are constants in the file.
fn scales(node: &Node, reader: &Reader) -> Option<[f64; 4]> {
    // Since version 11 of the operator, the input between the image and the scales is a region of interest.
    let place = if node.inputs.len() > 2 { 2 } else { 1 };
    reader.constant(node, place).and_then(|scales| scales.floats(4)?.try_into().ok())
}

fn nearest(node: &Node, reader: &Reader) -> Result<Kind, String> {
    let twice = scales(node, reader) == Some([1.0, 1.0, 2.0, 2.0]);
    // An upsampling to a size, which may be unknown, is by two: the output of a network must be as large as its image.
    let sized = node.inputs.len() == 4 && reader.constant(node, 2).is_none_or(|scales| scales.size() == 0);
    let position = node.text("coordinate_transformation_mode", "half_pixel")?;
    let rounding = node.text("nearest_mode", "round_prefer_floor")?;
    let floors = (position, rounding) == ("asymmetric", "floor");
    // For a factor of two, this mode reads the same pixels.
    let halves = twice && position == "half_pixel" && rounding.starts_with("round_prefer");
    let nearest = node.text("mode", "nearest")? == "nearest";
    Ok(if nearest && (twice || sized) && (floors || halves) { Kind::Nearest } else { Kind::Other })
}
