//! Colour jitter on CUDA.
use crate::kernels::cuda::{At, Kernel, Launch, Plan, count};
use std::sync::Arc;

const SOURCE: &str = include_str!("color.cu");

/// Threads of a block.
const BLOCK: u32 = 256;

/// Pixels of a block, and how many blocks share a view at most: of 2^30 pixels, whose sums of a part then are below 2^32.
const PART: usize = 8192;
const PARTS: usize = 64;

/// What changes a pixel's colours: the kinds of [`crate::image::Factor`], as `color.cu` numbers them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are documented there")]
pub enum FactorKind {
    #[default]
    None,
    Brightness,
    Contrast,
    Saturation,
    Hue,
    Shift,
    ColorContrast,
    HsvSaturation,
}

/// What changes a pixel's colours, and by how much.
#[derive(Clone, Copy, Debug, Default)]
pub struct DeviceFactor {
    /// What.
    pub kind: FactorKind,
    /// How much.
    pub by: f32,
}

/// Up to four factors in their order, and whether the view is gray in the end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Chain {
    /// In their order.
    pub factors: [DeviceFactor; 4],
    /// Luma alone.
    pub gray: bool,
}

impl Chain {
    fn has_contrast(&self) -> bool {
        self.factors.iter().any(|factor| matches!(factor.kind, FactorKind::Contrast | FactorKind::ColorContrast))
    }

    /// As `color.cu` has it. A hue turns by whole steps, truncated, and wrapped around.
    fn words(&self) -> impl Iterator<Item = u32> {
        let factors = self.factors.into_iter().flat_map(|DeviceFactor { kind, by }| {
            let steps = f32::from((f64::from(by) * 255.0) as i32 as u8);
            [kind as u32, if kind == FactorKind::Hue { steps } else { by }.to_bits()]
        });
        factors.chain([u32::from(self.gray)])
    }
}

/// Of the views named, `[view][colour][pixels]`.
pub fn jitter(views: At, pixels: usize, chains: &[(usize, Chain)], plan: &mut Plan) {
    if chains.is_empty() {
        return;
    }
    // Those that need a mean come first.
    let (mut chains, others): (Vec<_>, Vec<_>) = chains.iter().partition(|(_, chain)| chain.has_contrast());
    let contrasts = chains.len();
    chains.extend(others);
    let rows: Vec<u32> = chains.iter().map(|&(row, _)| row as u32).collect();
    let words: Vec<u32> = chains.iter().flat_map(|(_, chain)| chain.words()).collect();
    let (rows, words) = (plan.put(&rows), plan.put(&words));
    let part = pixels.div_ceil(pixels.div_ceil(PART).clamp(1, PARTS)).next_multiple_of(4);
    let parts = pixels.div_ceil(part);
    let sums = plan.room.take(contrasts * parts * 3);
    let mut push = |name, views_of: usize, shared| {
        plan.launches.push(Launch {
            kernel: Arc::new(Kernel { name, source: SOURCE, defines: vec![] }),
            grid: [count(parts), 1, count(views_of)],
            block: BLOCK,
            shared,
            args: vec![views.into(), rows.into(), words.into(), sums.into(), pixels.into(), part.into()],
        });
    };
    if contrasts > 0 {
        push("before_contrast", contrasts, 3 * 4 * BLOCK as usize);
    }
    push("jitter", chains.len(), 3 * 4);
    plan.room.give(sums);
}
