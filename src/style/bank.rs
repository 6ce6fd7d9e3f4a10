//! i_s: where styles come from, as vectors z with the id of their space; files of them, and a Gaussian over them.
use crate::error::{Error, Result};
use crate::interrupt::poll;
use crate::memory;
use crate::weights::EMBEDDED_BANK;
use crate::weights::safetensors::{Dtype, File, View, write};
use half::f16;
use rand::Rng;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

const FORMAT: &str = "sassl.bank";
const VECTORS: &str = "vectors";

/// Style vectors of one space, in memory; those of a file as it stored them.
#[derive(Debug)]
pub struct Bank {
    rows: Rows,
    len: usize,
    dim: usize,
    space: String,
    names: Option<Vec<String>>,
}

#[derive(Debug)]
enum Rows {
    Memory(Vec<f32>),
    File(File),
}

impl Bank {
    /// A bank of `vectors`, `[len, dim]`, made by the predictor of `space`; a name for each, or none.
    ///
    /// # Errors
    /// No vector, a length that `dim` does not divide, numbers that are not finite, names that are not one a vector.
    pub fn new(vectors: Vec<f32>, dim: usize, space: &str, names: Option<Vec<String>>) -> Result<Self> {
        if dim == 0 || vectors.is_empty() || !vectors.len().is_multiple_of(dim) {
            let got = format!("{} numbers for vectors of {dim}", vectors.len());
            return Err(Error::shape("style vectors", "(n, dim) with n and dim at least 1", got));
        }
        if let Some(at) = vectors.iter().position(|x| !x.is_finite()) {
            let name = format!("style vectors[{}][{}]", at / dim, at % dim);
            return Err(Error::value(name, vectors[at], "style vectors are finite numbers"));
        }
        let len = vectors.len() / dim;
        if let Some(names) = names.as_ref().filter(|names| names.len() != len) {
            return Err(Error::shape("names", format!("one for each of the {len} style vectors"), names.len()));
        }
        Ok(Self { rows: Rows::Memory(vectors), len, dim, space: space.into(), names })
    }

    /// The bank inside the package, of the space of `lite`.
    ///
    /// # Errors
    /// The package is damaged.
    pub fn embedded() -> Result<Self> {
        Self::from_file(File::from_bytes(Cow::Borrowed(EMBEDDED_BANK), Path::new("the embedded style bank"))?)
    }

    /// A bank file, read whole: it may be overwritten or lost while the bank is in use.
    ///
    /// # Errors
    /// The file cannot be read or is no bank.
    pub fn load(path: &Path) -> Result<Self> {
        Self::from_file(File::open(path)?)
    }

    fn from_file(file: File) -> Result<Self> {
        let wrong = |reason: String| Error::weights(file.origin(), reason);
        let metadata = |key: &str| file.metadata().get(key).map(String::as_str);
        if metadata("format") != Some(FORMAT) {
            let found = metadata("format").unwrap_or("none");
            return Err(wrong(format!(
                "not a style bank (its metadata names the format {found:?}, not {FORMAT:?}); make one with `sassl bank`"
            )));
        }
        if metadata("version") != Some("1") {
            let found = metadata("version").unwrap_or("none");
            return Err(wrong(format!("a bank of version {found}; this sassl reads version 1")));
        }
        let space = metadata("space").ok_or_else(|| wrong("a bank without the id of its style space".into()))?;
        let view = file.view(VECTORS)?;
        let &[len, dim] = view.shape else {
            return Err(wrong(format!("its vectors are of shape {:?}, not (n, dim)", view.shape)));
        };
        if len == 0 || dim == 0 {
            return Err(wrong("a bank without a single style vector".into()));
        }
        let names: Option<Vec<String>> = metadata("names")
            .map(serde_json::from_str)
            .transpose()
            .map_err(|error| wrong(format!("its names are no JSON list of strings: {error}")))?;
        if let Some(names) = names.as_ref().filter(|names| names.len() != len) {
            return Err(wrong(format!("{} names for {len} style vectors", names.len())));
        }
        if !view.is_finite() {
            return Err(wrong("a style vector holds a number that is not finite".into()));
        }
        let space = space.to_owned();
        Ok(Self { len, dim, space, names, rows: Rows::File(file) })
    }

    /// Writes the bank, in float16, atomically.
    ///
    /// # Errors
    /// A number that float16 cannot hold; the system refuses.
    pub fn save(&self, path: &Path) -> Result<()> {
        let vectors = self.vectors();
        if let Some(at) = vectors.iter().position(|&x| !f16::from_f32(x).is_finite()) {
            let name = format!("vectors[{}, {}]", at / self.dim, at % self.dim);
            return Err(Error::value(name, vectors[at], "a bank's file holds float16, up to 65504"));
        }
        let mut metadata = BTreeMap::from(
            [("format", FORMAT), ("version", "1"), ("space", &self.space)].map(|(k, v)| (k.to_owned(), v.to_owned())),
        );
        if let Some(names) = &self.names {
            metadata.insert("names".into(), serde_json::json!(names).to_string());
        }
        write(path, &metadata, &[(VECTORS, Dtype::F16, &[self.len, self.dim], &vectors)])
    }

