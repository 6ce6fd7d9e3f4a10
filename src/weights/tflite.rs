//! TFLite graphs: operators in order, and their constant tensors as float32, whether stored so, as float16, or quantized to
//! int8 (by tensor or by channel) and int32.
//!
//! <https://github.com/tensorflow/tensorflow/blob/master/tensorflow/compiler/mlir/lite/schema/schema.fbs>
use super::Tensor;
use super::flatbuffer::Table;
use crate::error::{Error, Result};
use half::f16;
use std::path::{Path, PathBuf};

/// A graph: the first subgraph of a file.
#[derive(Debug)]
pub struct Graph<'a> {
    origin: PathBuf,
    buffers: Vec<Table<'a>>,
    tensors: Vec<Info<'a>>,
    /// The operators, each after those whose outputs it takes.
    pub operators: Vec<Operator>,
    /// The tensors that the graph takes.
    pub inputs: Vec<usize>,
}

#[derive(Debug)]
struct Info<'a> {
    shape: Vec<usize>,
    kind: i8,
    buffer: usize,
    quantization: Option<Table<'a>>,
}

/// One operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// What it does.
    pub kind: Kind,
    /// Tensors it takes; an optional one that is absent is left out.
    pub inputs: Vec<usize>,
    /// Tensors it gives.
    pub outputs: Vec<usize>,
}

/// The operators that say something about weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Convolution: input, weight `[out, k, k, in]`, bias.
    Conv {
        /// Of rows and columns alike.
        stride: usize,
        /// TensorFlow's SAME rather than VALID.
        same: bool,
        /// RELU6 rather than none; other activations are refused where it matters.
        activation: i8,
    },
    /// Depthwise convolution: input, weight `[1, k, k, channels]`, bias.
    Depthwise {
        /// Of rows and columns alike.
        stride: usize,
        /// TensorFlow's SAME rather than VALID.
        same: bool,
        /// As above.
        activation: i8,
    },
    /// A constant, float16 or int8, to float32.
    Dequantize,
    /// Float32 to int8.
    Quantize,
    /// Product.
    Mul,
    /// Difference.
    Sub,
    /// Anything else, by its number.
    Other(i32),
}

/// Field numbers and codes of the schema.
mod schema {
    pub(super) const CONV_2D: i32 = 3;
    pub(super) const DEPTHWISE_CONV_2D: i32 = 4;
    pub(super) const DEQUANTIZE: i32 = 6;
    pub(super) const MUL: i32 = 18;
    pub(super) const SUB: i32 = 41;
    pub(super) const QUANTIZE: i32 = 114;
    pub(super) const FLOAT32: i8 = 0;
    pub(super) const FLOAT16: i8 = 1;
    pub(super) const INT32: i8 = 2;
    pub(super) const INT8: i8 = 9;
}

/// TFLite's number for a fused RELU.
pub const RELU: i8 = 1;
/// TFLite's number for a fused RELU6.
pub const RELU6: i8 = 3;

impl<'a> Graph<'a> {
    /// Reads the structure of a file; `origin` is what errors call it.
    ///
    /// # Errors
    /// The file is no TFLite file, or damaged.
    pub fn read(bytes: &'a [u8], origin: &Path) -> Result<Self> {
        let damaged = |what: &str| Error::weights(origin, format!("its {what} cannot be read; the file is damaged"));
        let model = Table::root(bytes, b"TFL3")
            .ok_or_else(|| Error::weights(origin, "not a TFLite file (it lacks the mark TFL3 at byte 4)"))?;
        let codes = model.tables(1).ok_or_else(|| damaged("table of operator codes"))?;
        let graph = model.tables(2).and_then(|graphs| graphs.first().copied()).ok_or_else(|| damaged("graph"))?;
        let buffers = model.tables(4).ok_or_else(|| damaged("table of buffers"))?;

        let mut tensors = vec![];
        for tensor in graph.tables(0).ok_or_else(|| damaged("table of tensors"))? {
            let shape: Option<Vec<usize>> = tensor.i32s(0).into_iter().map(|n| usize::try_from(n).ok()).collect();
            let buffer = usize::try_from(tensor.i32(2)).ok().filter(|&n| n < buffers.len());
            let (Some(shape), Some(buffer)) = (shape, buffer) else { return Err(damaged("table of tensors")) };
            tensors.push(Info { shape, kind: tensor.i8(1), buffer, quantization: tensor.table(4) });
        }
        let known = |n: i32| usize::try_from(n).ok().filter(|&n| n < tensors.len());
        let mut operators = vec![];
        for operator in graph.tables(3).ok_or_else(|| damaged("list of operators"))? {
            let code = usize::try_from(operator.i32(0)).ok().and_then(|n| codes.get(n));
            let code = code.ok_or_else(|| damaged("list of operators"))?;
            // The old field is one byte; newer files repeat or extend it in the new one.
            let code = i32::from(code.i8(0)).max(code.i32(3));
            let inputs = operator.i32s(1).into_iter().filter(|&n| n != -1).map(known).collect();
            let outputs = operator.i32s(2).into_iter().map(known).collect();
            let (Some(inputs), Some(outputs)) = (inputs, outputs) else { return Err(damaged("list of operators")) };
            let kind = Kind::read(code, operator.table(4)).ok_or_else(|| {
                Error::weights(
                    origin,
                    "has a convolution with unequal strides or with dilation, which no network here has",
                )
            })?;
            operators.push(Operator { kind, inputs, outputs });
        }
        let inputs: Option<Vec<usize>> = graph.i32s(1).into_iter().map(known).collect();
        let inputs = inputs.ok_or_else(|| damaged("list of inputs"))?;
        Ok(Self { origin: origin.into(), buffers, tensors, operators, inputs })
    }

