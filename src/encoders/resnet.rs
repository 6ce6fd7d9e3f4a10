//! torchvision's ResNet-18, 34, 50 and 101 (He et al. 2016) without the classifier. Names and initialization are torchvision's,
//! and a bottleneck has its stride in the 3x3 convolution. The stem is either torchvision's, for ImageNet, or a 3x3 convolution
//! without pooling, for CIFAR. The features are the mean over the pixels of the last map.
//!
//! ```text
//! y = relu(bn(conv(... relu(bn(conv(x))))) + shortcut(x))        two convolutions per block, or three: 1x1, 3x3, 1x1
//! ```
use super::Backbone;
use super::unit::{KeptUnit, Unit};
use crate::error::{Error, Result};
use crate::kernels::training::pooling;
use crate::kernels::training::pooling::Window;
use crate::nn::{Array, ArrayRef, BatchNorm, Body, Conv2d, Engine, Kept, Layout, Pass};
use crate::parts::own;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;

/// An architecture of the family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Arch {
    /// torchvision's name.
    name: &'static str,
    /// Number of blocks in each stage.
    blocks: [usize; 4],
    /// Whether a block has three convolutions rather than two.
    bottleneck: bool,
}

const ARCHS: [Arch; 4] = [
    Arch { name: "resnet18", blocks: [2, 2, 2, 2], bottleneck: false },
    Arch { name: "resnet34", blocks: [3, 4, 6, 3], bottleneck: false },
    Arch { name: "resnet50", blocks: [3, 4, 6, 3], bottleneck: true },
    Arch { name: "resnet101", blocks: [3, 4, 23, 3], bottleneck: true },
];

/// The settings of a ResNet; the defaults are torchvision's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ResNetSettings {
    /// Whether the stem is a 3x3 convolution of stride 1 without pooling, instead of a 7x7 convolution of stride 2 with
    /// pooling.
    small_stem: bool,
    /// Whether gamma of the last norm of each block is initialized to 0. The convolutions of a block then initially add nothing
    /// to its shortcut (Goyal et al. 2017).
    zero_init_residual: bool,
    /// Factor by which all channel counts are multiplied. It is 1, 2 or 4 in SimCLR (Chen et al. 2020, section 6). Values below
    /// 1 are for small images and short runs.
    width: f64,
}

impl Default for ResNetSettings {
    fn default() -> Self {
        Self { small_stem: false, zero_init_residual: false, width: 1.0 }
    }
}

/// The specification of a ResNet: an architecture with its settings.
struct Plan {
    arch: Arch,
    settings: ResNetSettings,
}

/// Reads the settings of the ResNet with this name.
pub(super) fn read(name: &'static str, settings: Value) -> Result<Box<dyn Backbone>> {
    let arch = ARCHS.into_iter().find(|arch| arch.name == name).expect("a row of this file's names");
    let settings: ResNetSettings = own(name, settings)?;
    let eighths = 8.0 * settings.width;
    if eighths.fract() != 0.0 || !(1.0..=64.0).contains(&eighths) {
        return Err(Error::value(
            "width",
            settings.width,
            "must be a multiple of 1/8 from 1/8 to 8, so that channels come in eights",
        ));
    }
    Ok(Box::new(Plan { arch, settings }))
}

impl Plan {
    /// Number of channels of the stem and of the 3x3 convolutions in the first stage. Each further stage doubles this number.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "8 to 512, a whole number: `read` checks"
    )]
    fn channels(&self) -> usize {
        (64.0 * self.settings.width) as usize
    }
}

impl Backbone for Plan {
    fn features(&self) -> usize {
        if self.arch.bottleneck { 32 * self.channels() } else { 8 * self.channels() }
    }

    fn stem_stride(&self) -> usize {
        if self.settings.small_stem { 1 } else { 4 }
    }

    fn settings(&self) -> Value {
        json!(self.settings)
    }

    fn body(&self, layout: &mut Layout, engine: Engine) -> Arc<dyn Body> {
        Arc::new(ResNet::new(layout, engine, self))
    }
}

struct Block {
    units: Vec<Unit>,
    shortcut: Option<Unit>,
}

struct ResNet {
    engine: Engine,
    stem: Unit,
    pools: bool,
    blocks: Vec<Block>,
}

