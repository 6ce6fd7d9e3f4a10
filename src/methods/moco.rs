//! MoCo v2 (He et al. 2020, arXiv 1911.05722; Chen et al. 2020, arXiv 2003.04297; facebookresearch/moco).
//!
//! ```text
//! k network = m k network + (1 - m) q network
//! q = f_q(left), k = f_k(right)                      normalized, k without a gradient
//! loss = -log exp(q k / T) / (exp(q k / T) + sum over the queue of exp(q k' / T))
//! the queue appends k, and drops its oldest keys
//! ```
//! MoCo shuffles the images of the keys among devices, so that batch norms do not leak which key belongs to which query. Here,
//! there is one device, and the batch is split into parts for batch norms. The images of the keys are shuffled among the parts,
//! as in MoCo's Colab notebook.
use super::{
    Forward, Learning, Materials, Method, MethodSettings, ViewPairs, backbone, check_count, check_temperature,
    check_widths, head, info_nce, normalized,
};
use crate::error::Result;
use crate::memory;
use crate::nn::{Hidden, Last, Mode, Network, change, normal};
use crate::optim::{Averaging, ema, whole};
use crate::random::{Generator, Key};
use candle_core::{Device, Tensor};
use rand::seq::SliceRandom;
use serde::Deserialize;

/// The maximum number of keys in a queue.
const MOST_KEYS: usize = 1 << 24;

/// The settings of MoCo v2.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MocoSettings {
    /// Dimension of queries and keys; 128 in the paper.
    pub dim: usize,
    /// Number of keys in the queue; 65,536 in the paper.
    pub queue_size: usize,
    /// The temperature T; 0.2 in MoCo v2.
    pub temperature: f64,
    /// Number of parts into which the batch is split, each with its own batch-norm statistics. The paper uses 8 devices, which
    /// correspond to 8 parts.
    pub splits: usize,
    /// Whether the loss is symmetric: the sum of two losses, where each view is the query in one of them.
    pub symmetric: bool,
    /// Whether the projector has two layers with a ReLU between them (v2), or one layer (v1, and MoCo's CIFAR notebook).
    pub mlp: bool,
    /// The initial value of the EMA coefficient m.
    pub encoder_momentum: f64,
    /// The schedule of m: "constant" in the paper, or "cosine".
    pub encoder_momentum_schedule: Averaging,
}

/// MoCo v2 with its networks and queue.
pub struct Moco {
    settings: MocoSettings,
    /// The query network: backbone, projector.
    query: [Network; 2],
    key: [Network; 2],
    /// The keys, `[queue_size, dim]`, with the oldest at `pointer`.
    queue: Tensor,
    pointer: usize,
    /// The keys of the current step.
    new: Vec<Tensor>,
    seed: u64,
    steps: u64,
}

impl MethodSettings for MocoSettings {
    fn check(&self) -> Result<()> {
        check_temperature(self.temperature)?;
        check_widths(&[("dim", self.dim)])?;
        check_count("queue_size", self.queue_size, MOST_KEYS)?;
        check_count("splits", self.splits, usize::MAX)?;
        self.encoder_momentum_schedule.check(self.encoder_momentum)
    }

    fn held(&self) -> Result<usize> {
        memory::count("queue_size and dim", &[self.queue_size, self.dim])
    }

    fn saved(&self) -> usize {
        self.queue_size.saturating_mul(self.dim)
    }

    fn make(&self, mut materials: Materials) -> Result<Box<dyn Method>> {
        self.check()?;
        let features = materials.backbone.features();
        let sizes = if self.mlp { vec![features, features, self.dim] } else { vec![features, self.dim] };
        let last = Last::Linear { bias: true };
        let query = [backbone(&mut materials)?, head(&mut materials, &sizes, Hidden::Relu, last)?];
        let key = [query[0].frozen()?, query[1].frozen()?];
        let queue = first_keys(self.queue_size, self.dim, materials.generator)?;
        let (seed, settings) = (materials.seed, self.clone());
        Ok(Box::new(Moco { settings, query, key, queue, pointer: 0, new: vec![], seed, steps: 0 }))
    }
}

/// Returns the permutation that distributes the images of a view over the parts of the batch when keys are computed. `view` is
/// 0 for left and 1 for right views; `n` is the number of images.
pub fn key_order(seed: u64, step: u64, view: u64, n: usize) -> Vec<u32> {
    let mut order: Vec<u32> = (0..n as u32).collect();
    order.shuffle(&mut Key { seed, epoch: step, index: u64::MAX - 1, view }.generator());
    order
}

/// Draws the initial keys uniformly from the unit sphere.
fn first_keys(queue: usize, dim: usize, generator: &mut Generator) -> Result<Tensor> {
    let mut keys: Vec<f32> = (0..queue * dim).map(|_| normal(generator) as f32).collect();
    for key in keys.chunks_exact_mut(dim) {
        let length = key.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-12);
        key.iter_mut().for_each(|x| *x /= length);
    }
    Ok(Tensor::from_vec(keys, (queue, dim), &Device::Cpu)?)
}

impl Moco {
    /// Computes the features and the queries of a batch of views.
    fn queries(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        let mode = Mode::Train { splits: self.settings.splits };
        let features = self.query[0].forward(x, mode)?;
        let queries = normalized(&self.query[1].forward(&features, mode)?)?;
        Ok((features, queries))
    }

