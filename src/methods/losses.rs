//! The losses, and metrics of representations, computed in float32. Each row of a tensor is a vector.
use crate::error::Result;
use candle_core::{D, DType, Device, Tensor};
use candle_nn::loss::cross_entropy;

/// Normalizes rows to unit length: `z / max(|z|, 1e-12)`, like `torch.nn.functional.normalize`.
///
/// # Errors
/// A candle operation fails.
pub fn normalized(z: &Tensor) -> Result<Tensor> {
    let length = z.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?.maximum(1e-12)?;
    Ok(z.broadcast_div(&length)?)
}

/// InfoNCE of MoCo (He et al. 2020, equation 1): `-log(exp(q k+ / T) / sum over k of exp(q k / T))`, averaged over the rows q
/// of `q`. Here, k+ is the row of `k` with the same index as q. The sum runs over k+ and all keys in `queue`. All rows must be
/// normalized.
///
/// Returns the loss and an accuracy: the fraction of queries that are at least as similar to k+ as to any key in the queue.
///
/// # Errors
/// A candle operation fails.
pub fn info_nce(q: &Tensor, k: &Tensor, queue: &Tensor, temperature: f64) -> Result<(Tensor, f32)> {
    let positive = (q * k)?.sum_keepdim(1)?;
    let negative = q.matmul(&queue.t()?)?;
    let logits = (Tensor::cat(&[positive, negative], 1)? / temperature)?;
    let n = logits.dim(0)?;
    let first = logits.detach().argmax(1)?.to_vec1::<u32>()?.into_iter().filter(|&best| best == 0).count();
    let loss = cross_entropy(&logits, &Tensor::zeros(n, DType::U32, &Device::Cpu)?)?;
    Ok((loss, first as f32 / n as f32))
}

/// Returns the mean of `cos(p, z)` over the rows.
///
/// # Errors
/// A candle operation fails.
pub fn mean_cosine(p: &Tensor, z: &Tensor) -> Result<Tensor> {
    Ok((normalized(p)? * normalized(z)?)?.sum(1)?.mean(0)?)
}

/// NT-Xent of SimCLR (Chen et al. 2020, equation 1), averaged over all 2n rows of `z`. Rows i and n + i are the two views of an
/// image.
///
/// Returns the loss and an accuracy: the fraction of rows whose nearest other row is the other view of the same image.
///
/// # Errors
/// A candle operation fails.
pub fn nt_xent(z: &Tensor, temperature: f64) -> Result<(Tensor, f32)> {
    let all = z.dim(0)?;
    let n = all / 2;
    let z = normalized(z)?;
    let logits = (z.matmul(&z.t()?)? / temperature)?;
    // Exclude each row's similarity with itself.
    let itself = (Tensor::eye(all, DType::F32, &Device::Cpu)? * 1e9)?;
    let logits = (logits - itself)?;
    let other: Vec<u32> = (0..all).map(|i| ((i + n) % all) as u32).collect();
    let best = logits.detach().argmax(1)?.to_vec1::<u32>()?;
    let right = best.iter().zip(&other).filter(|(best, other)| best == other).count();
    let loss = cross_entropy(&logits, &Tensor::from_vec(other, all, &Device::Cpu)?)?;
    Ok((loss, right as f32 / all as f32))
}

/// Normalizes rows, and returns their spread. This is the standard deviation of each dimension, averaged over dimensions, times
/// `sqrt(dim)`. It is near 1 if the rows are spread over the sphere, and 0 if they have collapsed (Chen and He 2021, arXiv
/// 2011.10566, section 4.1).
///
/// # Errors
/// A candle operation fails.
pub fn spread(z: &Tensor) -> Result<f32> {
    let z = normalized(&z.detach())?;
    let dim = z.dim(1)? as f64;
    let deviation = z.broadcast_sub(&z.mean_keepdim(0)?)?.sqr()?.mean(0)?.sqrt()?;
    Ok((deviation.mean_all()? * dim.sqrt())?.to_scalar()?)
}
