//! A step of SimCLR with candle's operations and with sassl's: `cargo bench --bench candle [BATCH] [SIDE] [THREADS]`.
//!
//! ResNet-18 with CIFAR's stem (candle cannot differentiate the max-pool of the ImageNet stem), a projector, NT-Xent and SGD;
//! candle's has no momentum, so its step does a little less. Medians of the steps after the first, in turns.
use candle_core::{D, DType, Device, Result, Tensor};
use candle_nn::{
    BatchNorm, Conv2d, Conv2dConfig, Linear, Module, ModuleT, Optimizer, SGD, VarBuilder, VarMap, batch_norm,
    conv2d_no_bias, linear_no_bias, loss::cross_entropy,
};
use sassl::train::{Batch, ChannelOrder, Config, OptimizerSettings, Rates, Trainer};
use serde::de::IgnoredAny;
use serde_json::json;
use std::time::Instant;

const STEPS: usize = 4;
const RATE: f64 = 0.05;
const TEMPERATURE: f64 = 0.1;

struct Norm(Conv2d, BatchNorm);

impl Norm {
    fn new(inputs: usize, outputs: usize, kernel: usize, stride: usize, vb: VarBuilder) -> Result<Self> {
        let config = Conv2dConfig { padding: kernel / 2, stride, ..Default::default() };
        let conv = conv2d_no_bias(inputs, outputs, kernel, config, vb.pp("conv"))?;
        Ok(Self(conv, batch_norm(outputs, 1e-5, vb.pp("bn"))?))
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.1.forward_t(&self.0.forward(x)?, true)
    }
}

struct Block {
    first: Norm,
    second: Norm,
    shortcut: Option<Norm>,
}

impl Block {
    fn new(inputs: usize, outputs: usize, stride: usize, vb: VarBuilder) -> Result<Self> {
        let shortcut = (stride > 1).then(|| Norm::new(inputs, outputs, 1, stride, vb.pp("shortcut"))).transpose()?;
        let first = Norm::new(inputs, outputs, 3, stride, vb.pp("first"))?;
        Ok(Self { first, second: Norm::new(outputs, outputs, 3, 1, vb.pp("second"))?, shortcut })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = self.second.forward(&self.first.forward(x)?.relu()?)?;
        let shortcut = self.shortcut.as_ref().map_or_else(|| Ok(x.clone()), |norm| norm.forward(x))?;
        (y + shortcut)?.relu()
    }
}

/// SimCLR as a user of candle would write it.
struct Candle {
    stem: Norm,
    blocks: Vec<Block>,
    projector: (Linear, BatchNorm, Linear, BatchNorm),
    optimizer: SGD,
}

impl Candle {
    fn new() -> Result<Self> {
        let map = VarMap::new();
        let vb = VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu);
        let stem = Norm::new(3, 64, 3, 1, vb.pp("stem"))?;
        let mut blocks = Vec::new();
        for (n, outputs) in [64, 64, 128, 128, 256, 256, 512, 512].into_iter().enumerate() {
            let stride = if n > 1 && n % 2 == 0 { 2 } else { 1 };
            blocks.push(Block::new(outputs / stride, outputs, stride, vb.pp(n))?);
        }
        let projector = (
            linear_no_bias(512, 2048, vb.pp("hidden"))?,
            batch_norm(2048, 1e-5, vb.pp("hidden.bn"))?,
            linear_no_bias(2048, 128, vb.pp("last"))?,
            batch_norm(128, 1e-5, vb.pp("last.bn"))?,
        );
        Ok(Self { stem, blocks, projector, optimizer: SGD::new(map.all_vars(), RATE)? })
    }

    fn step(&mut self, left: &Tensor, right: &Tensor) -> Result<f32> {
        let mut x = self.stem.forward(&Tensor::cat(&[left, right], 0)?)?.relu()?;
        for block in &self.blocks {
            x = block.forward(&x)?;
        }
        let (hidden, hidden_norm, last, last_norm) = &self.projector;
        let x = x.mean(D::Minus1)?.mean(D::Minus1)?;
        let x = hidden_norm.forward_t(&hidden.forward(&x)?, true)?.relu()?;
        let x = last_norm.forward_t(&last.forward(&x)?, true)?;
        let z = x.broadcast_div(&x.sqr()?.sum_keepdim(1)?.sqrt()?)?;
        let n = z.dim(0)?;
        let logits = ((z.matmul(&z.t()?)? / TEMPERATURE)? - (Tensor::eye(n, DType::F32, &Device::Cpu)? * 1e9)?)?;
        let other: Vec<u32> = (0..n).map(|i| ((i + n / 2) % n) as u32).collect();
        let loss = cross_entropy(&logits, &Tensor::new(other, &Device::Cpu)?)?;
        self.optimizer.backward_step(&loss)?;
        loss.to_scalar()
    }
}

fn sassls(threads: usize) -> Trainer {
    let config = Config {
        method: json!({"name": "simclr", "dim": 128, "hidden_dim": 2048, "layers": 2, "temperature": TEMPERATURE, "splits": 1}),
        backbone: json!({"name": "resnet18", "small_stem": true}),
        optimizer: OptimizerSettings::Sgd {
            momentum: 0.9,
            nesterov: false,
            weight_decay: 1e-4,
            exclude_bias_and_norm: false,
        },
        seed: 0,
        data: IgnoredAny,
        schedule: IgnoredAny,
        init: IgnoredAny,
    };
    Trainer::new(config, threads).expect("a trainer")
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

fn main() -> Result<()> {
    let given: Vec<usize> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let [batch, side, threads] = [(0, 64), (1, 32), (2, 2)].map(|(n, usual)| given.get(n).copied().unwrap_or(usual));
    // SAFETY: no other thread is running yet.
    #[allow(unsafe_code)]
    unsafe {
        std::env::set_var("RAYON_NUM_THREADS", threads.to_string());
    }
    let views = [1.0, 2.0].map(|_| Tensor::rand(0f32, 1f32, (batch, side, side, 3), &Device::Cpu).expect("views"));
    let numbers = [0, 1].map(|n| views[n].flatten_all().and_then(|view| view.to_vec1::<f32>()).expect("views"));
    let [left, right] =
        [0, 1].map(|n| Batch { shape: [batch, side, side, 3], numbers: &numbers[n], order: ChannelOrder::Last });
    let nchw = [0, 1].map(|n| views[n].permute((0, 3, 1, 2)).and_then(|view| view.contiguous()).expect("views"));
    let (mut candle, mut sassl) = (Candle::new()?, sassls(threads));
    let (mut candles, mut ours) = (Vec::new(), Vec::new());
    for step in 0..=STEPS {
        let start = Instant::now();
        let theirs = candle.step(&nchw[0], &nchw[1])?;
        let between = Instant::now();
        let report = sassl.train_step(left, right, Rates { lr: RATE, fixed_lr: RATE, momentum: 0.0 }).expect("a step");
        let end = Instant::now();
        println!("step {step}: losses {theirs:.4} (candle) and {:.4}", report.loss);
        if step > 0 {
            candles.push((between - start).as_secs_f64());
            ours.push((end - between).as_secs_f64());
        }
    }
    let (theirs, ours) = (median(candles), median(ours));
    println!(
        "resnet18, {side}x{side}, batch {batch}, {threads} threads: candle {theirs:.2} s, sassl {ours:.2} s, {:.1}x",
        theirs / ours
    );
    Ok(())
}
