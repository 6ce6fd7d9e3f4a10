//! Style banks, and the files that store them. A bank holds the style vectors z of style images (i_s in Algorithm 1), and the
//! id of the vectors' style space.
use super::gaussian::Gaussian;
use crate::error::{Error, Result};
use crate::weights::EMBEDDED_BANK;
use crate::weights::safetensors::{Dtype, File, View, write};
use half::f16;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

const FORMAT: &str = "sassl.bank";
const VECTORS: &str = "vectors";

/// Style vectors of one style space, in memory. Vectors read from a file keep their stored dtype.
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
    /// Creates a bank of style vectors, `[len, dim]`, in the style space with the id `space`. `names`, if given, holds one name
    /// per vector.
    ///
    /// # Errors
    /// There are no vectors, `dim` is 0, the number of values is not a multiple of `dim`, values are not finite, or the number
    /// of names differs from the number of vectors.
    pub fn new(vectors: Vec<f32>, dim: usize, space: &str, names: Option<Vec<String>>) -> Result<Self> {
        if dim == 0 || vectors.is_empty() || !vectors.len().is_multiple_of(dim) {
            let got = format!("{} values for vectors of length {dim}", vectors.len());
            return Err(Error::shape("style vectors", "must have shape (n, dim) with n and dim >= 1", got));
        }
        if let Some(at) = vectors.iter().position(|x| !x.is_finite()) {
            let name = format!("style vectors[{}][{}]", at / dim, at % dim);
            return Err(Error::value(name, vectors[at], "must be finite"));
        }
        let len = vectors.len() / dim;
        if let Some(names) = names.as_ref().filter(|names| names.len() != len) {
            return Err(Error::shape(
                "names",
                format!("must have length {len}, one for each style vector"),
                names.len(),
            ));
        }
        Ok(Self { rows: Rows::Memory(vectors), len, dim, space: space.into(), names })
    }

    /// Returns the bank that ships with the package, in the style space of the model `lite`.
    ///
    /// # Errors
    /// The package is damaged.
    pub fn embedded() -> Result<Self> {
        Self::from_file(File::from_bytes(Cow::Borrowed(EMBEDDED_BANK), Path::new("the embedded style bank"))?)
    }

    /// Reads a bank file into memory; the file may be overwritten or deleted while the bank is in use.
    ///
    /// # Errors
    /// The file cannot be read or is not a bank.
    pub fn load(path: &Path) -> Result<Self> {
        Self::from_file(File::open(path)?)
    }

    pub(super) fn from_file(file: File) -> Result<Self> {
        let wrong = |reason: String| Error::weights(file.origin(), reason);
        let metadata = |key: &str| file.metadata().get(key).map(String::as_str);
        if metadata("format") != Some(FORMAT) {
            let found = metadata("format").unwrap_or("none");
            return Err(wrong(format!(
                "not a style bank (its metadata names the format {found:?}, not {FORMAT:?}); create one with `sassl bank`"
            )));
        }
        if metadata("version") != Some("1") {
            let found = metadata("version").unwrap_or("none");
            return Err(wrong(format!("a bank of version {found}; this version of sassl reads version 1")));
        }
        let space = metadata("space").ok_or_else(|| wrong("a bank without the id of its style space".into()))?;
        let view = file.view(VECTORS)?;
        let &[len, dim] = view.shape else {
            return Err(wrong(format!("its vectors have the shape {:?}, not (n, dim)", view.shape)));
        };
        if len == 0 || dim == 0 {
            return Err(wrong("a bank without style vectors".into()));
        }
        let names: Option<Vec<String>> = metadata("names")
            .map(serde_json::from_str)
            .transpose()
            .map_err(|error| wrong(format!("its names are not a JSON list of strings: {error}")))?;
        if let Some(names) = names.as_ref().filter(|names| names.len() != len) {
            return Err(wrong(format!("{} names for {len} style vectors", names.len())));
        }
        if !view.is_finite() {
            return Err(wrong("a style vector holds a value that is not finite".into()));
        }
        let space = space.to_owned();
        Ok(Self { len, dim, space, names, rows: Rows::File(file) })
    }

    /// Writes the bank atomically, as float16 (rounded) or float32 (exact).
    ///
    /// # Errors
    /// A value is outside the range of `dtype`, or the file cannot be written.
    pub fn save(&self, path: &Path, dtype: Dtype) -> Result<()> {
        let vectors = self.vectors();
        let fits = |&x: &f32| dtype != Dtype::F16 || f16::from_f32(x).is_finite();
        if let Some(at) = vectors.iter().position(|x| !fits(x)) {
            let name = format!("vectors[{}, {}]", at / self.dim, at % self.dim);
            return Err(Error::value(
                name,
                vectors[at],
                "must be in [-65504, 65504], the range of float16; use float32",
            ));
        }
        let mut metadata = BTreeMap::from(
            [("format", FORMAT), ("version", "1"), ("space", &self.space)].map(|(k, v)| (k.to_owned(), v.to_owned())),
        );
        if let Some(names) = &self.names {
            metadata.insert("names".into(), serde_json::json!(names).to_string());
        }
        write(path, &metadata, &[(VECTORS, dtype, &[self.len, self.dim], &vectors)])
    }

    /// Returns the number of vectors.
    #[allow(clippy::len_without_is_empty)] // A bank is never empty.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns the length of a vector.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Returns the id of the style space, which identifies the predictor that computed the vectors.
    pub fn space(&self) -> &str {
        &self.space
    }

    /// Returns one name per vector, e.g. the name of the style image; `None` if the bank has no names.
    pub fn names(&self) -> Option<&[String]> {
        self.names.as_deref()
    }

    /// Returns all vectors, `[len, dim]`.
    pub fn vectors(&self) -> Vec<f32> {
        match &self.rows {
            Rows::Memory(vectors) => vectors.clone(),
            Rows::File(file) => file.view(VECTORS).as_ref().map(View::to_f32).unwrap_or_default(),
        }
    }

    /// Copies vector `index` into `out`.
    ///
    /// # Errors
    /// `index` is out of range.
    ///
    /// # Panics
    /// If `out` is not of length [`Bank::dim`].
    pub fn copy(&self, index: usize, out: &mut [f32]) -> Result<()> {
        if index >= self.len {
            let requirement = format!("must be in [0, {}), the range of the bank's styles", self.len);
            return Err(Error::value("style", index, requirement));
        }
        match &self.rows {
            Rows::Memory(vectors) => out.copy_from_slice(&vectors[index * self.dim..][..self.dim]),
            Rows::File(file) => file.view(VECTORS)?.copy_row(index, out),
        }
        Ok(())
    }

    /// Fits a Gaussian of this rank to the vectors.
    ///
    /// # Errors
    /// The rank is 0 or above `min(dim, len - 1)`, the highest possible rank of the covariance matrix; or there is not enough
    /// memory.
    pub fn gaussian(&self, rank: usize) -> Result<Gaussian> {
        Gaussian::new(self, rank)
    }
}
