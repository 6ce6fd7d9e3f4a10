//! A network as one operation in candle's graph: `y = body(x; parameters)`, with a hand-written backward pass.
use super::batch_norm::follow;
use super::{Array, ArrayRef, Layout};
use crate::error::{Error, Result};
use crate::kernels::threads::lock::locked;
use crate::random::Generator;
use candle_core::{CpuStorage, CustomOp2, Device, Shape, Storage, Tensor, Var};
use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard};

/// The statistics that batch norms use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The statistics of each part of the batch. Running statistics are updated.
    Train {
        /// Number of parts of the batch, each with its own statistics; 1 for the whole batch.
        splits: usize,
    },
    /// The statistics of each part of one piece of the batch (gradient accumulation). Running statistics are not updated.
    /// Instead, the statistics of the parts are added to [`Pass::buffers`], which then contains sums.
    Collect {
        /// Number of parts of the piece.
        splits: usize,
    },
    /// The running statistics.
    Eval,
}

/// The inputs of a body's forward pass, besides the batch.
pub struct Pass<'a> {
    /// All parameters.
    pub params: &'a [f32],
    /// All buffers; in [`Mode::Collect`], sums of statistics in the same layout.
    pub buffers: &'a mut [f32],
    /// The statistics that batch norms use.
    pub mode: Mode,
    /// Whether values are kept for a backward pass.
    pub keep: bool,
}

/// The values that a body keeps for its backward pass.
pub type Kept = Box<dyn Any + Send + Sync>;

/// A sequence of layers.
pub trait Body: Send + Sync {
    /// Returns the output and, if `pass.keep` is set, the values that the backward pass needs in addition to the input.
    fn forward(&self, pass: &mut Pass, x: ArrayRef) -> (Array, Option<Kept>);

    /// Writes the gradient of all parameters to `gradient`; returns the gradient of the input `x` if `wants_input` is set.
    fn backward(
        &self,
        params: &[f32],
        kept: Kept,
        x: ArrayRef,
        dy: Array,
        gradient: &mut [f32],
        wants_input: bool,
    ) -> Option<Array>;
}

/// A body with its parameters and buffers.
#[derive(Clone)]
pub struct Network {
    body: Arc<dyn Body>,
    layout: Arc<Layout>,
    params: Tensor,
    buffers: Arc<Mutex<Vec<f32>>>,
    gradient: Arc<Mutex<Option<Vec<f32>>>>,
    pieces: Arc<Mutex<Option<Pieces>>>,
}

/// The state of gradient accumulation, where a batch is processed in pieces. Running statistics are updated after all pieces,
/// as in a forward pass over the whole batch.
struct Pieces {
    count: usize,
    /// For each forward pass of a piece: the number of parts of the whole batch, and the sums of statistics over the pieces so
    /// far.
    sums: Vec<(usize, Vec<f32>)>,
    /// Index of the next forward pass of the current piece.
    next: usize,
}

impl Network {
    /// Creates a trainable network, with initial parameters drawn from `generator`.
    ///
    /// # Errors
    /// A candle operation fails.
    pub fn new(body: Arc<dyn Body>, layout: Layout, generator: &mut Generator) -> Result<Self> {
        let params = Var::from_vec(layout.initial(generator), layout.len(), &Device::Cpu)?;
        let buffers = Arc::new(Mutex::new(layout.initial_buffers()));
        Ok(Self {
            body,
            layout: Arc::new(layout),
            params: params.as_tensor().clone(),
            buffers,
            gradient: Arc::default(),
            pieces: Arc::default(),
        })
    }

    /// Returns a copy of the network with frozen parameters, for a momentum encoder or a frozen backbone.
    ///
    /// # Errors
    /// A candle operation fails.
    pub fn frozen(&self) -> Result<Self> {
        let params = self.read(|numbers| Tensor::from_slice(numbers, self.layout.len(), &Device::Cpu))??;
        let buffers = Arc::new(Mutex::new(self.buffers().clone()));
        let (body, layout) = (self.body.clone(), self.layout.clone());
        Ok(Self { body, layout, params, buffers, gradient: Arc::default(), pieces: Arc::default() })
    }

