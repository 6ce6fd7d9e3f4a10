//! TFLite graphs: operators in order, and their constant tensors as float32, whether stored so, as float16, or quantized to
//! int8 (by tensor or by channel) and int32.
//!
//! <https://github.com/tensorflow/tensorflow/blob/master/tensorflow/compiler/mlir/lite/schema/schema.fbs>
use super::Tensor;
use super::flatbuffer::{Damaged, Table};
pub use super::tflite_operator::{Activation, Kind, Operator, Window};
use crate::error::{Error, Result};
use crate::interrupt::poll;
use half::f16;
use std::cell::Cell;
use std::path::{Path, PathBuf};

/// More than any network here has; a file that lies about its lists allocates no more.
const MAX_LIST: usize = 8192;
/// TFLite's own limit.
const MAX_RANK: usize = 8;
/// More than any operator here takes or gives.
const MAX_OPERANDS: usize = 64;

/// A graph: the first subgraph of a file.
#[derive(Debug)]
pub struct Graph<'a> {
    origin: PathBuf,
    buffers: Vec<Table<'a>>,
    tensors: Vec<Info<'a>>,
    /// For each tensor the operator that gives it.
    makers: Vec<Option<usize>>,
    /// Bytes of constants that may yet be read: tensors that claim the same bytes again and again run out of them.
    budget: Cell<usize>,
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

/// What integers stand for: `scale (q - zero)`, one pair for the tensor or one for each index along an axis.
#[derive(Debug)]
struct Quantization {
    scales: Vec<f32>,
    zeros: Vec<i64>,
    axis: usize,
}

/// The schema's numbers for types.
mod schema {
    pub(super) const FLOAT32: i8 = 0;
    pub(super) const FLOAT16: i8 = 1;
    pub(super) const INT32: i8 = 2;
    pub(super) const INT8: i8 = 9;
}

impl<'a> Graph<'a> {
    /// Reads the structure of a file; `origin` is what errors call it.
    ///
    /// # Errors
    /// The file is no TFLite file, or not whole.
    pub fn read(bytes: &'a [u8], origin: &Path) -> Result<Self> {
        if bytes.get(4..8) != Some(b"TFL3") {
            return Err(Error::weights(
                origin,
                "not a TFLite file (it lacks the mark TFL3 at byte 4); give the path of a .tflite file",
            ));
        }
        Self::parse(bytes, origin)
            .map_err(|what| Error::weights(origin, format!("{what}; it is no style network, or not whole")))
    }

    fn parse(bytes: &'a [u8], origin: &Path) -> std::result::Result<Self, String> {
        let in_the = |what: &'static str| move |Damaged| format!("an offset or a length in its {what} is wrong");
        let model = Table::root(bytes).map_err(in_the("root"))?;
        let codes = model.tables(1, MAX_LIST).map_err(in_the("operator codes"))?;
        let graphs = model.tables(2, MAX_LIST).map_err(in_the("list of graphs"))?;
        let graph = graphs.first().ok_or("has no graph")?;
        let buffers = model.tables(4, MAX_LIST).map_err(in_the("list of buffers"))?;

        let mut tensors = vec![];
        for table in graph.tables(0, MAX_LIST).map_err(in_the("list of tensors"))? {
            tensors.push(Info::read(table, buffers.len()).map_err(in_the("list of tensors"))?);
        }
        let known = |list: Vec<i32>| -> std::result::Result<Vec<usize>, String> {
            let known = |&n: &i32| usize::try_from(n).ok().filter(|&n| n < tensors.len());
            list.iter().map(|n| known(n).ok_or(format!("names tensor {n} of {}", tensors.len()))).collect()
        };
        let mut operators = vec![];
        let mut makers = vec![None; tensors.len()];
        for (i, table) in graph.tables(3, MAX_LIST).map_err(in_the("list of operators"))?.into_iter().enumerate() {
            let operands = |field| table.numbers(field, MAX_OPERANDS, i32::from_le_bytes).map_err(in_the("operands"));
            // An optional input that is absent is -1.
            let inputs = known(operands(1)?.into_iter().filter(|&n| n != -1).collect())?;
            let outputs = known(operands(2)?)?;
            for &output in &outputs {
                if makers[output].replace(i).is_some() {
                    return Err(format!("two operators give tensor {output}"));
                }
            }
            let kind = Kind::read(table, &codes).map_err(|what| format!("operator {i} {what}"))?;
            operators.push(Operator { kind, inputs, outputs });
        }
        let inputs = graph.numbers(1, MAX_OPERANDS, i32::from_le_bytes).map_err(in_the("list of inputs"))?;
        let inputs = known(inputs)?;
        // Twice: honest files share a vector of zeros between layers.
        let budget = Cell::new(2 * bytes.len());
        Ok(Self { origin: origin.into(), buffers, tensors, makers, budget, operators, inputs })
    }

    /// The shape of a tensor; empty where the file leaves it open.
    pub fn shape(&self, tensor: usize) -> &[usize] {
        self.tensors.get(tensor).map_or(&[], |info| &info.shape)
    }

    /// The operator that gives a tensor.
    pub fn maker(&self, tensor: usize) -> Option<&Operator> {
        self.makers.get(tensor).copied().flatten().and_then(|i| self.operators.get(i))
    }

