//! MoCo v2 (He et al. 2020, arXiv 1911.05722; Chen et al. 2020, arXiv 2003.04297; facebookresearch/moco).
//!
//! ```text
//! k network = m k network + (1 - m) q network
//! q = f_q(left), k = f_k(right)                      normalized, k without a gradient
//! loss = -log exp(q k / T) / (exp(q k / T) + sum over the queue of exp(q k' / T))
//! the queue takes k in, and lets its oldest go
//! ```
//!
//! On several devices MoCo shuffles keys among them, so that norms do not tell which key belongs to which query. On one device the
//! batch is split for the norms, and keys are shuffled among the parts (MoCo's Colab notebook).
use super::{Forward, Method, MethodState, backbone, head, info_nce, normalized};
use crate::encoders::EncoderSettings;
use crate::error::{Error, Result};
use crate::nn::{Engine, Hidden, Mode, Network};
use crate::optim::{ema, whole};
use crate::random::{Generator, Key};
use candle_core::{Device, Tensor};
use rand::seq::SliceRandom;

/// The settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MocoSettings {
    /// Numbers of a key; 128.
    pub dim: usize,
    /// Keys in the queue; 65,536.
    pub queue: usize,
    /// T; 0.2.
    pub temperature: f64,
    /// Parts of the batch for the norms; 8 as there are devices.
    pub splits: usize,
    /// Whether each view is the query once.
    pub symmetric: bool,
    /// Two layers with a ReLU between them (v2), or one (v1, and MoCo's CIFAR notebook).
    pub mlp: bool,
}

/// The method.
pub struct Moco {
    settings: MocoSettings,
    /// Backbone, projector.
    query: [Network; 2],
    key: [Network; 2],
    /// `[queue][dim]`, oldest at `pointer`.
    queue: Vec<f32>,
    pointer: usize,
    seed: u64,
    steps: u64,
}

impl Moco {
    /// With parameters as they begin.
    ///
    /// # Errors
    /// MocoSettings that cannot be.
    pub fn new(
        engine: Engine,
        encoder: EncoderSettings,
        settings: MocoSettings,
        seed: u64,
        generator: &mut Generator,
    ) -> Result<Self> {
        let MocoSettings { dim, queue, temperature, splits, mlp, .. } = settings;
        if !(temperature > 0.0 && temperature.is_finite()) {
            return Err(Error::value("temperature", temperature, "a number above 0"));
        }
        for (name, n) in [("dim", dim), ("queue_size", queue), ("splits", splits)] {
            if n == 0 {
                return Err(Error::value(name, n, "at least 1"));
            }
        }
        let features = encoder.arch.features();
        let sizes = if mlp { vec![features, features, dim] } else { vec![features, dim] };
        let query =
            [backbone(engine, encoder, generator)?, head(engine, &sizes, Hidden::Relu, (false, true), generator)?];
        let key = [query[0].frozen()?, query[1].frozen()?];
        let mut keys: Vec<f32> = (0..queue * dim).map(|_| crate::nn::normal(generator) as f32).collect();
        for key in keys.chunks_exact_mut(dim) {
            let length = key.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-12);
            key.iter_mut().for_each(|x| *x /= length);
        }
        Ok(Self { settings, query, key, queue: keys, pointer: 0, seed, steps: 0 })
    }

    /// Features and queries.
    fn queries(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        let mode = Mode::Train { splits: self.settings.splits };
        let features = self.query[0].forward(x, mode)?;
        let queries = normalized(&self.query[1].forward(&features, mode)?)?;
        Ok((features, queries))
    }

    /// Keys of shuffled images, in the order of the images again.
    fn keys(&self, x: &Tensor, view: u64) -> Result<Tensor> {
        let mode = Mode::Train { splits: self.settings.splits };
        let n = x.dim(0)?;
        let mut order: Vec<u32> = (0..n as u32).collect();
        if self.settings.splits > 1 {
            let key = Key { seed: self.seed, epoch: self.steps, index: u64::MAX - 1, view };
            order.shuffle(&mut key.generator());
        }
        let mut back = vec![0; n];
        order.iter().enumerate().for_each(|(at, &image)| back[image as usize] = at as u32);
        let shuffled = x.index_select(&Tensor::from_vec(order, n, &Device::Cpu)?, 0)?;
        let k = self.key[1].forward(&self.key[0].forward(&shuffled, mode)?, mode)?;
        normalized(&k.index_select(&Tensor::from_vec(back, n, &Device::Cpu)?, 0)?.detach())
    }

    /// Takes keys in where the oldest are, of any number: from the queue's end it goes on at its beginning.
    fn enqueue(&mut self, keys: &Tensor) -> Result<()> {
        let dim = keys.dim(1)?;
        for key in keys.flatten_all()?.to_vec1::<f32>()?.chunks_exact(dim) {
            self.queue[self.pointer * dim..][..dim].copy_from_slice(key);
            self.pointer = (self.pointer + 1) % self.settings.queue;
        }
        Ok(())
    }
}

