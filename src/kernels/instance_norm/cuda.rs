//! Moments, the conditional norm, and the affine map, on CUDA.
use crate::kernels::cuda::{Arg, At, Kernel, Launch, Map, Number, Weights, count};
use std::sync::Arc;

const SOURCE: &str = include_str!("instance_norm.cu");

/// Threads of a block.
const BLOCK: usize = 256;

/// A block's channels: as many as fill the sectors that memory moves, if all are not fewer.
fn group(channels: usize) -> usize {
    [16, 8].into_iter().find(|&n| channels.is_multiple_of(n)).unwrap_or(channels)
}

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
    number: Number,
    weight: At,
    bias: At,
    dim: usize,
    filters: usize,
}

/// A linear map as files have it: `[outputs, inputs]`, and a bias.
pub type Linear<'a> = (&'a [f32], &'a [f32]);

impl StyleNorm {
    /// With room for `filters` channels, those that there are and zeros.
    pub fn new(number: Number, gamma: Linear, beta: Linear, filters: usize, weights: &mut Weights) -> Self {
        let channels = gamma.1.len();
        let dim = gamma.0.len() / channels;
        let turned = [gamma, beta].into_iter().flat_map(|(weight, _)| {
            (0..dim * filters)
                .map(move |n| if n % filters < channels { weight[n % filters * dim + n / filters] } else { 0.0 })
        });
        let weight = weights.push(Number::F32, turned);
        let biases =
            [gamma, beta].into_iter().flat_map(|(_, bias)| (0..filters).map(|c| bias.get(c).copied().unwrap_or(0.0)));
        Self { number, weight, bias: weights.push(Number::F32, biases), dim, filters }
    }

    /// Channels with a scale and a shift.
    pub fn filters(&self) -> usize {
        self.filters
    }

    /// The affine map that normalises `x`, of which each filter has so many phases.
    pub fn launch(&self, x: &Map, phases: usize, z: At, to: Affine) -> Launch {
        let defines = vec![("DIM", self.dim), ("PHASES", phases), ("FILTERS", self.filters), ("STYLED", 1)];
        let group = if phases > 1 { x.channels } else { group(x.channels) };
        let args = vec![
            x.at.into(),
            z.into(),
            self.weight.into(),
            self.bias.into(),
            to.scale.into(),
            to.shift.into(),
            x.pixels().into(),
        ];
        moments("style_norm", self.number, x, group, defines, args)
    }
}

/// Means of the first `filters` channels, and deviations if asked for, into `[images][features]` from `at` on.
pub fn features(number: Number, x: &Map, filters: usize, to: (At, usize), at: usize, deviations: bool) -> Launch {
    let defines = vec![("FEATURES", to.1), ("FILTERS", filters)];
    let args = vec![x.at.into(), to.0.into(), x.pixels().into(), at.into(), usize::from(deviations).into()];
    moments("features", number, x, group(x.channels), defines, args)
}

fn moments(
    name: &'static str,
    number: Number,
    x: &Map,
    group: usize,
    mut defines: Vec<(&'static str, usize)>,
    args: Vec<Arg>,
) -> Launch {
    defines.extend([number.define(), ("CHANNELS", x.channels), ("GROUP", group)]);
    Launch {
        kernel: Arc::new(Kernel { name, source: SOURCE, defines }),
        grid: [1, count(x.channels / group), count(x.images)],
        block: BLOCK as u32,
        // Sums of each thread; later the moments, and as many sums of the norm's linear maps.
        shared: (BLOCK / (group / 4) * 2 * group).max(2 * group + 2 * BLOCK) * 4,
        args,
    }
}

/// `relu(scale x + shift)` into y.
pub fn affine_relu(number: Number, x: &Map, by: Affine, y: &Map) -> Launch {
    affine(number, x, Some(by), y, false)
}

/// `y + scale x + shift` into y; without scale and shift `y + x`.
pub fn affine_add(number: Number, x: &Map, by: Option<Affine>, y: &Map) -> Launch {
    affine(number, x, by, y, true)
}

fn affine(number: Number, x: &Map, by: Option<Affine>, y: &Map, add: bool) -> Launch {
    let defines = vec![number.define(), ("CHANNELS", x.channels), ("ADD", add.into())];
    let kernel = Arc::new(Kernel { name: "affine", source: SOURCE, defines });
    let (scale, shift) = by.map_or((Arg::Null, Arg::Null), |by| (by.scale.into(), by.shift.into()));
    let args = vec![x.at.into(), scale, shift, y.at.into(), x.pixels().into()];
    Launch::each(&kernel, x.pixels() * x.channels / 4, x.images, args)
}
