//! A reader of PyTorch's `.pth` files, zip and legacy. It returns the floating-point tensors in a file by name, without running
//! any code in the file.
//!
//! <https://github.com/pytorch/pytorch/blob/main/torch/serialization.py>. The names are the keys of the saved dict; the keys of
//! nested dicts are joined by dots. Files are read into memory, so later changes on disk have no effect.
mod kind;
mod legacy;
mod opcode;
mod pickle;
mod rebuild;
mod state_dict;
mod strided;
mod value;
mod zip;

use crate::error::{Error, Result};
use crate::interrupt::poll;
use crate::memory;
use crate::weights::{Tensor, Tensors};
use kind::Form;
use pickle::Pickle;
use std::collections::BTreeMap;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use strided::Placed;
use value::{Object, Value};

pub use state_dict::StateDict;

/// Maximum file size in bytes; VGG-19's convolutions in float32 take 80 MB.
const MAX_SIZE: u64 = 256 << 20;
/// Maximum number of entries of all dicts together.
const MAX_ENTRIES: usize = 1 << 16;
/// Maximum length of a tensor's name in bytes, including dots.
const MAX_NAME: usize = 256;

/// The byte range of each storage in the file, by the storage's key.
type Storages<'a> = BTreeMap<&'a str, Range<usize>>;

/// A `.pth` file in memory. The pickled object has been checked, and the tensors have been located.
#[derive(Debug)]
pub struct PthFile {
    origin: PathBuf,
    bytes: Vec<u8>,
    tensors: BTreeMap<String, Placed>,
}

/// Reads floating-point tensors as float32. A tensor is read if `wanted` returns `true` for its name.
///
/// # Errors
/// The file cannot be read, is not a `.pth` file, holds code, or is damaged.
pub fn read(path: &Path, wanted: impl Fn(&str) -> bool) -> Result<Tensors> {
    let file = PthFile::open(path)?;
    let names = file.names().filter(|name| wanted(name));
    names.map(|name| Ok((name.to_owned(), file.tensor(name)?))).collect()
}

impl PthFile {
    /// Reads a file and locates its tensors.
    ///
    /// # Errors
    /// The file cannot be read, is not a `.pth` file, holds code, or is damaged.
    pub fn open(path: &Path) -> Result<Self> {
        Self::from_bytes(whole(path)?, path)
    }

    /// Parses bytes in memory. `origin` is the name of the bytes in errors.
    ///
    /// # Errors
    /// The bytes are not a `.pth` file, hold code, or are damaged.
    pub fn from_bytes(bytes: Vec<u8>, origin: &Path) -> Result<Self> {
        let tensors = tensors(&bytes).map_err(|reason| Error::weights(origin, reason))?;
        Ok(Self { origin: origin.into(), bytes, tensors })
    }

    /// Returns the file's path, or the name given to bytes in memory.
    pub fn origin(&self) -> &Path {
        &self.origin
    }

    /// Returns the names of the file's floating-point tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Returns a tensor as float32.
    ///
    /// # Errors
    /// There is no floating-point tensor of this name, or not enough memory.
    pub fn tensor(&self, name: &str) -> Result<Tensor> {
        poll();
        let placed = self.tensors.get(name);
        let placed = placed.ok_or_else(|| Error::weights(&self.origin, format!("lacks the tensor {name:?}")))?;
        Ok(Tensor { shape: placed.shape.clone(), data: placed.read(&self.bytes, &self.origin)? })
    }
}

