//! Colour jitter on CUDA.
use crate::kernels::cuda::{At, Kernel, Launch, Plan, count};
use std::sync::Arc;

/// Threads of a block, which has a view.
const BLOCK: u32 = 512;

/// What changes a pixel's colours, as `color.cu` numbers it, and by how much.
#[derive(Clone, Copy, Debug, Default)]
pub struct Factor {
    /// 0: nothing.
    pub kind: u32,
    /// How much.
    pub by: f32,
}

/// Up to four factors in their order, and whether the view is gray in the end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Chain {
    /// In their order.
    pub factors: [Factor; 4],
    /// Luma alone.
    pub gray: bool,
}

/// Of the views named, `[view][colour][pixels]`.
pub fn jitter(views: At, pixels: usize, chains: &[(usize, Chain)], plan: &mut Plan) {
    if chains.is_empty() {
        return;
    }
    let words = chains.iter().flat_map(|(_, chain)| {
        let factors = chain.factors.iter().flat_map(|factor| [factor.kind, factor.by.to_bits()]);
        factors.chain([u32::from(chain.gray)])
    });
    let words: Vec<u32> = words.collect();
    let rows: Vec<u32> = chains.iter().map(|&(row, _)| row as u32).collect();
    let (rows, chains_at) = (plan.put(&rows), plan.put(&words));
    plan.launches.push(Launch {
        kernel: Arc::new(Kernel { name: "jitter", source: include_str!("color.cu"), defines: vec![] }),
        grid: [1, 1, count(chains.len())],
        block: BLOCK,
        shared: 3 * 8 * BLOCK as usize,
        args: vec![views.into(), rows.into(), chains_at.into(), pixels.into()],
    });
}
