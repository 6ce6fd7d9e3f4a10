//! ResNet-18, 34, 50 and 101 (He et al. 2016) as torchvision has them, without the classifier: its names, its initialisation, its
//! stride in the 3x3 convolution of a bottleneck; with the stem of ImageNet, or that of CIFAR (3x3, no pooling).
//!
//! ```text
//! y = relu(bn(conv(... relu(bn(conv(x))))) + shortcut(x))        two convolutions a block, or three: 1x1, 3x3, 1x1
//! ```
use crate::error::{Error, Result};
use crate::kernels::training::pooling;
use crate::kernels::training::pooling::Window;
use crate::nn::{Array, ArrayRef, BatchNorm, Body, Conv2d, Engine, Kept, Layout, Normed, Pass};

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arch {
    /// Two convolutions a block, 2 2 2 2.
    ResNet18,
    /// Two convolutions a block, 3 4 6 3.
    ResNet34,
    /// Bottlenecks, 3 4 6 3.
    ResNet50,
    /// Bottlenecks, 3 4 23 3.
    ResNet101,
}

/// A backbone's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncoderSettings {
    /// Which of them.
    pub arch: Arch,
    /// 3x3 convolution of stride 1 and no pooling, instead of 7x7 of stride 2 and pooling.
    pub small_stem: bool,
    /// The last norm of each block begins at gamma = 0, so that a block begins as its shortcut (Goyal et al. 2017).
    pub zero_init_residual: bool,
}

impl Arch {
    const ALL: [Self; 4] = [Self::ResNet18, Self::ResNet34, Self::ResNet50, Self::ResNet101];

    /// torchvision's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::ResNet18 => "resnet18",
            Self::ResNet34 => "resnet34",
            Self::ResNet50 => "resnet50",
            Self::ResNet101 => "resnet101",
        }
    }

    /// By that name.
    ///
    /// # Errors
    /// There is none.
    pub fn named(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|arch| arch.name() == name).ok_or_else(|| {
            let known = Self::ALL.map(|arch| format!("{:?}", arch.name())).join(", ");
            Error::value("arch", format!("{name:?}"), format!("there are {known}"))
        })
    }

    fn blocks(self) -> [usize; 4] {
        match self {
            Self::ResNet18 => [2, 2, 2, 2],
            Self::ResNet34 | Self::ResNet50 => [3, 4, 6, 3],
            Self::ResNet101 => [3, 4, 23, 3],
        }
    }

    fn is_bottleneck(self) -> bool {
        matches!(self, Self::ResNet50 | Self::ResNet101)
    }

    /// Numbers of a feature.
    pub fn features(self) -> usize {
        if self.is_bottleneck() { 2048 } else { 512 }
    }
}

/// A convolution and its norm.
struct Unit {
    conv: Conv2d,
    norm: BatchNorm,
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

/// The body of this ResNet, its tensors added to `layout`: images `[n, height, width, 3]` to features `[n, features]`.
pub fn resnet(layout: &mut Layout, engine: Engine, settings: EncoderSettings) -> impl Body + use<> {
    let EncoderSettings { arch, small_stem, zero_init_residual } = settings;
    let (kernel, stride) = if small_stem { (3, 1) } else { (7, 2) };
    let stem = Unit {
        conv: Conv2d::new(layout, "conv1", (3, 64), kernel, stride),
        norm: BatchNorm::new(layout, "bn1", 64, true, 1.0),
    };
    let (mut inputs, mut blocks) = (64, vec![]);
    for (stage, &count) in arch.blocks().iter().enumerate() {
        let width = 64 << stage;
        for n in 0..count {
            let stride = if stage > 0 && n == 0 { 2 } else { 1 };
            let gamma = if zero_init_residual { 0.0 } else { 1.0 };
            let block = layout.within(&format!("layer{}", stage + 1), |layout| {
                layout.within(&n.to_string(), |layout| Block::new(layout, (inputs, width), arch, stride, gamma))
            });
            blocks.push(block);
            inputs = if arch.is_bottleneck() { 4 * width } else { width };
        }
    }
    ResNet { engine, stem, pools: !small_stem, blocks }
}

impl Block {
    fn new(layout: &mut Layout, (inputs, width): (usize, usize), arch: Arch, stride: usize, gamma: f32) -> Self {
        let outputs = if arch.is_bottleneck() { 4 * width } else { width };
        // Inputs, outputs, kernel, stride of each.
        let convs = match arch.is_bottleneck() {
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

/// What a unit keeps: the convolution's output, and the norm's. Its input is the output of what is before it.
struct KeptUnit {
    conv: Array,
    normed: Normed,
}

struct KeptBlock {
    units: Vec<KeptUnit>,
    shortcut: Option<KeptUnit>,
}

struct KeptNet {
    stem: KeptUnit,
    /// The pooled map, and which number of each window it is.
    pooled: Option<(Array, Vec<u8>)>,
    blocks: Vec<KeptBlock>,
}

impl KeptBlock {
    fn y(&self) -> &Array {
        &self.units[self.units.len() - 1].normed.y
    }
}

impl Unit {
    fn forward(&self, engine: Engine, pass: &mut Pass, x: ArrayRef, residual: Option<&Array>) -> KeptUnit {
        let conv = self.conv.forward(engine, pass.params, x);
        let normed = self.norm.forward(engine, (pass.params, pass.buffers), &conv, residual, pass.mode);
        KeptUnit { conv: if pass.keep { conv } else { Array::zeros([0; 4]) }, normed }
    }

    /// The gradient of the input, if it is wanted, and of the residual, if there was one. The unit's arrays are let go.
    fn backward(
        &self,
        engine: Engine,
        (params, gradient): (&[f32], &mut [f32]),
        (x, kept): (ArrayRef, KeptUnit),
        dy: Array,
        (residual, wants_input): (bool, bool),
    ) -> (Option<Array>, Option<Array>) {
        let KeptUnit { conv, normed } = kept;
        let (dconv, dresidual) = self.norm.backward(engine, (params, gradient), &conv, &normed, &dy, residual);
        drop((conv, normed, dy));
        self.conv.weight_gradient(engine, x, &dconv, gradient);
        let dx = wants_input.then(|| self.conv.input_gradient(engine, params, x.shape, &dconv));
        (dx, dresidual)
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
        // No ReLU follows a shortcut's norm: its gradient does not ask for its output.
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

/// The stem's max-pooling.
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