/// Reads the bytes of a file.
fn whole(path: &Path) -> Result<Vec<u8>> {
    // Checked before the file is opened: opening a pipe would block until it has a writer.
    let metadata = std::fs::metadata(path).map_err(|error| Error::io(path, error))?;
    let len = metadata.len();
    if !metadata.is_file() {
        return Err(Error::weights(path, "not a file; give the path of a .pth file"));
    }
    if len > MAX_SIZE {
        return Err(Error::weights(path, format!("{len} bytes, too large for a style network of at most {MAX_SIZE}")));
    }
    let room = usize::try_from(len).unwrap_or(usize::MAX);
    let mut bytes = memory::room(&path.display().to_string(), room)?;
    let file = std::fs::File::open(path).map_err(|error| Error::io(path, error))?;
    file.take(len).read_to_end(&mut bytes).map_err(|error| Error::io(path, error))?;
    match bytes.len() < room {
        true => Err(Error::weights(path, "it was truncated while it was read; write it again")),
        false => Ok(bytes),
    }
}

/// Returns the floating-point tensors of a file, with the location of the tensors' values. The error states the reason for a
/// failure.
fn tensors(bytes: &[u8]) -> std::result::Result<BTreeMap<String, Placed>, String> {
    let (pickle, storages) = match Form::find(bytes)? {
        Form::Zip => zip::read(bytes)?,
        Form::Legacy => legacy::read(bytes)?,
    };
    let mut found = BTreeMap::new();
    // The number of values that tensors may still claim: it bounds the memory for tensors that share a storage or repeat its
    // values.
    let mut left = bytes.len();
    for (name, value) in named(&pickle)? {
        let Some(Object::Tensor(tensor)) = pickle.objects.get(value) else { continue };
        if !tensor.storage.scalar.is_float() {
            continue;
        }
        let key = tensor.storage.key;
        let place = storages.get(key).ok_or_else(|| format!("lacks the storage {key:?} of {name:?}; it is damaged"))?;
        let placed = tensor.placed(place).map_err(|reason| format!("tensor {name:?}: {reason}"))?;
        left = left.checked_sub(tensor.numbers).ok_or_else(|| {
            format!("tensor {name:?} and those before it share their values; save clones of them (tensor.clone())")
        })?;
        if found.contains_key(&name) {
            return Err(format!("holds the name {name:?} twice; rename one of the two"));
        }
        found.insert(name, placed);
    }
    match found.is_empty() {
        true => {
            Err("holds no floating-point tensor by name; save a dict with torch.save(model.state_dict(), path)".into())
        }
        false => Ok(found),
    }
}

/// Returns the tensors in the nested dicts of a pickle. The name of a tensor consists of the keys on the path to the tensor,
/// joined by dots. Tensors in lists are left out, because they have no name.
fn named<'a>(pickle: &Pickle<'a>) -> std::result::Result<Vec<(String, Value<'a>)>, String> {
    if pickle.objects.items(pickle.root).is_none() {
        return Err("does not hold a dict; save one with torch.save(model.state_dict(), path)".into());
    }
    let (mut found, mut dicts, mut entries) = (vec![], vec![(String::new(), pickle.root)], 0);
    while let Some((prefix, dict)) = dicts.pop() {
        let items = pickle.objects.items(dict).unwrap_or_default();
        entries += items.len();
        if entries > MAX_ENTRIES {
            return Err(format!("its dicts have more than {MAX_ENTRIES} entries; save the state dict alone"));
        }
        for &(key, value) in items {
            let name = match key {
                Value::Text(key) if prefix.len() + key.len() <= MAX_NAME => format!("{prefix}{key}"),
                Value::Int(key) if prefix.len() <= MAX_NAME => format!("{prefix}{key}"),
                Value::Text(_) | Value::Int(_) => {
                    return Err(format!(
                        "the keys after {prefix:.64?} form names of more than {MAX_NAME} bytes; a dict may hold itself, so save \
                         the state dict alone"
                    ));
                }
                _ => {
                    return Err(
                        "a dict has a key that is neither text nor an integer; save the state dict alone".into()
                    );
                }
            };
            match pickle.objects.get(value) {
                Some(Object::Dict { .. }) => dicts.push((format!("{name}."), value)),
                Some(Object::Tensor(_)) => found.push((name, value)),
                _ => {}
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
