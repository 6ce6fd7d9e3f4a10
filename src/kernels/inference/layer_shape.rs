//! The shape and the activation of a convolution, dense or depthwise.
use super::any_map::Input;
use super::feature_map::Pad;
use crate::kernels::isa::Lanes;

/// The activation applied to the output of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Identity.
    None,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
}

/// The shape of a layer.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Input channels.
    pub inputs: usize,
    /// Output channels.
    pub outputs: usize,
    /// Rows and columns of the kernel.
    pub kernel: (usize, usize),
    /// Stride; 1 when upsampling.
    pub stride: usize,
    /// Whether nearest x2 upsampling precedes the layer. If so, padding is counted in pixels of the map before upsampling; see
    /// [`Shape::upsample_pad`].
    pub upsample: bool,
    /// The activation.
    pub activation: Activation,
}

impl Shape {
    /// Creates the shape of a layer with a square kernel, stride 1, and neither upsampling nor activation.
    pub fn plain(inputs: usize, outputs: usize, side: usize) -> Self {
        Self { inputs, outputs, kernel: (side, side), stride: 1, upsample: false, activation: Activation::None }
    }

    /// Number of positions in the kernel.
    pub fn taps(&self) -> usize {
        self.kernel.0 * self.kernel.1
    }

    /// The side of a square kernel.
    ///
    /// # Panics
    /// If the kernel is not square.
    pub fn side(&self) -> usize {
        assert_eq!(self.kernel.0, self.kernel.1, "{self:?}");
        self.kernel.0
    }

    /// Returns the padding for an upsampling convolution, in pixels of the map before upsampling. With this padding, the output
    /// has the size of the upsampled map.
    ///
    /// For a 3x3 kernel, padding filled with [`super::feature_map::Border::Edge`] is equivalent to REFLECT padding of the
    /// upsampled map.
    pub fn upsample_pad(kernel: usize) -> Pad {
        Pad::all((kernel / 2).div_ceil(2))
    }

    /// Height and width of the output for this padded input.
    pub fn output_size<'a>(&self, input: impl Into<Input<'a>>) -> (usize, usize) {
        let input = input.into();
        let (height, width, _) = input.shape();
        self.size_of((height, width), input.pad())
    }

    /// Like [`Shape::output_size`], for a map of this height and width with this padding.
    pub fn size_of(&self, (height, width): (usize, usize), pad: Pad) -> (usize, usize) {
        if self.upsample {
            return (2 * height, 2 * width);
        }
        let (rows, columns) = (pad.top + height + pad.bottom, pad.left + width + pad.right);
        let size = |n: usize, kernel: usize| (n - kernel) / self.stride + 1;
        (size(rows, self.kernel.0), size(columns, self.kernel.1))
    }
}

impl Activation {
    /// Applies the activation to each of these vectors.
    #[inline(always)]
    pub(super) fn apply<'a, L: Lanes + 'a>(self, sums: impl Iterator<Item = &'a mut L>) {
        let (zero, six) = (L::splat(0.0), L::splat(6.0));
        if self == Self::None {
            return;
        }
        for x in sums {
            *x = x.max(zero);
            if self == Self::Relu6 {
                *x = x.min(six);
            }
        }
    }
}
