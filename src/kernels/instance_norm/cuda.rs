//! The conditional norm, features, and the affine map, on CUDA.
use crate::kernels::cuda::{Arg, At, Kernel, Launch, Map, Moments, Number, Weights, count};
use std::sync::Arc;

const SOURCE: &str = include_str!("instance_norm.cu");

/// Threads of a block.
const BLOCK: u32 = 256;

/// Channels of a block, at most.
const GROUP: usize = 64;

/// A scale and a shift of each image's channels, `[images][channels]` each.
#[derive(Clone, Copy, Debug)]
pub struct Affine {
    /// What a number is multiplied with.
    pub scale: At,
    /// What is added.
    pub shift: At,
}

/// A norm whose gamma and beta are linear in z.
#[derive(Clone, Debug)]
pub struct StyleNorm {
    weight: At,
    bias: At,
    dim: usize,
    filters: usize,
}

/// A linear map as files have it: `[outputs, inputs]`, and a bias.
pub type Linear<'a> = (&'a [f32], &'a [f32]);

impl StyleNorm {
    /// With room for `filters` channels, those that there are and zeros.
    pub fn new(gamma: Linear, beta: Linear, filters: usize, weights: &mut Weights) -> Self {
        let channels = gamma.1.len();
        let dim = gamma.0.len() / channels;
        let turned = [gamma, beta].into_iter().flat_map(|(weight, _)| {
            (0..dim * filters)
                .map(move |n| if n % filters < channels { weight[n % filters * dim + n / filters] } else { 0.0 })
        });
        let weight = weights.push(Number::F32, turned);
        let biases =
            [gamma, beta].into_iter().flat_map(|(_, bias)| (0..filters).map(|c| bias.get(c).copied().unwrap_or(0.0)));
        Self { weight, bias: weights.push(Number::F32, biases), dim, filters }
    }

    /// Channels with a scale and a shift.
    pub fn filters(&self) -> usize {
        self.filters
    }

    /// The affine map that normalises what has these moments.
    pub fn launch(&self, moments: &Moments, z: At, to: Affine) -> Launch {
        let args = vec![z.into(), self.weight.into(), self.bias.into(), to.scale.into(), to.shift.into()];
        of_moments("style_norm", moments, self.filters, vec![("DIM", self.dim)], args, vec![])
    }
}

/// Means of the first `filters` channels, and deviations if asked for, into `[images][features]` from `at` on.
pub fn features(moments: &Moments, filters: usize, to: (At, usize), at: usize, deviations: bool) -> Launch {
    let defines = vec![("FEATURES", to.1), ("NAMED", filters)];
    let last = vec![at.into(), usize::from(deviations).into()];
    of_moments("features", moments, filters, defines, vec![to.0.into()], last)
}

fn of_moments(
    name: &'static str,
    moments: &Moments,
    filters: usize,
    mut defines: Vec<(&'static str, usize)>,
    first: Vec<Arg>,
    last: Vec<Arg>,
) -> Launch {
    let ((height, width, channels), group) = (moments.of.cells(), filters.min(GROUP));
    let phases = if moments.of.phased { 4 } else { 1 };
    defines.extend([("CHANNELS", channels), ("PHASES", phases), ("FILTERS", filters), ("GROUP", group)]);
    let size: Vec<Arg> = vec![height.into(), width.into(), moments.blocks.into()];
    Launch {
        kernel: Arc::new(Kernel { name, source: SOURCE, defines }),
        grid: [1, count(filters.div_ceil(group)), count(moments.of.images)],
        block: BLOCK,
        // Three sums of each thread.
        shared: 3 * 4 * BLOCK as usize,
        args: [vec![moments.at.into()], first, size, last].concat(),
    }
}

/// `y + scale x + shift` into y; without scale and shift `y + x`.
pub fn affine_add(number: Number, x: &Map, by: Option<Affine>, y: &Map) -> Launch {
    let defines = vec![number.define(), ("CHANNELS", x.channels), ("ADDED", 1)];
    let kernel = Arc::new(Kernel { name: "affine_add", source: SOURCE, defines });
    let (scale, shift) = by.map_or((Arg::Null, Arg::Null), |by| (by.scale.into(), by.shift.into()));
    let args = vec![x.at.into(), scale, shift, y.at.into(), x.pixels().into()];
    let wide = if x.channels.is_multiple_of(8) { 8 } else { 4 };
    Launch::each(&kernel, x.pixels() * x.channels / wide, x.images, args)
}