    /// The layout of the network's tensors.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Locks and returns the buffers, which contain the running statistics.
    pub fn buffers(&self) -> MutexGuard<'_, Vec<f32>> {
        locked(&self.buffers)
    }

    /// Takes the gradient of the parameters, accumulated since the last call. Returns `None` if there was no backward pass.
    pub fn take_gradient(&self) -> Option<Vec<f32>> {
        locked(&self.gradient).take()
    }

    /// Calls `read` with the parameters, and returns its result.
    ///
    /// # Errors
    /// A candle operation fails.
    pub fn read<T>(&self, read: impl FnOnce(&[f32]) -> T) -> Result<T> {
        let (storage, layout) = self.params.storage_and_layout();
        Ok(read(contiguous(&storage, layout)?))
    }

    /// Changes the parameters in place with `change`.
    ///
    /// # Errors
    /// A candle operation fails.
    pub fn change(&self, change: impl FnMut(&mut [f32]) + Send + Sync) -> Result<()> {
        self::change(&self.params, change)
    }

    fn add_gradient(&self, gradient: Vec<f32>) {
        let mut sum = locked(&self.gradient);
        match &mut *sum {
            Some(sum) => sum.iter_mut().zip(gradient).for_each(|(sum, x)| *sum += x),
            None => *sum = Some(gradient),
        }
    }

    /// Starts gradient accumulation: each batch is processed in `count` pieces. A piece consists of whole parts (see
    /// [`Mode::Train`]).
    pub fn begin_pieces(&self, count: usize) {
        *locked(&self.pieces) = Some(Pieces { count, sums: vec![], next: 0 });
    }

    /// Begins the next piece. Every piece must run the same forward passes in the same order.
    pub fn next_piece(&self) {
        locked(&self.pieces).iter_mut().for_each(|pieces| pieces.next = 0);
    }

    /// The number of pieces in which a batch is processed; 1 unless [`Network::begin_pieces`] was called.
    pub fn pieces(&self) -> usize {
        locked(&self.pieces).as_ref().map_or(1, |pieces| pieces.count)
    }

    /// Ends gradient accumulation. If `moves` is set, each forward pass updates the running statistics once, with the
    /// statistics of all pieces. Leave `moves` unset if the forward passes only repeated earlier ones.
    pub fn end_pieces(&self, moves: bool) {
        let pieces = locked(&self.pieces).take();
        let mut buffers = self.buffers();
        for (parts, sums) in pieces.into_iter().filter(|_| moves).flat_map(|pieces| pieces.sums) {
            for buffer in self.layout.buffers() {
                let range = buffer.range.clone();
                if Layout::is_count(&buffer.name) {
                    buffers[range.start] += 1.0;
                } else {
                    let momentum = self.layout.norm_momentum();
                    let sums = &sums[range.clone()];
                    buffers[range].iter_mut().zip(sums).for_each(|(x, sum)| follow(x, *sum, parts, momentum));
                }
            }
        }
    }

    /// Computes the output `[n, features]` for a batch `[n, height, width, channels]` or `[n, channels]`.
    ///
    /// # Errors
    /// The input is not contiguous, not float32, not on the CPU, or has a rank other than 2 or 4.
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let op = Op { network: self.clone(), mode, kept: Mutex::new(None), keep: self.params.track_op() };
        Ok(x.apply_op2(&self.params, op)?)
    }
}

impl Pieces {
    /// Returns the sums of statistics for the next forward pass of the current piece, and advances `next`.
    fn sums(&mut self, parts: usize, len: usize) -> &mut [f32] {
        let at = self.next;
        self.next += 1;
        if self.sums.len() == at {
            self.sums.push((parts, vec![0.0; len]));
        }
        &mut self.sums[at].1
    }
}

