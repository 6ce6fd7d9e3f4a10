//! A Gaussian fitted to the style vectors of a bank, from which new styles are drawn; and the file format of a Gaussian.
use super::bank::Bank;
use crate::error::{Error, Result};
use crate::interrupt::poll;
use crate::memory;
use crate::weights::safetensors::{Dtype, File, View, write};
use rand::Rng;
use std::collections::BTreeMap;
use std::path::Path;

pub(super) const FORMAT: &str = "sassl.gaussian";

/// A normal distribution along the principal axes of a bank. Style vectors lie near a manifold of few dimensions, so a vector
/// with independent noise in every dimension is not a style. The first twenty axes hold nine tenths of the variance of real
/// styles (style augmentation, Jackson et al. 2019).
#[derive(Clone, Debug, PartialEq)]
pub struct Gaussian {
    mean: Vec<f32>,
    /// The principal axes, `[rank, dim]`. The norm of each axis is the standard deviation along that axis.
    axes: Vec<f32>,
    space: String,
}

impl Gaussian {
    pub(super) fn new(bank: &Bank, rank: usize) -> Result<Self> {
        let (n, dim) = (bank.len(), bank.dim());
        let most = dim.min(n - 1);
        if rank == 0 || rank > most {
            return Err(Error::value(
                "rank",
                rank,
                format!("must be in [1, {most}] for {n} style vectors of length {dim}"),
            ));
        }
        let vectors = bank.vectors();
        let mut mean = vec![0.0; dim];
        for row in vectors.chunks_exact(dim) {
            row.iter().zip(&mut mean).for_each(|(x, mean)| *mean += f64::from(*x) / n as f64);
        }
        let centred = |i: usize, j: usize| f64::from(vectors[i * dim + j]) - mean[j];
        // The Gram matrix of the vectors and the covariance matrix have the same non-zero eigenvalues; the smaller one is used.
        let few = n < dim;
        let side = n.min(dim);
        let mut rows = memory::zeros::<f64>("dim", memory::count("dim", &[n, dim])?)?;
        for (i, row) in rows.chunks_exact_mut(side).enumerate() {
            row.iter_mut().enumerate().for_each(|(j, x)| *x = if few { centred(j, i) } else { centred(i, j) });
        }
        let (values, units) = super::eigen::symmetric(products(&rows, side)?, side, rank)?;
        let mut axes = memory::room("dim", memory::count("dim", &[rank, dim])?)?;
        for (value, unit) in values.iter().zip(units.chunks_exact(side)) {
            let axis: Vec<f64> = if few {
                rows.chunks_exact(side).map(|row| row.iter().zip(unit).map(|(x, u)| x * u).sum()).collect()
            } else {
                unit.iter().map(|u| u * value.max(0.0).sqrt()).collect()
            };
            // The sign of an axis is arbitrary: its largest component is chosen to be positive.
            let largest = axis.iter().copied().max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap_or_default();
            let scale = ((n - 1) as f64).sqrt().recip().copysign(largest);
            axes.extend(axis.iter().map(|x| (x * scale) as f32));
        }
        let mean = mean.into_iter().map(|x| x as f32).collect();
        Ok(Self { mean, axes, space: bank.space().to_owned() })
    }

    /// Creates a Gaussian from its mean and its axes, `[rank, dim]`. The norm of each axis is the standard deviation along that
    /// axis.
    ///
    /// # Errors
    /// The mean or the axes are empty, the number of values in `axes` is not a multiple of the length of `mean`, or a value is
    /// not finite.
    pub fn from_parts(mean: Vec<f32>, axes: Vec<f32>, space: &str) -> Result<Self> {
        if mean.is_empty() || axes.is_empty() || !axes.len().is_multiple_of(mean.len()) {
            let got = format!("{} values for a mean of length {}", axes.len(), mean.len());
            return Err(Error::shape("axes", "must have shape (rank, dim) with rank and dim >= 1", got));
        }
        if let Some(x) = mean.iter().chain(&axes).find(|x| !x.is_finite()) {
            return Err(Error::value("mean or axes", x, "must be finite"));
        }
        Ok(Self { mean, axes, space: space.into() })
    }

    pub(super) fn from_file(file: &File) -> Result<Self> {
        let wrong = |reason: String| Error::weights(file.origin(), reason);
        let metadata = |key: &str| file.metadata().get(key).map(String::as_str);
        if metadata("version") != Some("1") {
            let found = metadata("version").unwrap_or("none");
            return Err(wrong(format!("a Gaussian of version {found}; this version of sassl reads version 1")));
        }
        let space = metadata("space").ok_or_else(|| wrong("a Gaussian without the id of its style space".into()))?;
        let (mean, axes) = (file.view("mean")?, file.view("axes")?);
        match (mean.shape, axes.shape) {
            (&[dim], &[_, length]) if dim == length => {}
            shapes => {
                return Err(wrong(format!("its mean and axes have the shapes {shapes:?}, not (dim,) and (rank, dim)")));
            }
        }
        Self::from_parts(View::to_f32(&mean), View::to_f32(&axes), space).map_err(|error| wrong(error.to_string()))
    }

    /// Writes the Gaussian atomically in float32.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let metadata = [("format", FORMAT), ("version", "1"), ("space", &self.space)];
        let metadata = BTreeMap::from(metadata.map(|(k, v)| (k.to_owned(), v.to_owned())));
        let (mean, axes) = ([self.dim()], [self.rank(), self.dim()]);
        write(path, &metadata, &[("mean", Dtype::F32, &mean, &self.mean), ("axes", Dtype::F32, &axes, &self.axes)])
    }

    /// Returns the mean style.
    pub fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// Returns the principal axes, `[rank, dim]`. The norm of each axis is the standard deviation along that axis.
    pub fn axes(&self) -> &[f32] {
        &self.axes
    }

    /// Returns the number of axes.
    pub fn rank(&self) -> usize {
        self.axes.len() / self.mean.len()
    }

    /// Returns the length of a vector.
    pub fn dim(&self) -> usize {
        self.mean.len()
    }

    /// Returns the id of the style space, which identifies the predictor that computed the vectors.
    pub fn space(&self) -> &str {
        &self.space
    }

    /// Draws a style vector.
    pub fn sample(&self, generator: &mut impl Rng) -> Vec<f32> {
        let mut z = self.mean.clone();
        for axis in self.axes.chunks_exact(z.len()) {
            let weight = normal(generator);
            z.iter_mut().zip(axis).for_each(|(z, x)| *z += weight * x);
        }
        z
    }
}

/// Returns the sum of `r r^T` over all rows `r` of length `side`.
fn products(rows: &[f64], side: usize) -> Result<Vec<f64>> {
    let mut products = memory::zeros::<f64>("dim", memory::count("dim", &[side, side])?)?;
    // A chunk of 64 rows fits into the cache.
    for some in rows.chunks(64 * side) {
        for (i, sums) in products.chunks_exact_mut(side).enumerate() {
            poll();
            for row in some.chunks_exact(side) {
                sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += row[i] * x);
            }
        }
    }
    Ok(products)
}

/// Draws from the standard normal distribution (Box-Muller).
fn normal(generator: &mut impl Rng) -> f32 {
    let radius = (-2.0 * (1.0 - generator.random::<f64>()).ln()).sqrt();
    (radius * (std::f64::consts::TAU * generator.random::<f64>()).cos()) as f32
}
