//! A network as a graph, independent of the file format: operators in order, and constant tensors as float32.
//!
//! Operators that only convert or rename a tensor are left out, i.e. casts, quantization, reshapes of vectors, and transposes
//! between memory layouts. The shapes of inputs are NHWC, the shapes of weights OIHW.
use super::constant::Constant;
pub use super::operator::{Activation, Kind, Operator, Padding, Pool, Window};
use super::{onnx, tflite};
use crate::error::{Error, Result};
use crate::interrupt::poll;
use crate::memory;
use crate::weights::Tensor;
use std::cell::Cell;
use std::path::{Path, PathBuf};

/// Maximum number of tensors, operators or constants; supported networks have fewer. The limit bounds the allocation for an
/// invalid length in a file.
pub(super) const MAX_LIST: usize = 8192;
/// Maximum number of axes: TFLite's limit; supported tensors have fewer.
pub(super) const MAX_RANK: usize = 8;
/// Maximum number of inputs or outputs of an operator.
pub(super) const MAX_OPERANDS: usize = 64;

/// A graph.
#[derive(Debug)]
pub struct Graph<'a> {
    origin: PathBuf,
    tensors: Vec<Slot<'a>>,
    /// The number of bytes of constants that may still be read. It bounds the memory if many tensors claim the same bytes of
    /// the file.
    budget: Cell<usize>,
    /// True if weights are stored as in TFLite: OHWI, and 1HWO for depthwise convolutions.
    channels_last: bool,
    /// The operators, in topological order.
    pub operators: Vec<Operator>,
    /// The input tensors of the graph, as indices.
    pub inputs: Vec<usize>,
}

/// A tensor.
#[derive(Debug)]
pub(super) struct Slot<'a> {
    pub(super) name: &'a str,
    /// The shape; unknown dimensions are 0.
    pub(super) shape: Vec<usize>,
    /// The tensor's constant, or the reason why it has none.
    pub(super) constant: std::result::Result<Constant<'a>, String>,
    /// The index of the operator that computes the tensor.
    pub(super) maker: Option<usize>,
    /// For an input that the graph quantizes, the values that the smallest and the largest integer represent.
    pub(super) range: Option<(f64, f64)>,
}

impl<'a> Slot<'a> {
    /// Creates a tensor that is not a constant: an input of the graph, or the output of an operator.
    pub(super) fn computed(name: &'a str, shape: Vec<usize>) -> Self {
        let constant = Err("is not a constant; a weight was expected here".into());
        Self { name, shape, constant, maker: None, range: None }
    }
}

impl<'a> Graph<'a> {
    /// Reads a TFLite or an ONNX file. `origin` is the name of the file in errors.
    ///
    /// # Errors
    /// The file is neither TFLite nor ONNX, or is incomplete.
    pub fn read(bytes: &'a [u8], origin: &Path) -> Result<Self> {
        // Twice the size: valid files share a vector of zeros between layers.
        let budget = Cell::new(2 * bytes.len());
        let (tensors, operators, inputs) = (vec![], vec![], vec![]);
        let mut graph = Self { origin: origin.into(), tensors, budget, channels_last: true, operators, inputs };
        let parsed = if tflite::is(bytes) {
            tflite::parse(bytes, &mut graph)
        } else if onnx::is(bytes) {
            graph.channels_last = false;
            onnx::parse(bytes, &mut graph)
        } else {
            let reason = "not a TFLite file (it lacks the mark TFL3 at byte 4), and not an ONNX file; \
                          give the path of a .tflite or an .onnx file";
            return Err(Error::weights(origin, reason));
        };
        parsed.map_err(|what| Error::weights(origin, format!("{what}; it is not a style network, or incomplete")))?;
        Ok(graph)
    }

    /// Returns the shape of an input of the graph, NHWC; unknown dimensions are 0.
    pub fn shape(&self, tensor: usize) -> &[usize] {
        self.tensors.get(tensor).map_or(&[], |slot| &slot.shape)
    }

    /// Returns the name of a tensor.
    pub fn name(&self, tensor: usize) -> &str {
        self.tensors.get(tensor).map_or("", |slot| slot.name)
    }

    /// Returns the operator that computes a tensor, if there is one.
    pub fn maker(&self, tensor: usize) -> Option<&Operator> {
        self.tensors.get(tensor).and_then(|slot| slot.maker).and_then(|i| self.operators.get(i))
    }

    /// Returns the operators that take this tensor as an input.
    pub fn takers(&self, tensor: usize) -> impl Iterator<Item = &Operator> {
        self.operators.iter().filter(move |operator| operator.inputs.contains(&tensor))
    }

    /// Returns the range of an input that the graph quantizes: the values that the smallest and the largest integer represent.
    /// `None` for other tensors.
    pub fn range(&self, input: usize) -> Option<(f64, f64)> {
        self.tensors.get(input).and_then(|slot| slot.range)
    }