/// Changes a contiguous float32 tensor in place with `change`.
///
/// # Errors
/// A candle operation fails.
pub fn change(tensor: &Tensor, change: impl FnMut(&mut [f32]) + Send + Sync) -> Result<()> {
    Ok(tensor.inplace_op1(&Change(Mutex::new(change)))?)
}

struct Change<F>(Mutex<F>);

impl<F: FnMut(&mut [f32]) + Send + Sync> candle_core::InplaceOp1 for Change<F> {
    fn name(&self) -> &'static str {
        "change"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, _: &candle_core::Layout) -> candle_core::Result<()> {
        match storage {
            CpuStorage::F32(numbers) => {
                (locked(&self.0))(numbers);
                Ok(())
            }
            _ => candle_core::bail!("a tensor that is not float32"),
        }
    }
}

struct Op {
    network: Network,
    mode: Mode,
    keep: bool,
    kept: Mutex<Option<Kept>>,
}

impl CustomOp2 for Op {
    fn name(&self) -> &'static str {
        "network"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &candle_core::Layout,
        params: &CpuStorage,
        params_layout: &candle_core::Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let x = ArrayRef { shape: shape(x_layout.dims())?, numbers: slice(x, x_layout)? };
        let params = slice(params, params_layout)?;
        let (mut buffers, mut pieces) = (self.network.buffers(), locked(&self.network.pieces));
        let (buffers, mode) = match (&mut *pieces, self.mode) {
            (Some(pieces), Mode::Train { splits }) => {
                let count = pieces.count;
                (pieces.sums(splits, buffers.len()), Mode::Collect { splits: splits / count })
            }
            (_, mode) => (&mut buffers[..], mode),
        };
        let mut pass = Pass { params, buffers, mode, keep: self.keep };
        let (y, kept) = self.network.body.forward(&mut pass, x);
        *locked(&self.kept) = kept;
        Ok((CpuStorage::F32(y.numbers), Shape::from((y.shape[0], y.shape[1] * y.shape[2] * y.shape[3]))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        params: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let Some(kept) = locked(&self.kept).take() else {
            candle_core::bail!("a network's gradient is asked for twice");
        };
        let dy = Array { shape: shape(dy.dims())?, numbers: dy.flatten_all()?.to_vec1()? };
        let ((x_storage, x_layout), (storage, layout)) = (x.storage_and_layout(), params.storage_and_layout());
        let numbers = contiguous(&storage, layout)?;
        let input = ArrayRef { shape: shape(x.dims())?, numbers: contiguous(&x_storage, x_layout)? };
        let mut gradient = vec![0.0; numbers.len()];
        let dx = self.network.body.backward(numbers, kept, input, dy, &mut gradient, x.track_op());
        let dx = dx.map(|dx| Tensor::from_vec(dx.numbers, x.shape(), &Device::Cpu)).transpose()?;
        self.network.add_gradient(gradient);
        // The parameters' gradient stays with the network: candle would copy it twice.
        Ok((dx, None))
    }
}

/// Expands the shape of a batch of vectors or images to four dimensions.
fn shape(dims: &[usize]) -> candle_core::Result<[usize; 4]> {
    match *dims {
        [n, channels] => Ok([n, 1, 1, channels]),
        [n, height, width, channels] => Ok([n, height, width, channels]),
        _ => candle_core::bail!("expected [n, height, width, channels] or [n, channels], got {dims:?}"),
    }
}

fn contiguous<'a>(storage: &'a Storage, layout: &candle_core::Layout) -> candle_core::Result<&'a [f32]> {
    match storage {
        Storage::Cpu(storage) => slice(storage, layout),
        _ => candle_core::bail!("a tensor that is not on the CPU"),
    }
}

fn slice<'a>(storage: &'a CpuStorage, layout: &candle_core::Layout) -> candle_core::Result<&'a [f32]> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        candle_core::bail!("a network's input and parameters are contiguous");
    };
    Ok(&storage.as_slice::<f32>()?[start..end])
}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Self::Tensor { reason: error.to_string() }
    }
}
