//! Colour jitter on CUDA.
use crate::kernels::cuda::interface::{DeviceEnum, DeviceStruct, Field};
use crate::kernels::cuda::{At, Kernel, Launch, Plan, count, int};
use bytemuck::{Pod, Zeroable};
use std::sync::{Arc, LazyLock};

static SOURCE: LazyLock<String> = LazyLock::new(|| {
    [&FactorKind::definition(), &DeviceFactor::definition(), &Chain::definition(), include_str!("color.cu")].concat()
});

/// Number of threads in a block.
const BLOCK: u32 = 256;

/// Maximum number of pixels of a block, unless a view would then need more than `PARTS` blocks. In views of up to 2^30 pixels,
/// the sums of a block are below 2^32.
const PART: usize = 8192;
const PARTS: usize = 64;

/// Kind of a colour operation: none, one of [`crate::image::Factor`], posterize or solarize.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are documented there")]
pub enum FactorKind {
    None,
    Brightness,
    Contrast,
    Saturation,
    Hue,
    Shift,
    ColorContrast,
    HsvSaturation,
    Posterize,
    Solarize,
}

impl DeviceEnum for FactorKind {
    const NAMES: &'static [(Self, &'static str)] = &[
        (Self::None, "FACTOR_NONE"),
        (Self::Brightness, "FACTOR_BRIGHTNESS"),
        (Self::Contrast, "FACTOR_CONTRAST"),
        (Self::Saturation, "FACTOR_SATURATION"),
        (Self::Hue, "FACTOR_HUE"),
        (Self::Shift, "FACTOR_SHIFT"),
        (Self::ColorContrast, "FACTOR_COLOR_CONTRAST"),
        (Self::HsvSaturation, "FACTOR_HSV_SATURATION"),
        (Self::Posterize, "FACTOR_POSTERIZE"),
        (Self::Solarize, "FACTOR_SOLARIZE"),
    ];
}

/// A colour operation and its strength. If all fields are 0, there is no operation.
#[derive(Clone, Copy, Debug, Zeroable, Pod)]
#[repr(C)]
pub struct DeviceFactor {
    /// A [`FactorKind`].
    kind: i32,
    by: f32,
}

impl DeviceStruct for DeviceFactor {
    const NAME: &'static str = "Factor";
    const FIELDS: &'static [Field<Self>] = &[("kind", |own| &own.kind), ("by", |own| &own.by)];
}

impl DeviceFactor {
    /// Creates a factor of strength `by`. The angle of a hue rotation is given in turns, and stored as a byte: it is multiplied
    /// by 255, truncated and wrapped around.
    pub fn new(kind: FactorKind, by: f32) -> Self {
        let steps = f32::from((f64::from(by) * 255.0) as i32 as u8);
        Self { kind: int(kind.code()), by: if kind == FactorKind::Hue { steps } else { by } }
    }

    /// Returns whether the factor needs a mean.
    fn is_contrast(&self) -> bool {
        [FactorKind::Contrast, FactorKind::ColorContrast].iter().any(|kind| int(kind.code()) == self.kind)
    }
}

/// Up to four colour operations ("factors"), applied in order, and optionally a final conversion to grayscale.
#[derive(Clone, Copy, Debug, Zeroable, Pod)]
#[repr(C)]
pub struct Chain {
    factors: [DeviceFactor; 4],
    gray: i32,
}

impl DeviceStruct for Chain {
    const NAME: &'static str = "Chain";
    const FIELDS: &'static [Field<Self>] = &[("factors", |own| &own.factors), ("gray", |own| &own.gray)];
}

impl Chain {
    /// Combines the factors that are `Some`, followed by grayscale if `gray`.
    pub fn new(factors: [Option<DeviceFactor>; 4], gray: bool) -> Self {
        Self { factors: factors.map(|factor| factor.unwrap_or(DeviceFactor::zeroed())), gray: gray.into() }
    }

    fn has_contrast(&self) -> bool {
        self.factors.iter().any(DeviceFactor::is_contrast)
    }
}

/// Builder of a chain.
#[derive(Clone, Debug, Default)]
pub struct ChainBuilder {
    factors: Vec<DeviceFactor>,
    gray: bool,
}

impl ChainBuilder {
    /// Creates a builder of a chain that only converts to grayscale.
    pub fn of_gray() -> Self {
        Self { factors: vec![], gray: true }
    }

    /// Adds a factor if the chain has room for it; returns whether it was added. A chain has at most four factors, all before
    /// grayscale. At most one factor may need a mean.
    pub fn push(&mut self, factor: DeviceFactor) -> bool {
        let two = factor.is_contrast() && self.factors.iter().any(DeviceFactor::is_contrast);
        let fits = !self.gray && !two && self.factors.len() < 4;
        if fits {
            self.factors.push(factor);
        }
        fits
    }

    /// Adds grayscale at the end; returns false if the chain already had it.
    pub fn gray(&mut self) -> bool {
        !std::mem::replace(&mut self.gray, true)
    }

    /// Builds the chain that the kernel takes.
    pub fn build(self) -> Chain {
        let mut factors = [None; 4];
        factors.iter_mut().zip(self.factors).for_each(|(to, factor)| *to = Some(factor));
        Chain::new(factors, self.gray)
    }
}

/// Applies colour chains to views in place. Each entry of `chains` is the index of a view and the chain for this view. `views`
/// is `[view][colour][pixels]`.
pub fn jitter(views: At, pixels: usize, chains: &[(usize, Chain)], plan: &mut Plan) {
    if chains.is_empty() {
        return;
    }
    // Chains that need a mean come first.
    let (mut chains, others): (Vec<_>, Vec<_>) = chains.iter().partition(|(_, chain)| chain.has_contrast());
    let contrasts = chains.len();
    chains.extend(others);
    let rows: Vec<u32> = chains.iter().map(|&(row, _)| row as u32).collect();
    let chains: Vec<Chain> = chains.into_iter().map(|(_, chain)| chain).collect();
    let (rows, in_order) = (plan.put(&rows), plan.put(bytemuck::cast_slice(&chains)));
    let part = pixels.div_ceil(pixels.div_ceil(PART).clamp(1, PARTS)).next_multiple_of(4);
    let parts = pixels.div_ceil(part);
    let sums = plan.room.take(contrasts * parts * 3);
    let mut push = |name, views_of: usize, shared| {
        plan.launches.push(Launch {
            kernel: Arc::new(Kernel { name, source: &SOURCE, defines: vec![] }),
            grid: [count(parts), 1, count(views_of)],
            block: BLOCK,
            shared,
            args: vec![views.into(), rows.into(), in_order.into(), sums.into(), pixels.into(), part.into()],
        });
    };
    if contrasts > 0 {
        push("before_contrast", contrasts, 3 * 4 * BLOCK as usize);
    }
    push("jitter", chains.len(), 3 * 4);
    plan.room.give(sums);
}
