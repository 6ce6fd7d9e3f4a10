//! The operators of a network's graph, whatever container the graph comes from.
use std::fmt;

/// One operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// Its operation.
    pub kind: Kind,
    /// Tensors it takes; an optional one that is absent at the end is left out.
    pub inputs: Vec<usize>,
    /// Tensors it gives.
    pub outputs: Vec<usize>,
}

/// The operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The sum of two tensors.
    Add(Activation),
    /// The mean over a window; pixels beyond the border are not counted.
    AveragePool(Pool),
    /// Concatenation along the channels.
    Concat(Activation),
    /// Convolution: input, weight, bias.
    Conv(Window),
    /// Depthwise convolution, one output channel for each input channel: input, weight, bias.
    Depthwise(Window),
    /// The sigmoid.
    Logistic,
    /// The largest value in a window.
    MaxPool(Pool),
    /// The mean over height and width.
    Mean,
    /// The product of two tensors.
    Mul,
    /// Enlargement by nearest neighbour, output `i` from input `i * inputs / outputs`.
    Nearest,
    /// A border by reflection, the edge not repeated; its widths before and after each axis of NHWC.
    Reflect([i64; 8]),
    /// One over the square root.
    Rsqrt,
    /// The square root.
    Sqrt,
    /// The square of the difference of two tensors.
    SquaredDifference,
    /// The difference of two tensors.
    Sub,
    /// Anything else.
    Other,
}

/// How a convolution's kernel moves, and what is done to its sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The step between positions, the same for rows and columns.
    pub stride: usize,
    /// The zeros around the input.
    pub padding: Padding,
    /// The activation fused into it.
    pub activation: Activation,
}

/// A pooling window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Height and width.
    pub kernel: [usize; 2],
    /// How it moves.
    pub window: Window,
}

/// The zeros around a convolution's or a pool's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// TensorFlow's SAME.
    Same,
    /// None.
    Valid,
    /// So many rows and columns: top, left, bottom, right.
    Sides([usize; 4]),
}

/// The activation fused into an operator.
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
    /// Its window, if it is a convolution, depthwise or not.
    pub fn window(self) -> Option<Window> {
        match self {
            Self::Conv(window) | Self::Depthwise(window) => Some(window),
            _ => None,
        }
    }
}

impl Operator {
    /// Fuses an activation into it, and gives its outputs, if it can have one and has none yet.
    pub(super) fn activated(&mut self, by: Activation) -> Option<&mut Vec<usize>> {
        let activation = match &mut self.kind {
            Kind::Add(activation) | Kind::Concat(activation) => activation,
            Kind::Conv(window) | Kind::Depthwise(window) => &mut window.activation,
            Kind::AveragePool(pool) | Kind::MaxPool(pool) => &mut pool.window.activation,
            _ => return None,
        };
        let none = *activation == Activation::None;
        none.then(|| *activation = by)?;
        Some(&mut self.outputs)
    }
}

impl Padding {
    /// Whether it adds nothing to the input of a kernel of this height and width.
    pub fn is_valid(self, kernel: [usize; 2]) -> bool {
        self == Self::Valid || (self == Self::Same && kernel == [1, 1])
    }

    /// Whether it is TensorFlow's SAME for a kernel of this height and width and a stride, on a square input of this side.
    pub fn is_same(self, kernel: [usize; 2], stride: usize, side: usize) -> bool {
        let total = kernel.map(|k| (side.div_ceil(stride.max(1)) * stride + k).saturating_sub(stride + side));
        let [top, left] = total.map(|total| total / 2);
        match self {
            Self::Same => true,
            Self::Valid => total == [0, 0],
            Self::Sides(sides) => sides == [top, left, total[0] - top, total[1] - left],
        }
    }
}

impl Window {
    /// The words by which an error calls a convolution with this window and a kernel of this height and width.
    pub(in crate::weights) fn described(&self, kind: &str, kernel: &[usize]) -> String {
        let kernel: Vec<String> = kernel.iter().map(usize::to_string).collect();
        let Self { stride, padding, activation } = self;
        format!("a {}{kind} of stride {stride}, {padding} padding and {activation}", kernel.join("x"))
    }
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::None => "no activation",
            Self::Relu => "ReLU",
            Self::Relu6 => "ReLU6",
        })
    }
}

impl fmt::Display for Padding {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Same => f.write_str("SAME"),
            Self::Valid => f.write_str("no"),
            Self::Sides([top, left, bottom, right]) => write!(f, "({top}, {left}, {bottom}, {right})"),
        }
    }
}
