//! A network as one operation of candle's graph: `y = body(x; parameters)`, whose gradients are made by hand.
use super::batch_norm::follow;
use super::{Array, ArrayRef, Layout};
use crate::error::{Error, Result};
use crate::kernels::threads::lock::locked;
use crate::random::Generator;
use candle_core::{CpuStorage, CustomOp2, Device, Shape, Storage, Tensor, Var};
use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard};

/// Which statistics norms use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Those of the batch in so many parts; the running ones move.
    Train {
        /// Parts of the batch, each with its own statistics; 1 for the whole.
        splits: usize,
    },
    /// The same of one piece of a batch; buffers take the sums of its parts' statistics.
    Collect {
        /// Parts of the piece.
        splits: usize,
    },
    /// The running ones.
    Eval,
}

/// What a body has while it runs.
pub struct Pass<'a> {
    /// All parameters.
    pub params: &'a [f32],
    /// All buffers.
    pub buffers: &'a mut [f32],
    /// Which statistics norms use.
    pub mode: Mode,
    /// Whether the gradient will be asked for.
    pub keep: bool,
}

/// What a body keeps for its gradient.
pub type Kept = Box<dyn Any + Send + Sync>;

/// Layers in their order.
pub trait Body: Send + Sync {
    /// The output, and what the gradient needs beside the input where `pass.keep` asks for it.
    fn forward(&self, pass: &mut Pass, x: ArrayRef) -> (Array, Option<Kept>);

    /// Writes the gradient of all parameters; gives that of the input `x` if it is wanted.
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

/// A body with its numbers.
#[derive(Clone)]
pub struct Network {
    body: Arc<dyn Body>,
    layout: Arc<Layout>,
    params: Tensor,
    buffers: Arc<Mutex<Vec<f32>>>,
    gradient: Arc<Mutex<Option<Vec<f32>>>>,
    pieces: Arc<Mutex<Option<Pieces>>>,
}

/// The passes of a batch whose rows come in pieces: running statistics move when all have come, as if they had come at once.
struct Pieces {
    count: usize,
    /// The parts of a whole batch, and the sums over those that have come, of each pass.
    sums: Vec<(usize, Vec<f32>)>,
    /// The next pass of the piece that is there.
    next: usize,
}

impl Network {
    /// With parameters as they begin, which learn.
    ///
    /// # Errors
    /// candle's.
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

    /// Another one with the same numbers, which does not learn: a momentum encoder.
    ///
    /// # Errors
    /// candle's.
    pub fn frozen(&self) -> Result<Self> {
        let params = self.read(|numbers| Tensor::from_slice(numbers, self.layout.len(), &Device::Cpu))??;
        let buffers = Arc::new(Mutex::new(self.buffers().clone()));
        let (body, layout) = (self.body.clone(), self.layout.clone());
        Ok(Self { body, layout, params, buffers, gradient: Arc::default(), pieces: Arc::default() })
    }

    /// Where its tensors stand.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Its buffers.
    pub fn buffers(&self) -> MutexGuard<'_, Vec<f32>> {
        locked(&self.buffers)
    }

    /// The gradient of its parameters that has come together since it was taken last, from all that went through it; none where
    /// nothing has.
    pub fn take_gradient(&self) -> Option<Vec<f32>> {
        locked(&self.gradient).take()
    }

    /// Lends its parameters.
    ///
    /// # Errors
    /// candle's.
    pub fn read<T>(&self, read: impl FnOnce(&[f32]) -> T) -> Result<T> {
        let (storage, layout) = self.params.storage_and_layout();
        Ok(read(contiguous(&storage, layout)?))
    }

    /// Changes its parameters in place.
    ///
    /// # Errors
    /// candle's.
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

    /// From now on the rows of a batch come in so many pieces, which consist of whole parts.
    pub fn begin_pieces(&self, count: usize) {
        *locked(&self.pieces) = Some(Pieces { count, sums: vec![], next: 0 });
    }

    /// The next piece comes, by the same passes as the one before it.
    pub fn next_piece(&self) {
        locked(&self.pieces).iter_mut().for_each(|pieces| pieces.next = 0);
    }

    /// In how many pieces a batch comes.
    pub fn pieces(&self) -> usize {
        locked(&self.pieces).as_ref().map_or(1, |pieces| pieces.count)
    }

    /// Batches are whole again. Running statistics have moved by all pieces, pass by pass, or stay if those were repeated.
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

    /// The output for a batch, `[n, height, width, channels]` or `[n, channels]`: `[n, features]`.
    ///
    /// # Errors
    /// An input that is not contiguous, or of another rank.
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let op = Op { network: self.clone(), mode, kept: Mutex::new(None), keep: self.params.track_op() };
        Ok(x.apply_op2(&self.params, op)?)
    }
}

impl Pieces {
    /// Those of the pass that begins.
    fn sums(&mut self, parts: usize, len: usize) -> &mut [f32] {
        let at = self.next;
        self.next += 1;
        if self.sums.len() == at {
            self.sums.push((parts, vec![0.0; len]));
        }
        &mut self.sums[at].1
    }
}

/// Changes a tensor in place.
///
/// # Errors
/// candle's.
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
        // That of the parameters stays with the network: candle would copy it twice.
        Ok((dx, None))
    }
}

/// As four dimensions.
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