    /// Returns a constant tensor as float32.
    ///
    /// # Errors
    /// The tensor is not a constant, is of an unsupported type, has a size that does not match its shape, or overlaps other
    /// tensors; or there is not enough memory.
    pub fn constant(&self, tensor: usize) -> Result<Tensor> {
        poll();
        let wrong = |reason: &str| Error::weights(&self.origin, format!("tensor {}: {reason}", self.called(tensor)));
        let slot = self.tensors.get(tensor).ok_or_else(|| wrong("does not exist"))?;
        let constant = slot.constant.as_ref().map_err(|reason| wrong(reason))?;
        let left = self.budget.get().checked_sub(constant.size());
        self.budget.set(left.ok_or_else(|| wrong("overlaps other tensors"))?);
        let count = constant.count().map_err(|reason| wrong(&reason))?;
        let mut data = memory::room(&self.origin.to_string_lossy(), count)?;
        constant.read(&mut data).map_err(|reason| wrong(&reason))?;
        if data.len() != count {
            return Err(wrong("has an integer of more than 64 bits"));
        }
        Ok(Tensor { shape: constant.shape.clone(), data })
    }

    /// Returns a convolution's weight, `[out, in, height, width]` (depthwise: `[channels, 1, height, width]`), and its bias
    /// (zeros if it has no bias).
    ///
    /// # Errors
    /// The weight or the bias is not a constant, or has another shape.
    pub fn weight_and_bias(&self, operator: &Operator) -> Result<(Tensor, Tensor)> {
        let wrong = |reason: String| Error::weights(&self.origin, reason);
        let weight = operator.inputs.get(1).ok_or_else(|| wrong("a convolution lacks its weight".into()))?;
        let weight = self.constant(*weight)?;
        if weight.shape.len() != 4 {
            return Err(wrong(format!("a convolution's weight has the shape {:?}, not four axes", weight.shape)));
        }
        let weight = match (self.channels_last, operator.kind) {
            (false, _) => weight,
            (true, Kind::Depthwise(_)) => self.permuted(&weight, [3, 0, 1, 2])?,
            (true, _) => self.permuted(&weight, [0, 3, 1, 2])?,
        };
        let outputs = weight.shape[0];
        let bias = match operator.inputs.get(2) {
            Some(&bias) => self.constant(bias)?,
            None => Tensor { shape: vec![outputs], data: vec![0.0; outputs] },
        };
        match bias.shape == [outputs] {
            true => Ok((weight, bias)),
            false => Err(wrong(format!("a convolution to {outputs} channels has a bias of shape {:?}", bias.shape))),
        }
    }

    /// Permutes the axes of a tensor of rank 4.
    fn permuted(&self, tensor: &Tensor, order: [usize; 4]) -> Result<Tensor> {
        let shape @ [a, b, c, d] = order.map(|axis| tensor.shape[axis]);
        let steps = order.map(|axis| tensor.shape[axis + 1..].iter().product::<usize>());
        let mut data = memory::room(&self.origin.to_string_lossy(), tensor.data.len())?;
        for row in 0..a * b * c {
            let start = row / (b * c) * steps[0] + row / c % b * steps[1] + row % c * steps[2];
            data.extend(tensor.data[start..].iter().step_by(steps[3]).take(d));
        }
        Ok(Tensor { shape: shape.to_vec(), data })
    }

    /// Returns a description of a tensor for errors.
    fn called(&self, tensor: usize) -> String {
        match self.name(tensor) {
            "" => tensor.to_string(),
            name => quoted(name),
        }
    }
}

/// Methods for the readers of containers.
impl<'a> Graph<'a> {
    /// Adds a tensor, and returns its index.
    pub(super) fn add(&mut self, slot: Slot<'a>) -> usize {
        self.tensors.push(slot);
        self.tensors.len() - 1
    }

    /// Borrows a tensor mutably.
    pub(super) fn slot_mut(&mut self, tensor: usize) -> Option<&mut Slot<'a>> {
        self.tensors.get_mut(tensor)
    }

    /// Returns the stored constant of a tensor, if it has one.
    pub(super) fn stored(&self, tensor: usize) -> Option<&Constant<'a>> {
        self.tensors.get(tensor).and_then(|slot| slot.constant.as_ref().ok())
    }

    /// Adds an operator, which must be the only one with these outputs.
    pub(super) fn push(&mut self, kind: Kind, inputs: Vec<usize>, outputs: Vec<usize>) {
        for &output in &outputs {
            self.tensors[output].maker = Some(self.operators.len());
        }
        self.operators.push(Operator { kind, inputs, outputs });
    }

    /// Adds an activation. If possible, the activation is fused into the operator that computes `input`. That operator then
    /// computes `output`, and no operator computes `input` itself.
    pub(super) fn activate(&mut self, activation: Activation, input: usize, output: usize) {
        let maker = self.tensors[input].maker;
        let operator = maker.and_then(|maker| self.operators.get_mut(maker));
        match operator.and_then(|operator| operator.activated(activation)) {
            Some(outputs) => {
                *outputs = vec![output];
                self.tensors[output].maker = self.tensors[input].maker.take();
            }
            None => self.push(Kind::Other, vec![input], vec![output]),
        }
    }
}

/// Returns a name from a file as shown in errors.
pub(in crate::weights) fn quoted(name: &str) -> String {
    let shown: String = name.chars().take(60).flat_map(char::escape_debug).collect();
    let more = if name.chars().nth(60).is_some() { "..." } else { "" };
    format!("\"{shown}{more}\"")
}
