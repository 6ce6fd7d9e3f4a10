//! A network as one operation of candle's graph: `y = body(x; parameters)`, whose gradients are made by hand.
use super::{Array, Layout};
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
    /// The output, and what the gradient needs where `pass.keep` asks for it.
    fn forward(&self, pass: &mut Pass, x: Array) -> (Array, Option<Kept>);

    /// Writes the gradient of all parameters; gives that of the input if it is wanted.
    fn backward(&self, params: &[f32], kept: Kept, dy: Array, gradient: &mut [f32], wants_input: bool)
    -> Option<Array>;
}

/// A body with its numbers.
#[derive(Clone)]
pub struct Network {
    body: Arc<dyn Body>,
    layout: Arc<Layout>,
    params: Tensor,
    buffers: Arc<Mutex<Vec<f32>>>,
}

impl Network {
    /// With parameters as they begin, which learn.
    ///
    /// # Errors
    /// candle's.
    pub fn new(body: Arc<dyn Body>, layout: Layout, generator: &mut Generator) -> Result<Self> {
        let params = Var::from_vec(layout.initial(generator), layout.len(), &Device::Cpu)?;
        let buffers = Arc::new(Mutex::new(layout.initial_buffers()));
        Ok(Self { body, layout: Arc::new(layout), params: params.as_tensor().clone(), buffers })
    }

    /// Another one with the same numbers, which does not learn: a momentum encoder.
    ///
    /// # Errors
    /// candle's.
    pub fn frozen(&self) -> Result<Self> {
        let params = Tensor::from_vec(self.numbers()?, self.layout.len(), &Device::Cpu)?;
        let buffers = Arc::new(Mutex::new(self.buffers().clone()));
        Ok(Self { body: self.body.clone(), layout: self.layout.clone(), params, buffers })
    }

    /// Where its tensors stand.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The flat vector of its parameters: what gradients are asked of.
    pub fn params(&self) -> &Tensor {
        &self.params
    }

    /// Its buffers.
    pub fn buffers(&self) -> MutexGuard<'_, Vec<f32>> {
        locked(&self.buffers)
    }

    /// A copy of its parameters.
    ///
    /// # Errors
    /// candle's.
    pub fn numbers(&self) -> Result<Vec<f32>> {
        Ok(self.params.to_vec1()?)
    }

    /// Changes its parameters in place.
    ///
    /// # Errors
    /// candle's.
    pub fn change(&self, change: impl FnMut(&mut [f32]) + Send + Sync) -> Result<()> {
        Ok(self.params.inplace_op1(&Change(Mutex::new(change)))?)
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
            _ => candle_core::bail!("parameters that are not float32"),
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
        x_strides: &candle_core::Layout,
        params: &CpuStorage,
        params_strides: &candle_core::Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let x = Array { shape: shape(x_strides.dims())?, numbers: contiguous(x, x_strides)?.to_vec() };
        let params = contiguous(params, params_strides)?;
        let mut buffers = self.network.buffers();
        let mut pass = Pass { params, buffers: &mut buffers, mode: self.mode, keep: self.keep };
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
        let (storage, strides) = params.storage_and_layout();
        let Storage::Cpu(storage) = &*storage else { candle_core::bail!("parameters that are not on the CPU") };
        let numbers = contiguous(storage, strides)?;
        let mut gradient = vec![0.0; numbers.len()];
        let dx = self.network.body.backward(numbers, kept, dy, &mut gradient, x.track_op());
        let dx = dx.map(|dx| Tensor::from_vec(dx.numbers, x.shape(), &Device::Cpu)).transpose()?;
        Ok((dx, Some(Tensor::from_vec(gradient, params.shape(), &Device::Cpu)?)))
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

fn contiguous<'a>(storage: &'a CpuStorage, strides: &candle_core::Layout) -> candle_core::Result<&'a [f32]> {
    let Some((start, end)) = strides.contiguous_offsets() else {
        candle_core::bail!("a network's input and parameters are contiguous");
    };
    Ok(&storage.as_slice::<f32>()?[start..end])
}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Self::Tensor { reason: error.to_string() }
    }
}
