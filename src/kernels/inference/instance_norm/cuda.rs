//! Instance norm on CUDA: conditional instance norm, AdaIN, means and deviations as features, and affine transforms.
use super::Deviation;
use crate::kernels::cuda::interface::DeviceEnum;
use crate::kernels::cuda::{Arg, At, Kernel, Launch, Map, Moments, Number, count};
use crate::kernels::inference::layer_shape::Activation;
use std::sync::{Arc, LazyLock};

static SOURCE: LazyLock<String> = LazyLock::new(|| {
    [&Activation::definition(), include_str!("../activation.cuh"), include_str!("instance_norm.cu")].concat()
});

/// Number of threads in a block.
const BLOCK: u32 = 256;

/// Maximum number of channels that a block handles.
const GROUP: usize = 64;

/// An affine transform `scale x + shift` for each channel of each image. The scales are `[images][channels]`, and so are the
/// shifts.
#[derive(Clone, Copy, Debug)]
pub struct Affine {
    /// The scales.
    pub scale: At,
    /// The shifts.
    pub shift: At,
}

/// A table with a row of values for each image. The values, such as gammas, betas and gains, are linear in the style vector z.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Address of the first row.
    pub at: At,
    /// Number of values in a row.
    pub pitch: usize,
}

/// A conditional instance norm. Each row of a [`Table`] contains its gammas, followed by its betas.
#[derive(Clone, Copy, Debug)]
pub struct StyleNorm {
    /// Offset of the gammas in a row, in values.
    pub at: usize,
    /// Number of gammas, and of betas.
    pub filters: usize,
}

impl StyleNorm {
    /// Creates the launch that writes the affine transform of this norm to `to`. The transform combines the moments of a
    /// feature map with the gammas and betas in `table`.
    pub fn launch(&self, moments: &Moments, table: Table, to: Affine) -> Launch {
        let args = vec![table.at.plus(self.at).into(), to.scale.into(), to.shift.into()];
        of_moments("style_norm", moments, self.filters, vec![("STYLED", 1)], args, vec![table.pitch.into()])
    }
}

/// Creates the launch that writes the means of the first `filters` channels as features of each image, starting at feature
/// `at`. If `deviation` is given, the deviations of these channels follow.
///
/// `to` is the address of all features, `[images][features]`, and the number of features of one image.
pub fn features(moments: &Moments, filters: usize, to: (At, usize), at: usize, deviation: Option<Deviation>) -> Launch {
    let defines = vec![("FEATURES", to.1), ("NAMED", filters)];
    let pixels = moments.of.pixels();
    let [correction, within, beyond] =
        deviation.map_or([0.0; 3], |of| [of.correction(pixels), of.within, of.beyond]).map(Arg::Float);
    let last = vec![at.into(), usize::from(deviation.is_some()).into(), correction, within, beyond];
    of_moments("features", moments, filters, defines, vec![to.0.into()], last)
}

/// Creates the launch of AdaIN, which writes an affine transform of `channels` channels to `to`.
///
/// The transform changes the means and deviations of the channels from `own` to `style`. Both arguments are
/// `[images][2][channels]`, as written by [`features`].
pub fn restyle(own: At, style: At, channels: usize, images: usize, to: Affine) -> Launch {
    let defines = vec![("RESTYLED", 1), ("FILTERS", channels)];
    let kernel = Arc::new(Kernel { name: "restyle", source: &SOURCE, defines });
    Launch::each(&kernel, channels, images, vec![own.into(), style.into(), to.scale.into(), to.shift.into()])
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
        kernel: Arc::new(Kernel { name, source: &SOURCE, defines }),
        grid: [1, count(filters.div_ceil(group)), count(moments.of.images)],
        block: BLOCK,
        shared: 4 * BLOCK as usize,
        args: [vec![moments.at.into()], first, size, last].concat(),
    }
}

/// Creates the launch that replaces each value x of a map by `activation(scale x + shift)`.
pub fn affine(number: Number, x: &Map, by: Affine, activation: Activation) -> Launch {
    each("affine", number, x, activation, vec![x.at.into(), by.scale.into(), by.shift.into()])
}

/// Creates the launch that adds `scale x + shift` to `y`, or just `x` if `by` is `None`.
pub fn affine_add(number: Number, x: &Map, by: Option<Affine>, y: &Map) -> Launch {
    let (scale, shift) = by.map_or((Arg::Null, Arg::Null), |by| (by.scale.into(), by.shift.into()));
    each("affine_add", number, x, Activation::None, vec![x.at.into(), scale, shift, y.at.into()])
}

/// Creates a launch in which each thread handles 4 or 8 channels of a pixel.
fn each(name: &'static str, number: Number, x: &Map, activation: Activation, mut args: Vec<Arg>) -> Launch {
    let defines = vec![number.define(), ("CHANNELS", x.channels), ("ADDED", 1), ("ACTIVATION", activation.code())];
    let kernel = Arc::new(Kernel { name, source: &SOURCE, defines });
    let wide = if x.channels.is_multiple_of(8) { 8 } else { 4 };
    args.push(x.pixels().into());
    Launch::each(&kernel, x.pixels() * x.channels / wide, x.images, args)
}
