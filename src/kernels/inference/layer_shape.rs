//! The shape of a layer, dense or depthwise, and what follows its sum.
use super::any_map::Input;
use super::feature_map::Pad;
use crate::kernels::isa::Lanes;

/// What follows the sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
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
    /// Step between positions; 1 when upsampling.
    pub stride: usize,
    /// Nearest x2 upsampling before it. The padding counts in pixels of the small map, [`Shape::upsample_pad`] of them.
    pub upsample: bool,
    /// What follows.
    pub activation: Activation,
}

impl Shape {
    /// A layer of stride 1 and a square kernel, with nothing before and after.
    pub fn plain(inputs: usize, outputs: usize, side: usize) -> Self {
        Self { inputs, outputs, kernel: (side, side), stride: 1, upsample: false, activation: Activation::None }
    }

    /// The kernel's positions.
    pub fn taps(&self) -> usize {
        self.kernel.0 * self.kernel.1
    }

    /// The side of a square kernel.
    ///
    /// # Panics
    /// If it is not square.
    pub fn side(&self) -> usize {
        assert_eq!(self.kernel.0, self.kernel.1, "{self:?}");
        self.kernel.0
    }

    /// The padding, in pixels of the small map, of an upsampling convolution that keeps the upsampled size.
    ///
    /// Filled with [`super::feature_map::Border::Edge`] it is, for a 3x3 kernel, the REFLECT padding of the upsampled map.
    pub fn upsample_pad(kernel: usize) -> Pad {
        Pad::all((kernel / 2).div_ceil(2))
    }

    /// Height and width of the output for this padded input.
    pub fn output_size<'a>(&self, input: impl Into<Input<'a>>) -> (usize, usize) {
        let input = input.into();
        let (height, width, _) = input.shape();
        self.size_of((height, width), input.pad())
    }

    /// The same for a map of this height and width with this padding.
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
    /// Applies it to each of these vectors.
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
