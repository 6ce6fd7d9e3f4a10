//! VGG-11 with batch norm (Simonyan and Zisserman 2015; torchvision's `vgg11_bn`) without the classifier. The 512 features are
//! the mean over the pixels of the last map. Names, initialization and the convolutions' biases are as in
//! torchvision.
//!
//! ```text
//! x = max_pool(relu(bn(conv(x))) ...)                one or two 3x3 convolutions per stage, then 2x2 windows
//! ```
use super::Backbone;
use super::unit::{KeptUnit, Unit};
use crate::error::Result;
use crate::kernels::training::pooling;
use crate::kernels::training::pooling::Window;
use crate::nn::{Array, ArrayRef, BatchNorm, Body, Conv2d, Engine, Kept, Layout, Pass};
use crate::parts::own;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;

/// Number of output channels of each convolution, stage by stage.
const STAGES: [&[usize]; 5] = [&[64], &[128], &[256, 256], &[512, 512], &[512, 512]];

/// The settings of VGG-11; there are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct VggSettings {}

struct Plan(VggSettings);

pub(super) fn read(name: &'static str, settings: Value) -> Result<Box<dyn Backbone>> {
    Ok(Box::new(Plan(own(name, settings)?)))
}

impl Backbone for Plan {
    fn features(&self) -> usize {
        512
    }

    fn stem_stride(&self) -> usize {
        1
    }

    fn least_side(&self) -> usize {
        1 << STAGES.len()
    }

    fn settings(&self) -> Value {
        json!(self.0)
    }

    fn body(&self, layout: &mut Layout, engine: Engine) -> Arc<dyn Body> {
        Arc::new(Vgg::new(layout, engine))
    }
}

struct Vgg {
    engine: Engine,
    stages: Vec<Vec<Unit>>,
}

/// The values that a stage keeps for the backward pass: the values that its units keep, the pooled map, and the index of each
/// maximum within its window.
struct KeptStage {
    units: Vec<KeptUnit>,
    pooled: Array,
    which: Vec<u8>,
}

impl Vgg {
    fn new(layout: &mut Layout, engine: Engine) -> Self {
        let (mut inputs, mut at) = (3, 0);
        let stages = layout.within("features", |layout| {
            let mut stage = |widths: &&[usize]| {
                let units = widths.iter().map(|&width| {
                    let conv = Conv2d::biased(layout, &at.to_string(), (inputs, width), 3);
                    let norm = BatchNorm::new(layout, &(at + 1).to_string(), width, true, 1.0);
                    // torchvision counts the ReLU too.
                    (inputs, at) = (width, at + 3);
                    Unit { conv, norm }
                });
                let units = units.collect::<Vec<_>>();
                // And the pooling.
                at += 1;
                units
            };
            STAGES.iter().map(&mut stage).collect()
        });
        Self { engine, stages }
    }
}

fn window(x: &Array) -> Window {
    Window { size: (x.shape[1], x.shape[2]), channels: x.channels(), kernel: 2, stride: 2, padding: 0 }
}

impl Body for Vgg {
    fn forward(&self, pass: &mut Pass, x: ArrayRef) -> (Array, Option<Kept>) {
        let engine = self.engine;
        let mut stages: Vec<KeptStage> = vec![];
        for stage in &self.stages {
            let before = stages.last().map_or(x, |stage| stage.pooled.borrowed());
            let mut units: Vec<KeptUnit> = vec![];
            for unit in stage {
                let input = units.last().map_or(before, |unit| unit.normed.y.borrowed());
                units.push(unit.forward(engine, pass, input, None));
            }
            let y = &units[units.len() - 1].normed.y;
            let window = window(y);
            let (rows, columns) = window.output_size();
            let mut pooled = Array::zeros([x.shape[0], rows, columns, window.channels]);
            let mut which = vec![0; pooled.numbers.len()];
            pooling::max_pool(engine.isa, engine.threads, &window, &y.numbers, &mut pooled.numbers, &mut which);
            if !pass.keep {
                stages.clear();
                units.clear();
            }
            stages.push(KeptStage { units, pooled, which });
        }
        let last = &stages[stages.len() - 1].pooled;
        let size = (last.pixels(), last.channels());
        let mut features = Array::zeros([x.shape[0], 1, 1, size.1]);
        pooling::average_pool(engine.isa, engine.threads, size, &last.numbers, &mut features.numbers);
        (features, pass.keep.then(|| Box::new(stages) as Kept))
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
        let mut stages = *kept.downcast::<Vec<KeptStage>>().ok()?;
        let mut d = Array::zeros(stages.last()?.pooled.shape);
        let size = (d.pixels(), d.channels());
        pooling::average_pool_gradient(engine.threads, size, &dy.numbers, &mut d.numbers);
        for (n, stage) in self.stages.iter().enumerate().rev() {
            let KeptStage { mut units, which, .. } = stages.pop()?;
            let mut before = Array::zeros(units.last()?.normed.y.shape);
            let window = window(&before);
            pooling::max_pool_gradient(engine.isa, engine.threads, &window, &which, &d.numbers, &mut before.numbers);
            d = before;
            for (m, unit) in stage.iter().enumerate().rev() {
                let kept = units.pop()?;
                let input = stages.last().map_or(x, |stage| stage.pooled.borrowed());
                let input = units.last().map_or(input, |unit| unit.normed.y.borrowed());
                let wants = wants_input || n > 0 || m > 0;
                let (dx, _) = unit.backward(engine, (params, gradient), (input, kept), d, (false, wants));
                d = dx?;
            }
        }
        Some(d)
    }
}
