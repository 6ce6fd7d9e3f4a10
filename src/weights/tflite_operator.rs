//! TFLite's operators, as far as they say something about a style network, with the options that matter.
use super::flatbuffer::{Damaged, Table};

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

/// What operators do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Sum.
    Add(Activation),
    /// Convolution: input, weight `[out, k, k, in]`, bias.
    Conv(Window),
    /// Depthwise convolution: input, weight `[1, k, k, channels]`, bias.
    Depthwise(Window),
    /// A constant, float16 or int8, to float32.
    Dequantize,
    /// The sigmoid.
    Logistic,
    /// Mean along axes.
    Mean,
    /// Border by reflection, the edge not repeated: input, widths.
    Reflect,
    /// Product.
    Mul,
    /// Float32 to int8.
    Quantize,
    /// Enlargement by nearest neighbour, output `i` from input `i * inputs / outputs`.
    Nearest,
    /// One over the square root.
    Rsqrt,
    /// Difference.
    Sub,
    /// Anything else, by its number.
    Other(i32),
}

/// How a convolution's kernel moves, and what is done to its sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Of rows and columns alike.
    pub stride: usize,
    /// TensorFlow's SAME rather than VALID.
    pub same: bool,
    /// Fused into it.
    pub activation: Activation,
}

/// What is fused into an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    None,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
}

impl Kind {
    /// The operator in `table`, whose code is one of `codes`; what is wrong with it, if anything.
    pub(super) fn read(table: Table, codes: &[Table]) -> Result<Self, String> {
        let damaged = |Damaged| "cannot be read".to_owned();
        let code = usize::try_from(table.i32(0).map_err(damaged)?).ok().and_then(|n| codes.get(n));
        let code = code.ok_or("has no code")?;
        // The old field is one byte; newer files repeat or extend it in the new one.
        let code = i32::from(code.i8(0).map_err(damaged)?).max(code.i32(3).map_err(damaged)?);
        let options = table.table(4).map_err(damaged)?;
        let required = || options.ok_or_else(|| "lacks its options".to_owned());
        let first = options.map_or(Ok(0), |o| o.i8(0)).map_err(damaged)?;
        Ok(match code {
            0 => Self::Add(activation(first)?),
            3 => Self::Conv(window(required()?, 3, 4)?),
            4 => {
                let options = required()?;
                // A multiplier that is not written reads as 0.
                if options.i32(3).map_err(damaged)? > 1 {
                    return Err("is a depthwise convolution with several outputs a channel".into());
                }
                Self::Depthwise(window(options, 4, 5)?)
            }
            6 => Self::Dequantize,
            14 => Self::Logistic,
            18 if first == 0 => Self::Mul,
            40 => Self::Mean,
            41 if first == 0 => Self::Sub,
            76 => Self::Rsqrt,
            97 => {
                if first != 0 || options.map_or(Ok(0), |o| o.i8(1)).map_err(damaged)? != 0 {
                    return Err("enlarges with aligned corners or half-pixel centres".into());
                }
                Self::Nearest
            }
            100 if first == 0 => Self::Reflect,
            114 => Self::Quantize,
            other => Self::Other(other),
        })
    }

    /// Its window, if it is a convolution, depthwise or not.
    pub fn window(self) -> Option<Window> {
        match self {
            Self::Conv(window) | Self::Depthwise(window) => Some(window),
            _ => None,
        }
    }
}

fn activation(number: i8) -> Result<Activation, String> {
    match number {
        0 => Ok(Activation::None),
        1 => Ok(Activation::Relu),
        3 => Ok(Activation::Relu6),
        other => Err(format!("has the activation {other}, which no network here has")),
    }
}

/// The options of a convolution, whose activation and dilations stand in these fields.
fn window(options: Table, fused: usize, dilation: usize) -> Result<Window, String> {
    let number = |field| options.i32(field).map_err(|Damaged| "has unreadable options".to_owned());
    let small = |field| options.i8(field).map_err(|Damaged| "has unreadable options".to_owned());
    // A dilation that is not written is 1, and reads as 0.
    if number(dilation)? > 1 || number(dilation + 1)? > 1 {
        return Err("is a convolution with dilation, which no network here has".into());
    }
    let (x, y) = (number(1)?, number(2)?);
    let stride = usize::try_from(x).ok().filter(|&n| x == y && n > 0);
    let same = match small(0)? {
        0 => true,
        1 => false,
        other => return Err(format!("has the padding {other}")),
    };
    Ok(Window {
        stride: stride.ok_or_else(|| format!("has the strides {x} and {y}; equal ones are read"))?,
        same,
        activation: activation(small(fused)?)?,
    })
}