impl Method for Moco {
    fn check_batch(&self, batch: usize) -> Result<()> {
        let splits = self.settings.splits;
        if !batch.is_multiple_of(splits) || batch / splits < 2 {
            let remedy = format!("the batch of {batch} in parts of one size, of at least 2 images");
            return Err(Error::value("splits", splits, remedy));
        }
        Ok(())
    }

    fn forward(&mut self, left: &Tensor, right: &Tensor, m: f64) -> Result<Forward> {
        for (key, query) in self.key.iter().zip(&self.query) {
            let query = query.numbers()?;
            key.change(|key| ema(key, &query, m))?;
        }
        let MocoSettings { dim, queue, temperature, symmetric, .. } = self.settings;
        let negatives = Tensor::from_vec(self.queue.clone(), (queue, dim), &Device::Cpu)?;
        let ((features, projections), of_right) = (self.queries(left)?, self.keys(right, 1)?);
        let (mut loss, mut accuracy) = info_nce(&projections, &of_right, &negatives, temperature)?;
        if symmetric {
            let ((_, q), of_left) = (self.queries(right)?, self.keys(left, 0)?);
            let (other, second) = info_nce(&q, &of_left, &negatives, temperature)?;
            (loss, accuracy) = ((loss + other)?, (accuracy + second) / 2.0);
            self.enqueue(&of_left)?;
        }
        self.enqueue(&of_right)?;
        self.steps += 1;
        Ok(Forward { loss, features, projections, watched: vec![("queue_accuracy", accuracy)] })
    }

    fn learning(&self) -> Vec<(&'static str, &Network)> {
        vec![("backbone", &self.query[0]), ("projector", &self.query[1])]
    }

    fn following(&self) -> Vec<(&'static str, &Network)> {
        vec![("key_backbone", &self.key[0]), ("key_projector", &self.key[1])]
    }

    fn state(&self) -> Result<MethodState> {
        let MocoSettings { dim, queue, .. } = self.settings;
        // Steps in two numbers that float32 holds.
        let steps = [self.steps >> 20, self.steps & 0xF_FFFF].map(|x| x as f32);
        Ok(vec![
            ("queue".into(), vec![queue, dim], self.queue.clone()),
            ("queue_pointer".into(), vec![1], vec![self.pointer as f32]),
            ("steps".into(), vec![2], steps.to_vec()),
        ])
    }

    fn load_state(&mut self, state: &MethodState) -> Result<()> {
        let mine = self.state()?;
        let fits = mine.len() == state.len() && mine.iter().zip(state).all(|(a, b)| (&a.0, &a.1) == (&b.0, &b.1));
        if !fits {
            let names: Vec<_> = state.iter().map(|(name, shape, _)| format!("{name} {shape:?}")).collect();
            let remedy = format!("this run's queue is {:?}", mine[0].1);
            return Err(Error::value("state of MoCo", names.join(", "), remedy));
        }
        let pointer = whole("queue_pointer", state[1].2[0], self.settings.queue as u64)?;
        let (high, low) = (whole("steps", state[2].2[0], 1 << 24)?, whole("steps", state[2].2[1], 1 << 20)?);
        self.queue.copy_from_slice(&state[0].2);
        self.pointer = pointer as usize;
        self.steps = (high << 20) + low;
        Ok(())
    }
}