    /// How many vectors.
    #[allow(clippy::len_without_is_empty)] // A bank is never empty.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Length of a vector.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The id of the predictor that made the vectors.
    pub fn space(&self) -> &str {
        &self.space
    }

    /// What each vector was made from, where that is known.
    pub fn names(&self) -> Option<&[String]> {
        self.names.as_deref()
    }

    /// All vectors, `[len, dim]`.
    pub fn vectors(&self) -> Vec<f32> {
        match &self.rows {
            Rows::Memory(vectors) => vectors.clone(),
            Rows::File(file) => file.view(VECTORS).as_ref().map(View::to_f32).unwrap_or_default(),
        }
    }

    /// Writes vector `index` into `out`.
    ///
    /// # Errors
    /// There is no such vector.
    ///
    /// # Panics
    /// If `out` is not of length [`Bank::dim`].
    pub fn copy(&self, index: usize, out: &mut [f32]) -> Result<()> {
        if index >= self.len {
            let remedy = format!("the bank holds {} styles, counted from 0", self.len);
            return Err(Error::value("style", index, remedy));
        }
        match &self.rows {
            Rows::Memory(vectors) => out.copy_from_slice(&vectors[index * self.dim..][..self.dim]),
            Rows::File(file) => file.view(VECTORS)?.copy_row(index, out),
        }
        Ok(())
    }

    /// A Gaussian over the vectors, of this rank.
    ///
    /// # Errors
    /// The rank is 0 or more than the vectors span.
    pub fn gaussian(&self, rank: usize) -> Result<Gaussian> {
        Gaussian::new(self, rank)
    }
}

/// A normal distribution along the main axes of a bank. Styles lie on a thin manifold: noise in every dimension of z by
/// itself is not a style, but the first twenty axes hold nine tenths of the variance of real ones (style augmentation,
/// Jackson et al. 2019).
#[derive(Clone, Debug, PartialEq)]
pub struct Gaussian {
    mean: Vec<f32>,
    /// `[rank, dim]`, each of the length of its standard deviation.
    axes: Vec<f32>,
    space: String,
}

impl Gaussian {
    fn new(bank: &Bank, rank: usize) -> Result<Self> {
        let (n, dim) = (bank.len, bank.dim);
        let most = dim.min(n - 1);
        if rank == 0 || rank > most {
            return Err(Error::value("rank", rank, format!("{n} style vectors of {dim} span ranks from 1 to {most}")));
        }
        let vectors = bank.vectors();
        let mut mean = vec![0.0; dim];
        for row in vectors.chunks_exact(dim) {
            row.iter().zip(&mut mean).for_each(|(x, mean)| *mean += f64::from(*x) / n as f64);
        }
        let centred = |i: usize, j: usize| f64::from(vectors[i * dim + j]) - mean[j];
        // Products of vectors have the eigenvalues that products of dimensions have; those are taken that are fewer.
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
            // An axis has no sign of its own: its largest number is positive.
            let largest = axis.iter().copied().max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap_or_default();
            let scale = ((n - 1) as f64).sqrt().recip().copysign(largest);
            axes.extend(axis.iter().map(|x| (x * scale) as f32));
        }
        let mean = mean.into_iter().map(|x| x as f32).collect();
        Ok(Self { mean, axes, space: bank.space.clone() })
    }

    /// A Gaussian from its mean and its axes, `[rank, dim]`, each as long as its standard deviation.
    ///
    /// # Errors
    /// Axes that are not of the mean's length, or none; numbers that are not finite.
    pub fn from_parts(mean: Vec<f32>, axes: Vec<f32>, space: &str) -> Result<Self> {
        if mean.is_empty() || axes.is_empty() || !axes.len().is_multiple_of(mean.len()) {
            let got = format!("{} numbers for a mean of {}", axes.len(), mean.len());
            return Err(Error::shape("axes", "(rank, dim), rank and dim at least 1", got));
        }
        if let Some(x) = mean.iter().chain(&axes).find(|x| !x.is_finite()) {
            return Err(Error::value("mean or axes", x, "finite numbers"));
        }
        Ok(Self { mean, axes, space: space.into() })
    }

    /// The mean style.
    pub fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// `[rank, dim]`, each axis as long as its standard deviation.
    pub fn axes(&self) -> &[f32] {
        &self.axes
    }

    /// How many axes.
    pub fn rank(&self) -> usize {
        self.axes.len() / self.mean.len()
    }

    /// Length of a vector.
    pub fn dim(&self) -> usize {
        self.mean.len()
    }

    /// The id of the predictor that made the vectors.
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

/// The sum of `r r^T` over all rows `r` of this length.
fn products(rows: &[f64], side: usize) -> Result<Vec<f64>> {
    let mut products = memory::zeros::<f64>("dim", memory::count("dim", &[side, side])?)?;
    // So many rows at a time as stay in the cache.
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

/// A standard normal number (Box and Muller).
fn normal(generator: &mut impl Rng) -> f32 {
    let radius = (-2.0 * (1.0 - generator.random::<f64>()).ln()).sqrt();
    (radius * (std::f64::consts::TAU * generator.random::<f64>()).cos()) as f32
}
