//! A network as a graph: operators in order, and its constant tensors as float32, the same for every container.
//!
//! Operators that only convert or rename a tensor are left out: casts, quantization, reshapes of vectors, transposes between the
//! orders of axes. Shapes of inputs are in the order NHWC, weights in OIHW.
use super::constant::Constant;
pub use super::operator::{Activation, Kind, Operator, Padding, Pool, Window};
use super::{onnx, tflite};
use crate::error::{Error, Result};
use crate::interrupt::poll;
use crate::memory;
use crate::weights::Tensor;
use std::cell::Cell;
use std::path::{Path, PathBuf};

/// More tensors, operators or constants than any network here has; a file that lies about its lists allocates no more.
pub(super) const MAX_LIST: usize = 8192;
/// More axes than any tensor here has: TFLite's own limit.
pub(super) const MAX_RANK: usize = 8;
/// More tensors than any operator here takes or gives.
pub(super) const MAX_OPERANDS: usize = 64;

/// A graph.
#[derive(Debug)]
pub struct Graph<'a> {
    origin: PathBuf,
    tensors: Vec<Slot<'a>>,
    /// Bytes of constants that may yet be read: tensors that claim the same bytes again and again run out of them.
    budget: Cell<usize>,
    /// Whether weights stand as TFLite has them, OHWI, and depthwise ones as 1HWO.
    channels_last: bool,
    /// The operators, each after those whose outputs it takes.
    pub operators: Vec<Operator>,
    /// The tensors that the graph takes.
    pub inputs: Vec<usize>,
}

/// A tensor.
#[derive(Debug)]
pub(super) struct Slot<'a> {
    pub(super) name: &'a str,
    /// A side that the file leaves open is 0.
    pub(super) shape: Vec<usize>,
    /// Its constant, or why it has none.
    pub(super) constant: std::result::Result<Constant<'a>, String>,
    /// The operator that gives it.
    pub(super) maker: Option<usize>,
    /// The numbers that its least and greatest integer stand for, if it is quantized on its way into the graph.
    pub(super) range: Option<(f64, f64)>,
}

impl<'a> Slot<'a> {
    /// A tensor that is computed.
    pub(super) fn computed(name: &'a str, shape: Vec<usize>) -> Self {
        let constant = Err("is no constant; a weight was expected here".into());
        Self { name, shape, constant, maker: None, range: None }
    }
}

impl<'a> Graph<'a> {
    /// Reads a TFLite or an ONNX file; `origin` is what errors call it.
    ///
    /// # Errors
    /// The file is neither, or not whole.
    pub fn read(bytes: &'a [u8], origin: &Path) -> Result<Self> {
        // Twice: honest files share a vector of zeros between layers.
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
        parsed.map_err(|what| Error::weights(origin, format!("{what}; it is no style network, or not whole")))?;
        Ok(graph)
    }

    /// The shape of a tensor that the graph takes, NHWC: a side that the file leaves open is 0.
    pub fn shape(&self, tensor: usize) -> &[usize] {
        self.tensors.get(tensor).map_or(&[], |slot| &slot.shape)
    }

    /// The name of a tensor.
    pub fn name(&self, tensor: usize) -> &str {
        self.tensors.get(tensor).map_or("", |slot| slot.name)
    }

    /// The operator that gives a tensor.
    pub fn maker(&self, tensor: usize) -> Option<&Operator> {
        self.tensors.get(tensor).and_then(|slot| slot.maker).and_then(|i| self.operators.get(i))
    }

    /// The operators that take a tensor.
    pub fn takers(&self, tensor: usize) -> impl Iterator<Item = &Operator> {
        self.operators.iter().filter(move |operator| operator.inputs.contains(&tensor))
    }

    /// The numbers that the least and the greatest integer stand for, where an input of the graph is quantized.
    pub fn range(&self, input: usize) -> Option<(f64, f64)> {
        self.tensors.get(input).and_then(|slot| slot.range)
    }

    /// A constant tensor as float32.
    ///
    /// # Errors
    /// It is no constant, of another type, or not as long as its shape says.
    pub fn constant(&self, tensor: usize) -> Result<Tensor> {
        poll();
        let wrong = |reason: &str| Error::weights(&self.origin, format!("tensor {}: {reason}", self.called(tensor)));
        let slot = self.tensors.get(tensor).ok_or_else(|| wrong("does not exist"))?;
        let constant = slot.constant.as_ref().map_err(|reason| wrong(reason))?;
        let left = self.budget.get().checked_sub(constant.size());
        self.budget.set(left.ok_or_else(|| wrong("lies where other tensors do"))?);
        let count = constant.count().map_err(|reason| wrong(&reason))?;
        let mut data = memory::room(&self.origin.to_string_lossy(), count)?;
        constant.read(&mut data).map_err(|reason| wrong(&reason))?;
        if data.len() != count {
            return Err(wrong("has an integer of more than 64 bits"));
        }
        Ok(Tensor { shape: constant.shape.clone(), data })
    }

    /// A convolution's weight, `[out, in, height, width]` (depthwise: `[channels, 1, height, width]`), and its bias: zeros where it has
    /// none.
    ///
    /// # Errors
    /// They are no constants, or of other shapes.
    pub fn weight_and_bias(&self, operator: &Operator) -> Result<(Tensor, Tensor)> {
        let wrong = |reason: String| Error::weights(&self.origin, reason);
        let weight = operator.inputs.get(1).ok_or_else(|| wrong("a convolution lacks its weight".into()))?;
        let weight = self.constant(*weight)?;
        if weight.shape.len() != 4 {
            return Err(wrong(format!("a convolution's weight has the shape {:?}, not four sides", weight.shape)));
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

    /// A tensor of four axes with its axes in another order.
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

    /// The words by which an error calls a tensor.
    fn called(&self, tensor: usize) -> String {
        match self.name(tensor) {
            "" => tensor.to_string(),
            name => quoted(name),
        }
    }
}

/// The part that readers of containers build a graph with.
impl<'a> Graph<'a> {
    /// Adds a tensor.
    pub(super) fn add(&mut self, slot: Slot<'a>) -> usize {
        self.tensors.push(slot);
        self.tensors.len() - 1
    }

    /// A tensor that is there.
    pub(super) fn slot_mut(&mut self, tensor: usize) -> Option<&mut Slot<'a>> {
        self.tensors.get_mut(tensor)
    }

    /// A constant of the graph.
    pub(super) fn stored(&self, tensor: usize) -> Option<&Constant<'a>> {
        self.tensors.get(tensor).and_then(|slot| slot.constant.as_ref().ok())
    }

    /// Adds an operator, the only one to give these outputs.
    pub(super) fn push(&mut self, kind: Kind, inputs: Vec<usize>, outputs: Vec<usize>) {
        for &output in &outputs {
            self.tensors[output].maker = Some(self.operators.len());
        }
        self.operators.push(Operator { kind, inputs, outputs });
    }

    /// Adds an activation, within the operator that gives its input, if that can have one. What else takes the input then finds
    /// that nothing gives it.
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

/// A name from a file, as errors show it.
pub(in crate::weights) fn quoted(name: &str) -> String {
    let shown: String = name.chars().take(60).flat_map(char::escape_debug).collect();
    let more = if name.chars().nth(60).is_some() { "..." } else { "" };
    format!("\"{shown}{more}\"")
}
