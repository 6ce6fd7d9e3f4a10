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
use super::{Forward, Method, ViewPairs, backbone, head, info_nce, normalized};
use crate::encoders::EncoderSettings;
use crate::error::{Error, Result};
use crate::nn::{Engine, Hidden, Mode, Network, change};
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
    /// `[queue, dim]`, oldest at `pointer`.
    queue: Tensor,
    pointer: usize,
    /// Keys of the step that is being made.
    new: Vec<Tensor>,
    seed: u64,
    steps: u64,
}

impl Moco {
    /// With parameters as they begin.
    ///
    /// # Errors
    /// Settings that cannot be.
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
        let queue = Tensor::from_vec(keys, (queue, dim), &Device::Cpu)?;
        Ok(Self { settings, query, key, queue, pointer: 0, new: vec![], seed, steps: 0 })
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
        let keys = |x: &Tensor| self.key[1].forward(&self.key[0].forward(x, mode)?, mode);
        if self.settings.splits == 1 {
            return normalized(&keys(x)?.detach());
        }
        let n = x.dim(0)?;
        let mut order: Vec<u32> = (0..n as u32).collect();
        order.shuffle(&mut Key { seed: self.seed, epoch: self.steps, index: u64::MAX - 1, view }.generator());
        let mut back = vec![0; n];
        order.iter().enumerate().for_each(|(at, &image)| back[image as usize] = at as u32);
        let shuffled = x.index_select(&Tensor::from_vec(order, n, &Device::Cpu)?, 0)?;
        normalized(&keys(&shuffled)?.index_select(&Tensor::from_vec(back, n, &Device::Cpu)?, 0)?.detach())
    }

    /// Takes keys in where the oldest are, of any number: from the queue's end it goes on at its beginning.
    fn enqueue(&mut self, keys: &Tensor) -> Result<()> {
        let (dim, len) = (keys.dim(1)?, self.settings.queue);
        let (keys, pointer) = (keys.flatten_all()?.to_vec1::<f32>()?, &mut self.pointer);
        change(&self.queue, |queue| {
            for key in keys.chunks_exact(dim) {
                queue[*pointer * dim..][..dim].copy_from_slice(key);
                *pointer = (*pointer + 1) % len;
            }
        })
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

    fn forward(&mut self, views: &ViewPairs, m: f64) -> Result<Forward> {
        for (key, query) in self.key.iter().zip(&self.query) {
            query.read(|query| key.change(|key| ema(key, query, m)))??;
        }
        let MocoSettings { temperature, symmetric, .. } = self.settings;
        let (left, right) = (views.left()?, views.right()?);
        let ((features, projections), of_right) = (self.queries(&left)?, self.keys(&right, 1)?);
        let (mut loss, mut accuracy) = info_nce(&projections, &of_right, &self.queue, temperature)?;
        self.new.clear();
        if symmetric {
            let ((_, q), of_left) = (self.queries(&right)?, self.keys(&left, 0)?);
            let (other, second) = info_nce(&q, &of_left, &self.queue, temperature)?;
            (loss, accuracy) = ((loss + other)?, (accuracy + second) / 2.0);
            self.new.push(of_left);
        }
        self.new.push(of_right);
        Ok(Forward { loss, features, projections, watched: vec![("queue_accuracy", accuracy)] })
    }

    fn learning(&self) -> Vec<(&'static str, &Network)> {
        vec![("backbone", &self.query[0]), ("projector", &self.query[1])]
    }

    fn following(&self) -> Vec<(&'static str, &Network)> {
        vec![("key_backbone", &self.key[0]), ("key_projector", &self.key[1])]
    }

    /// The gradient reads the queue: keys go in once it is made.
    fn after_update(&mut self, _: f64) -> Result<()> {
        for keys in std::mem::take(&mut self.new) {
            self.enqueue(&keys)?;
        }
        self.steps += 1;
        Ok(())
    }

    fn entries(&self) -> Vec<(&'static str, Vec<usize>)> {
        let MocoSettings { dim, queue, .. } = self.settings;
        vec![("queue", vec![queue, dim]), ("queue_pointer", vec![1]), ("steps", vec![2])]
    }

    fn state(&self) -> Result<Vec<Vec<f32>>> {
        // Steps in two numbers that float32 holds.
        let steps = [self.steps >> 20, self.steps & 0xF_FFFF].map(|x| x as f32);
        Ok(vec![self.queue.flatten_all()?.to_vec1()?, vec![self.pointer as f32], steps.to_vec()])
    }

    fn load_state(&mut self, state: &[&[f32]]) -> Result<()> {
        let &[queue, &[pointer], &[high, low]] = state else { panic!("other values than `entries` tells") };
        let pointer = whole("queue_pointer", pointer, self.settings.queue as u64)?;
        let (high, low) = (whole("steps", high, 1 << 24)?, whole("steps", low, 1 << 20)?);
        change(&self.queue, |to| to.copy_from_slice(queue))?;
        self.pointer = pointer as usize;
        self.steps = (high << 20) + low;
        Ok(())
    }
}
