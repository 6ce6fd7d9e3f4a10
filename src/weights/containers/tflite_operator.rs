//! The TFLite operators that style networks use, with the relevant options.
use super::flatbuffer::{Damaged, Table};
use super::graph::{Activation, Graph, Kind, Padding, Pool, Window};

/// The effect of an operator on the graph.
pub(super) enum Action {
    /// It computes an operation.
    Compute(Kind),
    /// It only applies an activation.
    Activate(Activation),
    /// It only converts values to another type or shape.
    Convert,
}

/// The code of an operator and its options.
pub(super) struct Code<'a> {
    number: i32,
    options: Option<Table<'a>>,
}

impl<'a> Code<'a> {
    /// Reads the code and the options of the operator in `table`. The code is stored as an index into `codes`. The error states
    /// the reason for a failure.
    pub(super) fn read(table: Table<'a>, codes: &[Table]) -> Result<Self, String> {
        let code = usize::try_from(table.i32(0).map_err(unreadable)?).ok().and_then(|n| codes.get(n));
        let code = code.ok_or("has no code")?;
        // The old field of the code has one byte; newer files repeat or extend the code in a new field.
        let number = i32::from(code.i8(0).map_err(unreadable)?).max(code.i32(3).map_err(unreadable)?);
        Ok(Self { number, options: table.table(4).map_err(unreadable)? })
    }

    /// Returns the operator's effect on the graph, given the operator's tensors. The error states the reason for a failure.
    pub(super) fn action(&self, inputs: &[usize], outputs: &[usize], graph: &Graph) -> Result<Action, String> {
        let first = self.small(0)?;
        let second = inputs.get(1).and_then(|&tensor| graph.stored(tensor));
        Ok(Action::Compute(match self.number {
            0 => Kind::Add(activation(first)?),
            1 => Kind::AveragePool(self.pool()?),
            2 if matches!(self.integer(0)?, 3 | -1) => Kind::Concat(activation(self.small(1)?)?),
            3 => Kind::Conv(self.window(3, Some(4))?),
            4 => {
                // If the multiplier is missing, 0 is read.
                if self.integer(3)? > 1 {
                    return Err("is a depthwise convolution with several outputs per channel".into());
                }
                Kind::Depthwise(self.window(4, Some(5))?)
            }
            14 => Kind::Logistic,
            17 => Kind::MaxPool(self.pool()?),
            18 if first == 0 => Kind::Mul,
            40 if second.and_then(|axes| axes.integers(2)).is_some_and(|axes| axes == [1, 2]) => Kind::Mean,
            41 if first == 0 => Kind::Sub,
            76 => Kind::Rsqrt,
            97 => {
                if first != 0 || self.small(1)? != 0 {
                    return Err("upsamples with aligned corners or half-pixel centres".into());
                }
                Kind::Nearest
            }
            99 => Kind::SquaredDifference,
            100 if first == 0 => {
                let widths = second.and_then(|widths| widths.integers(8)?.try_into().ok());
                widths.map_or(Kind::Other, Kind::Reflect)
            }
            19 => return Ok(Action::Activate(Activation::Relu)),
            21 => return Ok(Action::Activate(Activation::Relu6)),
            // Quantize, dequantize, and operators that add or remove an axis.
            6 | 114 | 43 | 70 => return Ok(Action::Convert),
            22 if inputs.iter().take(1).chain(outputs).any(|&tensor| is_vector(graph.shape(tensor))) => {
                return Ok(Action::Convert);
            }
            _ => Kind::Other,
        }))
    }

    fn small(&self, field: usize) -> Result<i8, String> {
        self.options.map_or(Ok(0), |options| options.i8(field)).map_err(unreadable)
    }

    fn integer(&self, field: usize) -> Result<i32, String> {
        self.options.map_or(Ok(0), |options| options.i32(field)).map_err(unreadable)
    }

    /// Returns the window of a convolution or a pool. `fused` is the number of the field with the activation. `dilation` is the
    /// number of the first of two fields with the dilations; `None` for a pool, which has no dilations.
    fn window(&self, fused: usize, dilation: Option<usize>) -> Result<Window, String> {
        if self.options.is_none() {
            return Err("lacks its options".into());
        }
        if let Some(field) = dilation {
            // A missing dilation is 1, although 0 is read.
            if self.integer(field)? > 1 || self.integer(field + 1)? > 1 {
                return Err("is a convolution with dilation, which is not supported".into());
            }
        }
        let (x, y) = (self.integer(1)?, self.integer(2)?);
        let stride = usize::try_from(x).ok().filter(|&n| x == y && n > 0);
        let padding = match self.small(0)? {
            0 => Padding::Same,
            1 => Padding::Valid,
            other => return Err(format!("has the padding {other}")),
        };
        Ok(Window {
            stride: stride.ok_or_else(|| format!("has the strides {x} and {y}; they must be equal"))?,
            padding,
            activation: activation(self.small(fused)?)?,
        })
    }

    fn pool(&self) -> Result<Pool, String> {
        let side = |field| usize::try_from(self.integer(field)?).map_err(|_| "has a window without a size".to_owned());
        Ok(Pool { kernel: [side(4)?, side(3)?], window: self.window(5, None)? })
    }
}

fn unreadable(_: Damaged) -> String {
    "cannot be read".into()
}

/// Returns `true` if at most one axis is longer than 1, so that a reshape only adds or removes axes of length 1. An unknown
/// size of the first axis, the batch, counts as 1.
fn is_vector(shape: &[usize]) -> bool {
    let long = |&(axis, &side): &(usize, &usize)| side > 1 || (side == 0 && axis > 0);
    !shape.is_empty() && shape.iter().enumerate().filter(long).count() <= 1
}

fn activation(number: i8) -> Result<Activation, String> {
    match number {
        0 => Ok(Activation::None),
        1 => Ok(Activation::Relu),
        3 => Ok(Activation::Relu6),
        other => Err(format!("has the activation {other}, which is not supported")),
    }
}