    /// The shape of a tensor.
    pub fn shape(&self, tensor: usize) -> &[usize] {
        self.tensors.get(tensor).map_or(&[], |info| &info.shape)
    }

    /// The operators that take a tensor.
    pub fn takers(&self, tensor: usize) -> impl Iterator<Item = &Operator> {
        self.operators.iter().filter(move |operator| operator.inputs.contains(&tensor))
    }

    /// The tensor that this one is a conversion of, or itself.
    pub fn unconverted(&self, tensor: usize) -> usize {
        let maker = self.operators.iter().find(|operator| operator.outputs.contains(&tensor));
        match maker {
            Some(Operator { kind: Kind::Dequantize | Kind::Quantize, inputs, .. }) => {
                inputs.first().copied().unwrap_or(tensor)
            }
            _ => tensor,
        }
    }

    /// A constant tensor as float32.
    ///
    /// # Errors
    /// It is no constant, of another type, or not as long as its shape says.
    pub fn constant(&self, tensor: usize) -> Result<Tensor> {
        let tensor = self.unconverted(tensor);
        let wrong = |reason: String| Error::weights(&self.origin, format!("tensor {tensor}: {reason}"));
        let info = self.tensors.get(tensor).ok_or_else(|| wrong("does not exist".into()))?;
        let bytes = self.buffers[info.buffer].u8s(0);
        if bytes.is_empty() {
            return Err(wrong("is no constant; a weight was expected here".into()));
        }
        let size = match info.kind {
            schema::FLOAT32 | schema::INT32 => 4,
            schema::FLOAT16 => 2,
            schema::INT8 => 1,
            kind => return Err(wrong(format!("is of type {kind}; float32, float16, int8 and int32 are read"))),
        };
        let numbers = info.shape.iter().try_fold(1_usize, |n, &side| n.checked_mul(side));
        if numbers.and_then(|n| n.checked_mul(size)) != Some(bytes.len()) {
            return Err(wrong(format!("claims the shape {:?} for {} bytes", info.shape, bytes.len())));
        }
        let quads = bytes.as_chunks::<4>().0;
        let data = match info.kind {
            schema::FLOAT32 => quads.iter().map(|&b| f32::from_le_bytes(b)).collect(),
            schema::FLOAT16 => bytes.as_chunks::<2>().0.iter().map(|&b| f16::from_le_bytes(b).to_f32()).collect(),
            schema::INT32 => {
                let numbers = quads.iter().map(|&b| f64::from(i32::from_le_bytes(b)));
                info.dequantized(numbers).map_err(wrong)?
            }
            _ => info.dequantized(bytes.iter().map(|&b| f64::from(b.cast_signed()))).map_err(wrong)?,
        };
        Ok(Tensor { shape: info.shape.clone(), data })
    }
}

impl Info<'_> {
    /// `scale (q - zero point)`, one pair for the tensor or one for each index along an axis.
    fn dequantized(&self, numbers: impl Iterator<Item = f64>) -> std::result::Result<Vec<f32>, String> {
        let table = self.quantization.ok_or("is of integers without a scale")?;
        let (scales, zeros) = (table.f32s(2), table.i64s(3));
        let axis = usize::try_from(table.i32(6)).unwrap_or(usize::MAX);
        let side = if scales.len() == 1 { 1 } else { self.shape.get(axis).copied().unwrap_or(0) };
        if scales.len() != side || !(zeros.is_empty() || zeros.len() == side) || side == 0 {
            let (n, m) = (scales.len(), zeros.len());
            return Err(format!("has {n} scales and {m} zero points along axis {axis} of its shape {:?}", self.shape));
        }
        // Numbers that stand between two steps along the axis.
        let inner: usize = if side == 1 { 1 } else { self.shape[axis + 1..].iter().product() };
        let dequantize = |(i, q): (usize, f64)| {
            let channel = i / inner.max(1) % side;
            let zero = zeros.get(channel).map_or(0.0, |&zero| zero as f64);
            ((q - zero) * f64::from(scales[channel])) as f32
        };
        Ok(numbers.enumerate().map(dequantize).collect())
    }
}

impl Kind {
    /// `None` for a convolution that no network here has.
    fn read(code: i32, options: Option<Table>) -> Option<Self> {
        let stride = |options: Table| {
            let (x, y) = (options.i32(1), options.i32(2));
            usize::try_from(x).ok().filter(|&n| x == y && n > 0)
        };
        // A dilation that is not written is 1, and reads as 0.
        let dilated = |options: Table, field: usize| options.i32(field) > 1 || options.i32(field + 1) > 1;
        Some(match (code, options) {
            (schema::CONV_2D, Some(o)) if dilated(o, 4) => return None,
            (schema::DEPTHWISE_CONV_2D, Some(o)) if dilated(o, 5) || o.i32(3) > 1 => return None,
            (schema::CONV_2D, Some(o)) => Self::Conv { stride: stride(o)?, same: o.i8(0) == 0, activation: o.i8(3) },
            (schema::DEPTHWISE_CONV_2D, Some(o)) => {
                Self::Depthwise { stride: stride(o)?, same: o.i8(0) == 0, activation: o.i8(4) }
            }
            (schema::DEQUANTIZE, _) => Self::Dequantize,
            (schema::QUANTIZE, _) => Self::Quantize,
            (schema::MUL, _) => Self::Mul,
            (schema::SUB, _) => Self::Sub,
            (other, _) => Self::Other(other),
        })
    }
}
