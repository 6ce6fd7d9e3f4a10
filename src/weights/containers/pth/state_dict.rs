//! The state dict of a model in a `.pth` file. Tensors are found by the model's own keys, even if the state dict was saved
//! inside other dicts or wrappers.
use super::PthFile;
use crate::error::{Error, Result};
use crate::weights::Tensor;
use std::collections::BTreeMap;
use std::path::Path;

/// Prefixes that are stripped from names: the keys of dicts that hold a state dict, and the prefix that `DataParallel` adds to
/// every key.
const WRAPPERS: [&str; 5] = ["state_dict_stylepredictor.", "state_dict_ghiasi.", "state_dict.", "model.", "module."];

/// The tensors of a model.
#[derive(Debug)]
pub struct StateDict {
    file: PthFile,
    /// The names in the file, by the model's keys.
    names: BTreeMap<String, String>,
}

impl StateDict {
    /// Reads a file.
    ///
    /// # Errors
    /// The errors of [`PthFile::open`]; or two tensors have the same key after the wrappers are stripped.
    pub fn open(path: &Path) -> Result<Self> {
        Self::new(PthFile::open(path)?)
    }

    /// Returns the state dict in an open file.
    ///
    /// # Errors
    /// Two tensors have the same key after the wrappers are stripped.
    pub fn new(file: PthFile) -> Result<Self> {
        let mut names = BTreeMap::new();
        for name in file.names() {
            let mut key = name;
            while let Some(rest) = WRAPPERS.iter().find_map(|wrapper| key.strip_prefix(wrapper)) {
                key = rest;
            }
            if let Some(other) = names.insert(key.to_owned(), name.to_owned()) {
                let reason = format!("holds {key:?} twice, as {other:?} and as {name:?}; save one state dict alone");
                return Err(Error::weights(file.origin(), reason));
            }
        }
        Ok(Self { file, names })
    }

    /// Returns the file's path, or the name given to bytes in memory.
    pub fn origin(&self) -> &Path {
        self.file.origin()
    }

    /// Returns `true` if there is a floating-point tensor with this key.
    pub fn has(&self, key: &str) -> bool {
        self.names.contains_key(key)
    }

    /// Returns a tensor as float32.
    ///
    /// # Errors
    /// There is no tensor with this key, or it has another shape.
    pub fn tensor(&self, key: &str, shape: &[usize]) -> Result<Tensor> {
        let wrong = |reason: String| Error::weights(self.origin(), reason);
        let name = self.names.get(key).ok_or_else(|| {
            wrong(format!("lacks the key {key:?}; it is another network, or incomplete: give the whole state dict"))
        })?;
        let tensor = self.file.tensor(name)?;
        match tensor.shape == shape {
            true => Ok(tensor),
            false => Err(wrong(format!("{name:?} has shape {:?}, not {shape:?}; it is another network", tensor.shape))),
        }
    }
}
