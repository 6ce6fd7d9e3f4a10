//! The losses, in float32 by log-sum-exp. `z` are rows.
use crate::error::Result;
use candle_core::{D, DType, Device, Tensor};
use candle_nn::loss::cross_entropy;

/// `z / |z|`, with PyTorch's least length of 1e-12.
///
/// # Errors
/// candle's.
pub fn normalized(z: &Tensor) -> Result<Tensor> {
    let length = z.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?.maximum(1e-12)?;
    Ok(z.broadcast_div(&length)?)
}

/// InfoNCE of MoCo (He et al. 2020, equation 1): `-log(exp(q k+ / T) / sum over k of exp(q k / T))`, k+ first, then the queue.
/// Gives the loss, and how many positives are above all of the queue.
///
/// # Errors
/// candle's.
pub fn info_nce(q: &Tensor, k: &Tensor, queue: &Tensor, temperature: f64) -> Result<(Tensor, f32)> {
    let positive = (q * k)?.sum_keepdim(1)?;
    let negative = q.matmul(&queue.t()?)?;
    let logits = (Tensor::cat(&[positive, negative], 1)? / temperature)?;
    let n = logits.dim(0)?;
    let first = logits.detach().argmax(1)?.to_vec1::<u32>()?.into_iter().filter(|&best| best == 0).count();
    let loss = cross_entropy(&logits, &Tensor::zeros(n, DType::U32, &Device::Cpu)?)?;
    Ok((loss, first as f32 / n as f32))
}

/// `cos(p, z)`, on average over the rows.
///
/// # Errors
/// candle's.
pub fn mean_cosine(p: &Tensor, z: &Tensor) -> Result<Tensor> {
    Ok((normalized(p)? * normalized(z)?)?.sum(1)?.mean(0)?)
}

/// NT-Xent of SimCLR (Chen et al. 2020, equation 1), on average over all 2n rows: rows i and n + i are the two views of one image.
/// Gives the loss, and how many rows are nearest to their other view.
///
/// # Errors
/// candle's.
pub fn nt_xent(z: &Tensor, temperature: f64) -> Result<(Tensor, f32)> {
    let all = z.dim(0)?;
    let n = all / 2;
    let z = normalized(z)?;
    let logits = (z.matmul(&z.t()?)? / temperature)?;
    // No row is its own neighbour.
    let itself = (Tensor::eye(all, DType::F32, &Device::Cpu)? * 1e9)?;
    let logits = (logits - itself)?;
    let other: Vec<u32> = (0..all).map(|i| ((i + n) % all) as u32).collect();
    let best = logits.detach().argmax(1)?.to_vec1::<u32>()?;
    let right = best.iter().zip(&other).filter(|(best, other)| best == other).count();
    let loss = cross_entropy(&logits, &Tensor::from_vec(other, all, &Device::Cpu)?)?;
    Ok((loss, right as f32 / all as f32))
}

/// How far normalized rows differ from each other: the mean over their `dim` numbers of the standard deviation, times the root of `dim`.
/// Near 1 where they spread over the sphere, 0 where they have collapsed (Chen and He 2021, arXiv 2011.10566, section 4.1).
///
/// # Errors
/// candle's.
pub fn spread(z: &Tensor) -> Result<f32> {
    let z = normalized(&z.detach())?;
    let dim = z.dim(1)? as f64;
    let deviation = z.broadcast_sub(&z.mean_keepdim(0)?)?.sqr()?.mean(0)?.sqrt()?;
    Ok((deviation.mean_all()? * dim.sqrt())?.to_scalar()?)
}