impl ResNet {
    fn new(layout: &mut Layout, engine: Engine, plan: &Plan) -> Self {
        let &Plan { arch, settings: ResNetSettings { small_stem, zero_init_residual, .. } } = plan;
        let channels = plan.channels();
        let (kernel, stride) = if small_stem { (3, 1) } else { (7, 2) };
        let stem = Unit {
            conv: Conv2d::new(layout, "conv1", (3, channels), kernel, stride),
            norm: BatchNorm::new(layout, "bn1", channels, true, 1.0),
        };
        let (mut inputs, mut blocks) = (channels, vec![]);
        for (stage, &count) in arch.blocks.iter().enumerate() {
            let width = channels << stage;
            for n in 0..count {
                let stride = if stage > 0 && n == 0 { 2 } else { 1 };
                let gamma = if zero_init_residual { 0.0 } else { 1.0 };
                let block = layout.within(&format!("layer{}", stage + 1), |layout| {
                    layout.within(&n.to_string(), |layout| Block::new(layout, (inputs, width), arch, stride, gamma))
                });
                blocks.push(block);
                inputs = if arch.bottleneck { 4 * width } else { width };
            }
        }
        Self { engine, stem, pools: !small_stem, blocks }
    }
}

impl Block {
    fn new(layout: &mut Layout, (inputs, width): (usize, usize), arch: Arch, stride: usize, gamma: f32) -> Self {
        let outputs = if arch.bottleneck { 4 * width } else { width };
        // Inputs, outputs, kernel and stride of each convolution.
        let convs = match arch.bottleneck {
            true => vec![(inputs, width, 1, 1), (width, width, 3, stride), (width, outputs, 1, 1)],
            false => vec![(inputs, width, 3, stride), (width, outputs, 3, 1)],
        };
        let last = convs.len() - 1;
        let units = convs.into_iter().enumerate().map(|(n, (inputs, outputs, kernel, stride))| Unit {
            conv: Conv2d::new(layout, &format!("conv{}", n + 1), (inputs, outputs), kernel, stride),
            norm: BatchNorm::new(layout, &format!("bn{}", n + 1), outputs, true, if n == last { gamma } else { 1.0 }),
        });
        let units = units.collect();
        let shortcut = (stride != 1 || inputs != outputs).then(|| {
            layout.within("downsample", |layout| Unit {
                conv: Conv2d::new(layout, "0", (inputs, outputs), 1, stride),
                norm: BatchNorm::new(layout, "1", outputs, false, 1.0),
            })
        });
        Self { units, shortcut }
    }
}

struct KeptBlock {
    units: Vec<KeptUnit>,
    shortcut: Option<KeptUnit>,
}

struct KeptNet {
    stem: KeptUnit,
    /// The pooled map, and the index of each maximum within its window.
    pooled: Option<(Array, Vec<u8>)>,
    blocks: Vec<KeptBlock>,
}

impl KeptBlock {
    fn y(&self) -> &Array {
        &self.units[self.units.len() - 1].normed.y
    }
}

impl Block {
    fn forward(&self, engine: Engine, pass: &mut Pass, x: &Array) -> KeptBlock {
        let shortcut = self.shortcut.as_ref().map(|unit| unit.forward(engine, pass, x.borrowed(), None));
        let mut units: Vec<KeptUnit> = vec![];
        for (n, unit) in self.units.iter().enumerate() {
            let residual = (n + 1 == self.units.len()).then(|| shortcut.as_ref().map_or(x, |unit| &unit.normed.y));
            let input = units.last().map_or(x, |unit| &unit.normed.y);
            let made = unit.forward(engine, pass, input.borrowed(), residual);
            if !pass.keep {
                units.clear();
            }
            units.push(made);
        }
        // No ReLU follows a shortcut's norm, so its gradient does not need its output.
        let shortcut = shortcut.filter(|_| pass.keep).map(|mut unit| {
            unit.normed.y = Array::zeros([0; 4]);
            unit
        });
        KeptBlock { units, shortcut }
    }