    /// Computes the keys of the images of a view. The images are shuffled among the parts of the batch. The keys are returned
    /// in the original order.
    fn keys(&self, x: &Tensor, view: u64) -> Result<Tensor> {
        let mode = Mode::Train { splits: self.settings.splits };
        let keys =
            |x: &Tensor| self.by_pieces(x, |x| Ok(self.key[1].forward(&self.key[0].forward(x, mode)?, mode)?.detach()));
        if self.settings.splits == 1 {
            return normalized(&keys(x)?);
        }
        let n = x.dim(0)?;
        let order = key_order(self.seed, self.steps, view, n);
        let mut back = vec![0; n];
        order.iter().enumerate().for_each(|(at, &image)| back[image as usize] = at as u32);
        let shuffled = x.index_select(&Tensor::from_vec(order, n, &Device::Cpu)?, 0)?;
        normalized(&keys(&shuffled)?.index_select(&Tensor::from_vec(back, n, &Device::Cpu)?, 0)?)
    }

    /// Applies `make` to a batch, in pieces if gradient accumulation is on. `make` runs the key network.
    fn by_pieces(&self, x: &Tensor, make: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        let pieces = self.key[0].pieces();
        if pieces == 1 {
            return make(x);
        }
        let size = x.dim(0)? / pieces;
        let mut made = vec![];
        for piece in 0..pieces {
            self.key.iter().for_each(Network::next_piece);
            made.push(make(&x.narrow(0, piece * size, size)?)?);
        }
        for network in &self.key {
            network.end_pieces(true);
            network.begin_pieces(pieces);
        }
        Ok(Tensor::cat(&made, 0)?)
    }

    /// Replaces the oldest keys in the circular queue with new ones.
    fn enqueue(&mut self, keys: &Tensor) -> Result<()> {
        let (dim, len) = (keys.dim(1)?, self.settings.queue_size);
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
    fn splits(&self) -> usize {
        self.settings.splits
    }

    fn begin(&mut self, views: &ViewPairs, m: f64) -> Result<()> {
        for (key, query) in self.key.iter().zip(&self.query) {
            query.read(|query| key.change(|key| ema(key, query, m)))??;
        }
        let of_right = self.keys(&views.right()?, 1)?;
        self.new = if self.settings.symmetric { vec![self.keys(&views.left()?, 0)?] } else { vec![] };
        self.new.push(of_right);
        Ok(())
    }

    fn represent(&self, views: &ViewPairs, first: usize) -> Result<Vec<Tensor>> {
        let (features, q) = self.queries(&views.left()?)?;
        let mut rows = vec![features, q];
        if self.settings.symmetric {
            rows.push(self.queries(&views.right()?)?.1);
        }
        for keys in &self.new {
            rows.push(keys.narrow(0, first, views.images())?);
        }
        Ok(rows)
    }

    fn loss(&self, rows: &[Tensor]) -> Result<Forward> {
        let loss = |q, keys| info_nce(q, keys, &self.queue, self.settings.temperature);
        let (features, projections) = (&rows[0], &rows[1]);
        let (loss, accuracy) = match rows {
            [_, left, right, of_left, of_right] => {
                let ((one, first), (other, second)) = (loss(left, of_right)?, loss(right, of_left)?);
                ((one + other)?, (first + second) / 2.0)
            }
            [_, left, of_right] => loss(left, of_right)?,
            _ => panic!("other rows"),
        };
        Ok(Forward::new(loss, features, projections, vec![("queue_accuracy", accuracy)]))
    }

    fn learning(&self) -> Vec<Learning<'_>> {
        vec![Learning::new("backbone", &self.query[0]), Learning::new("projector", &self.query[1])]
    }

    fn following(&self) -> Vec<(&'static str, &Network)> {
        vec![("key_backbone", &self.key[0]), ("key_projector", &self.key[1])]
    }

    /// Enqueues the new keys, after the backward pass has read the queue.
    fn after_update(&mut self) -> Result<()> {
        for keys in std::mem::take(&mut self.new) {
            self.enqueue(&keys)?;
        }
        self.steps += 1;
        Ok(())
    }

    fn entries(&self) -> Vec<(&'static str, Vec<usize>)> {
        let &MocoSettings { dim, queue_size, .. } = &self.settings;
        vec![("queue", vec![queue_size, dim]), ("queue_pointer", vec![1]), ("steps", vec![2])]
    }

    fn state(&self) -> Result<Vec<Vec<f32>>> {
        // The count of steps, as two values that float32 represents exactly.
        let steps = [self.steps >> 20, self.steps & 0xF_FFFF].map(|x| x as f32);
        Ok(vec![self.queue.flatten_all()?.to_vec1()?, vec![self.pointer as f32], steps.to_vec()])
    }

    fn load_state(&mut self, state: &[&[f32]]) -> Result<()> {
        let &[queue, &[pointer], &[high, low]] = state else { panic!("other values than `entries` lists") };
        let pointer = whole("queue_pointer", pointer, self.settings.queue_size as u64)?;
        let (high, low) = (whole("steps", high, 1 << 24)?, whole("steps", low, 1 << 20)?);
        change(&self.queue, |to| to.copy_from_slice(queue))?;
        self.pointer = pointer as usize;
        self.steps = (high << 20) + low;
        Ok(())
    }
}