    /// The operators that take a tensor.
    pub fn takers(&self, tensor: usize) -> impl Iterator<Item = &Operator> {
        self.operators.iter().filter(move |operator| operator.inputs.contains(&tensor))
    }

    /// The tensor that this one is a conversion of, or itself.
    pub fn unconverted(&self, tensor: usize) -> usize {
        match self.maker(tensor) {
            Some(Operator { kind: Kind::Dequantize | Kind::Quantize, inputs, .. }) => {
                inputs.first().copied().unwrap_or(tensor)
            }
            _ => tensor,
        }
    }

    /// The numbers that the least and the greatest int8 of a tensor quantized as a whole stand for.
    ///
    /// # Errors
    /// The tensor has no such quantization.
    pub fn range(&self, tensor: usize) -> Result<(f64, f64)> {
        let wrong = |reason: String| Error::weights(&self.origin, format!("tensor {tensor}: {reason}"));
        let info = self.tensors.get(tensor).ok_or_else(|| wrong("does not exist".into()))?;
        let Quantization { scales, zeros, .. } = info.quantization(1).map_err(wrong)?;
        let (&[scale], &[zero]) = (scales.as_slice(), zeros.as_slice()) else {
            return Err(wrong("is not quantized as a whole".into()));
        };
        let number = |q: i8| f64::from(scale) * (f64::from(q) - zero as f64);
        Ok((number(i8::MIN), number(i8::MAX)))
    }

    /// A constant tensor as float32.
    ///
    /// # Errors
    /// It is no constant, of another type, or not as long as its shape says.
    pub fn constant(&self, tensor: usize) -> Result<Tensor> {
        poll();
        let (info, bytes) = self.stored(tensor)?;
        let quads = bytes.as_chunks::<4>().0;
        let integers = |numbers: Vec<f64>| {
            info.dequantized(&numbers)
                .map_err(|reason| Error::weights(&self.origin, format!("tensor {tensor}: {reason}")))
        };
        let data = match info.kind {
            schema::FLOAT32 => quads.iter().map(|&b| f32::from_le_bytes(b)).collect(),
            schema::FLOAT16 => bytes.as_chunks::<2>().0.iter().map(|&b| f16::from_le_bytes(b).to_f32()).collect(),
            schema::INT32 => integers(quads.iter().map(|&b| i32::from_le_bytes(b).into()).collect())?,
            _ => integers(bytes.iter().map(|&b| b.cast_signed().into()).collect())?,
        };
        Ok(Tensor { shape: info.shape.clone(), data })
    }

    /// A constant tensor of plain integers, such as the widths of a border.
    ///
    /// # Errors
    /// It is no constant of int32.
    pub fn integers(&self, tensor: usize) -> Result<Vec<i32>> {
        let (info, bytes) = self.stored(tensor)?;
        if info.kind != schema::INT32 {
            return Err(Error::weights(&self.origin, format!("tensor {tensor}: is not of int32")));
        }
        Ok(bytes.as_chunks::<4>().0.iter().map(|&b| i32::from_le_bytes(b)).collect())
    }

    /// What is known of a constant tensor, before conversions, and its bytes.
    fn stored(&self, tensor: usize) -> Result<(&Info<'a>, &'a [u8])> {
        let tensor = self.unconverted(tensor);
        let wrong = |reason: String| Error::weights(&self.origin, format!("tensor {tensor}: {reason}"));
        let info = self.tensors.get(tensor).ok_or_else(|| wrong("does not exist".into()))?;
        let bytes = self.buffers[info.buffer].bytes(0);
        let bytes = bytes.map_err(|Damaged| wrong("its buffer leads out of the file; is it cut?".into()))?;
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
        let left = self.budget.get().checked_sub(bytes.len());
        self.budget.set(left.ok_or_else(|| wrong("lies where other tensors do".into()))?);
        Ok((info, bytes))
    }
}

impl<'a> Info<'a> {
    fn read(table: Table<'a>, buffers: usize) -> std::result::Result<Self, Damaged> {
        let sides = table.numbers(0, MAX_RANK, i32::from_le_bytes)?;
        let shape: Option<Vec<usize>> = sides.into_iter().map(|n| usize::try_from(n).ok()).collect();
        let buffer = usize::try_from(table.i32(2)?).ok().filter(|&n| n < buffers);
        let (Some(shape), Some(buffer)) = (shape, buffer) else { return Err(Damaged) };
        Ok(Self { shape, kind: table.i8(1)?, buffer, quantization: table.table(4)? })
    }

    /// The tensor's quantization, of at most `most` channels.
    fn quantization(&self, most: usize) -> std::result::Result<Quantization, String> {
        let table = self.quantization.ok_or("is of integers without a scale")?;
        let read = || {
            let scales = table.numbers(2, most, f32::from_le_bytes)?;
            let zeros = table.numbers(3, most, i64::from_le_bytes)?;
            let axis = usize::try_from(table.i32(6)?).map_err(|_| Damaged)?;
            Ok(Quantization { scales, zeros, axis })
        };
        read().map_err(|Damaged| "its quantization does not fit its shape".into())
    }

    fn dequantized(&self, numbers: &[f64]) -> std::result::Result<Vec<f32>, String> {
        let Quantization { scales, zeros, axis } = self.quantization(numbers.len())?;
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
        Ok(numbers.iter().copied().enumerate().map(dequantize).collect())
    }
}
