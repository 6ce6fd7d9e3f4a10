//! The operators of a network's graph, for all file formats.
use std::fmt;

/// An operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// The operation.
    pub kind: Kind,
    /// The indices of the input tensors; absent optional inputs at the end are left out.
    pub inputs: Vec<usize>,
    /// The indices of the output tensors.
    pub outputs: Vec<usize>,
}

/// The operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The sum of two tensors, and an activation.
    Add(Activation),
    /// Average pool; padding is not counted in the averages.
    AveragePool(Pool),
    /// Concatenation along the channels.
    Concat(Activation),
    /// Convolution: input, weight, bias.
    Conv(Window),
    /// Depthwise convolution, one output channel for each input channel: input, weight, bias.
    Depthwise(Window),
    /// The sigmoid.
    Logistic,
    /// Max pool.
    MaxPool(Pool),
    /// The mean over height and width.
    Mean,
    /// The product of two tensors.
    Mul,
    /// Nearest-neighbour upsampling; output pixel `i` is input pixel `i * inputs / outputs`, rounded down.
    Nearest,
    /// Reflection padding, without repeating the edge, with the widths before and after each axis of NHWC.
    Reflect([i64; 8]),
    /// The reciprocal square root.
    Rsqrt,
    /// The square root.
    Sqrt,
    /// The square of the difference of two tensors.
    SquaredDifference,
    /// The difference of two tensors.
    Sub,
    /// Any other operation.
    Other,
}

/// Stride, padding and activation of a convolution or a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The stride, equal for rows and columns.
    pub stride: usize,
    /// The zero padding of the input.
    pub padding: Padding,
    /// The activation fused into the operator.
    pub activation: Activation,
}

/// A pooling window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// The height and width of the window.
    pub kernel: [usize; 2],
    /// Stride, padding and activation.
    pub window: Window,
}

/// The zero padding of a convolution's or a pool's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// TensorFlow's SAME.
    Same,
    /// No padding: TensorFlow's VALID.
    Valid,
    /// Zeros of these widths, in the order top, left, bottom, right.
    Sides([usize; 4]),
}

/// The activation fused into an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// No activation.
    None,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
}

impl Kind {
    /// Returns the window of a convolution, depthwise or not; `None` for other operators.
    pub fn window(self) -> Option<Window> {
        match self {
            Self::Conv(window) | Self::Depthwise(window) => Some(window),
            _ => None,
        }
    }
}

impl Operator {
    /// Fuses an activation, and returns the operator's outputs; `None` if the operator does not support an activation, or
    /// already has one.
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
    /// Returns `true` if there is no padding, given the height and width of the kernel.
    pub fn is_valid(self, kernel: [usize; 2]) -> bool {
        self == Self::Valid || (self == Self::Same && kernel == [1, 1])
    }

    /// Returns `true` if the padding equals TensorFlow's SAME. `kernel` is the height and width of the kernel, and `side` the
    /// side of the square input.
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
    /// Describes a convolution with this window and a kernel of this height and width, for errors.
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