    fn backward(
        &self,
        engine: Engine,
        (params, gradient): (&[f32], &mut [f32]),
        (x, kept): (&Array, KeptBlock),
        dy: Array,
    ) -> Array {
        let KeptBlock { mut units, shortcut } = kept;
        let (mut dy, mut dresidual) = (dy, None);
        for (n, unit) in self.units.iter().enumerate().rev() {
            let Some(kept) = units.pop() else { break };
            let input = units.last().map_or(x, |unit| &unit.normed.y);
            let is_last = n + 1 == self.units.len();
            let (dx, residual) =
                unit.backward(engine, (params, gradient), (input.borrowed(), kept), dy, (is_last, true));
            dy = dx.unwrap_or_else(|| Array::zeros([0; 4]));
            dresidual = residual.or(dresidual);
        }
        if let (Some(unit), Some(kept), Some(dresidual)) =
            (&self.shortcut, shortcut, dresidual.take_if(|_| self.shortcut.is_some()))
        {
            let (dx, _) = unit.backward(engine, (params, gradient), (x.borrowed(), kept), dresidual, (false, true));
            dx.iter().for_each(|dx| dy.add(engine, dx));
        }
        dresidual.iter().for_each(|dresidual| dy.add(engine, dresidual));
        dy
    }
}

/// The window of the stem's max pooling, for this input.
fn window(x: &Array) -> Window {
    Window { size: (x.shape[1], x.shape[2]), channels: x.channels(), kernel: 3, stride: 2, padding: 1 }
}

impl Body for ResNet {
    fn forward(&self, pass: &mut Pass, x: ArrayRef) -> (Array, Option<Kept>) {
        let engine = self.engine;
        let stem = self.stem.forward(engine, pass, x, None);
        let pooled = self.pools.then(|| {
            let window = window(&stem.normed.y);
            let (rows, columns) = window.output_size();
            let mut out = Array::zeros([x.shape[0], rows, columns, window.channels]);
            let mut which = vec![0; out.numbers.len()];
            pooling::max_pool(
                engine.isa,
                engine.threads,
                &window,
                &stem.normed.y.numbers,
                &mut out.numbers,
                &mut which,
            );
            (out, which)
        });
        let mut blocks: Vec<KeptBlock> = vec![];
        for block in &self.blocks {
            let first = pooled.as_ref().map_or(&stem.normed.y, |(pooled, _)| pooled);
            let made = block.forward(engine, pass, blocks.last().map_or(first, KeptBlock::y));
            if !pass.keep {
                blocks.clear();
            }
            blocks.push(made);
        }
        let last = blocks.last().map_or(&stem.normed.y, KeptBlock::y);
        let size = (last.pixels(), last.channels());
        let mut features = Array::zeros([x.shape[0], 1, 1, size.1]);
        pooling::average_pool(engine.isa, engine.threads, size, &last.numbers, &mut features.numbers);
        let kept = pass.keep.then(|| Box::new(KeptNet { stem, pooled, blocks }) as Kept);
        (features, kept)
    }

    fn backward(
        &self,
        params: &[f32],
        kept: Kept,
        x: ArrayRef,
        dy: Array,
        gradient: &mut [f32],
        wants_input: bool,
    ) -> Option<Array> {
        let engine = self.engine;
        let KeptNet { stem, mut pooled, mut blocks } = *kept.downcast::<KeptNet>().ok()?;
        let mut d = Array::zeros(blocks.last()?.y().shape);
        let size = (d.pixels(), d.channels());
        pooling::average_pool_gradient(engine.threads, size, &dy.numbers, &mut d.numbers);
        for block in self.blocks.iter().rev() {
            let kept = blocks.pop()?;
            let first = pooled.as_ref().map_or(&stem.normed.y, |(pooled, _)| pooled);
            let input = blocks.last().map_or(first, KeptBlock::y);
            d = block.backward(engine, (params, gradient), (input, kept), d);
        }
        if let Some((_, which)) = pooled.take() {
            let mut before = Array::zeros(stem.normed.y.shape);
            let window = window(&before);
            pooling::max_pool_gradient(engine.isa, engine.threads, &window, &which, &d.numbers, &mut before.numbers);
            d = before;
        }
        let (dx, _) = self.stem.backward(engine, (params, gradient), (x, stem), d, (false, wants_input));
        dx
    }
}
