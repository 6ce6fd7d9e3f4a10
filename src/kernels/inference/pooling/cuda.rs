//! Pooling on CUDA, into a range of the channels of a map.
use super::MaxPool;
use crate::kernels::cuda::interface::DeviceEnum;
use crate::kernels::cuda::{Arg, At, Kernel, Launch, Map, Number, Weights, count};
use crate::kernels::inference::layer_shape::Activation;
use std::sync::{Arc, LazyLock};

static SOURCE: LazyLock<String> = LazyLock::new(|| {
    [&Activation::definition(), include_str!("../activation.cuh"), include_str!("pooling.cu")].concat()
});

impl MaxPool {
    /// Creates the launch that pools `x` into the channels of `y` from `channel` on.
    ///
    /// # Panics
    /// If the maps do not match, or `channel` is not a multiple of 8.
    pub fn launch(self, number: Number, x: &Map, y: &Map, channel: usize) -> Launch {
        assert_eq!((self.windows(x.height), self.windows(x.width)), y.size(), "output of {self:?}");
        let defines = [("SIDE", self.side), ("STRIDE", self.stride)];
        let sizes = [x.height, x.width, y.height, y.width].map(Into::into);
        launch("max_pool", number, (x, y, channel), &defines, |from, to| {
            [vec![from.into(), to.into()], sizes.to_vec()].concat()
        })
    }
}

/// Average pooling as in [`super::AveragePool`], with the bias on the device.
#[derive(Clone, Debug)]
pub struct AveragePool {
    counts_zeros: bool,
    bias: At,
    activation: Activation,
}

impl AveragePool {
    /// Creates the layer, and appends its bias to `weights`.
    pub fn new(pool: &super::AveragePool, weights: &mut Weights) -> Self {
        let &super::AveragePool { counts_zeros, ref bias, activation } = pool;
        Self { counts_zeros, bias: weights.push(Number::F32, bias.iter().copied()), activation }
    }

    /// Creates the launch that pools `x` into the channels of `y` from `channel` on.
    ///
    /// # Panics
    /// If the maps do not match, or `channel` is not a multiple of 8.
    pub fn launch(&self, number: Number, x: &Map, y: &Map, channel: usize) -> Launch {
        assert_eq!(x.size(), y.size(), "output of {self:?}");
        let defines = [("COUNTS_ZEROS", self.counts_zeros.into()), ("ACTIVATION", self.activation.code())];
        launch("average_pool", number, (x, y, channel), &defines, |from, to| {
            vec![from.into(), self.bias.into(), to.into(), x.height.into(), x.width.into()]
        })
    }
}

/// Number of threads in a block of `global_mean`.
const BLOCK: u32 = 256;
/// Number of vectors of 4 or 8 channels that a block of `global_mean` handles.
const GROUP: usize = 32;

/// Creates the launch that writes the mean of each of the first `features` channels of a map to `to`, `[images][features]`.
pub fn global_mean(number: Number, x: &Map, features: usize, to: At) -> Launch {
    let wide = if x.channels.is_multiple_of(8) { 8 } else { 4 };
    let defines = vec![number.define(), ("CHANNELS", x.channels), ("FEATURES", features), ("GROUP", GROUP)];
    Launch {
        kernel: Arc::new(Kernel { name: "global_mean", source: &SOURCE, defines }),
        grid: [1, count((x.channels / wide).div_ceil(GROUP)), count(x.images)],
        block: BLOCK,
        shared: 4 * wide * BLOCK as usize,
        args: vec![x.at.into(), to.into(), x.pixels().into()],
    }
}

fn launch(
    name: &'static str,
    number: Number,
    (x, y, channel): (&Map, &Map, usize),
    defines: &[(&'static str, usize)],
    args: impl FnOnce(At, At) -> Vec<Arg>,
) -> Launch {
    assert!(
        channel.is_multiple_of(8) && channel + x.channels <= y.channels && x.images == y.images,
        "{x:?} into {y:?}"
    );
    let shared = [number.define(), ("CHANNELS", x.channels), ("OUT_PITCH", y.channels)];
    let kernel = Arc::new(Kernel { name, source: &SOURCE, defines: [&shared, defines].concat() });
    let wide = if x.channels.is_multiple_of(8) { 8 } else { 4 };
    Launch::each(&kernel, y.pixels() * x.channels / wide, x.images, args(x.at, y.at.plus_values(number, channel)))
}
