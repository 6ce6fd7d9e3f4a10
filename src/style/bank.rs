//! i_s: where styles come from, as vectors z with the id of their space, and files of them.
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

    pub(super) fn from_file(file: File) -> Result<Self> {
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

    /// Writes the bank in float16, or exactly, in float32; atomically.
    ///
    /// # Errors
    /// A number that the type cannot hold; the system refuses.
    pub fn save(&self, path: &Path, dtype: Dtype) -> Result<()> {
        let vectors = self.vectors();
        let fits = |&x: &f32| dtype != Dtype::F16 || f16::from_f32(x).is_finite();
        if let Some(at) = vectors.iter().position(|x| !fits(x)) {
            let name = format!("vectors[{}, {}]", at / self.dim, at % self.dim);
            return Err(Error::value(name, vectors[at], "float16 goes up to 65504; float32 holds it"));
        }
        let mut metadata = BTreeMap::from(
            [("format", FORMAT), ("version", "1"), ("space", &self.space)].map(|(k, v)| (k.to_owned(), v.to_owned())),
        );
        if let Some(names) = &self.names {
            metadata.insert("names".into(), serde_json::json!(names).to_string());
        }
        write(path, &metadata, &[(VECTORS, dtype, &[self.len, self.dim], &vectors)])
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
