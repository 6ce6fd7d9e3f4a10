//! The safetensors format, with tensors in float32, float16 and int64. A file holds the length of the header, a JSON header,
//! and the tensors' bytes.
//!
//! <https://github.com/huggingface/safetensors#format>. Files are read into memory, so later changes on disk have no effect.
use crate::error::{Error, Result};
use crate::files;
use crate::interrupt::poll;
use crate::memory;
use half::f16;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

/// Maximum size of the header in bytes; the headers of valid files are smaller.
const MAX_HEADER: usize = 16 << 20;

/// The stored type of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Dtype {
    /// IEEE half precision.
    F16,
    /// IEEE single precision.
    F32,
    /// 64-bit integers, such as PyTorch's counters.
    I64,
}

impl Dtype {
    /// Returns the size of a value in bytes.
    pub fn size(self) -> usize {
        match self {
            Self::F16 => 2,
            Self::F32 => 4,
            Self::I64 => 8,
        }
    }
}

/// A file in memory, with a checked header.
#[derive(Debug)]
pub struct File {
    origin: PathBuf,
    bytes: Cow<'static, [u8]>,
    metadata: BTreeMap<String, String>,
    tensors: BTreeMap<String, Entry>,
    /// The offset of the first tensor.
    start: usize,
}

/// The entry of a tensor in the header.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    dtype: Dtype,
    shape: Vec<usize>,
    data_offsets: (usize, usize),
}

/// A JSON object with unique keys; a repeated key is an error. If two tensors or metadata entries had the same name, readers
/// might disagree on which one to use.
struct Unique<V>(BTreeMap<String, V>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Unique<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Visit<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Visit<V> {
            type Value = Unique<V>;

            fn expecting(&self, to: &mut fmt::Formatter) -> fmt::Result {
                to.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Unique<V>, A::Error> {
                let mut all = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, V>()? {
                    if all.contains_key(&name) {
                        return Err(A::Error::custom(format!("{name:?} is there twice")));
                    }
                    all.insert(name, value);
                }
                Ok(Unique(all))
            }
        }
        deserializer.deserialize_map(Visit(PhantomData))
    }
}

/// A tensor of a [`File`], without a copy.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The stored type.
    pub dtype: Dtype,
    /// The shape.
    pub shape: &'a [usize],
    /// The values, little endian.
    pub bytes: &'a [u8],
}

impl File {
    /// Reads a file and checks its header.
    ///
    /// # Errors
    /// The file cannot be read, or is invalid.
    pub fn open(path: &Path) -> Result<Self> {
        // Checked before the file is opened: opening a pipe would block until it has a writer.
        let metadata = std::fs::metadata(path).map_err(|error| Error::io(path, error))?;
        if !metadata.is_file() {
            return Err(Error::weights(path, "not a file; give the path of a .safetensors file"));
        }
        if metadata.len() < 8 {
            return Err(Error::weights(path, "too short for a safetensors file; it may be truncated"));
        }
        Self::parse(path, Cow::Owned(read(path, metadata.len())?))
    }

    /// Parses bytes in memory. `origin` is the name of the bytes in errors.
    ///
    /// # Errors
    /// The bytes are invalid.
    pub fn from_bytes(bytes: Cow<'static, [u8]>, origin: &Path) -> Result<Self> {
        Self::parse(origin, bytes)
    }

    fn parse(origin: &Path, bytes: Cow<'static, [u8]>) -> Result<Self> {
        let wrong = |reason: String| Error::weights(origin, reason);
        let all = &bytes[..];
        let Some((length, rest)) = all.split_first_chunk::<8>() else {
            return Err(wrong("too short for a safetensors file; it may be truncated".into()));
        };
        let length = u64::from_le_bytes(*length);
        let header = usize::try_from(length).ok().filter(|&n| n <= MAX_HEADER).and_then(|n| rest.get(..n));
        let Some(header) = header else {
            let (most, size) = (MAX_HEADER.min(rest.len()), all.len());
            return Err(wrong(format!(
                "claims a header of {length} bytes where at most {most} fit in its {size}; it is truncated or not a safetensors file"
            )));
        };
        let Unique(mut entries) = serde_json::from_slice::<Unique<&RawValue>>(header).map_err(|error| {
            wrong(format!("its header is not a JSON object with unique names ({error}); is it a safetensors file?"))
        })?;
        let metadata = entries.remove("__metadata__").map_or("{}", RawValue::get);
        let Unique(metadata) = serde_json::from_str(metadata)
            .map_err(|error| wrong(format!("its metadata is not a map of unique strings: {error}")))?;
        let mut tensors = BTreeMap::new();
        for (name, entry) in entries {
            let entry: Entry = serde_json::from_str(entry.get())
                .map_err(|error| wrong(format!("tensor {name:?}: {error} (only float32 and float16 are supported)")))?;
            tensors.insert(name, entry);
        }
        let start = 8 + header.len();
        check_layout(&tensors, all.len() - start).map_err(wrong)?;
        Ok(Self { origin: origin.into(), metadata, tensors, start, bytes })
    }

    /// Returns the file's path, or the name given to bytes in memory.
    pub fn origin(&self) -> &Path {
        &self.origin
    }

    /// Returns the header's metadata, strings by key.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Returns the names of the tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Returns the tensor `name`.
    ///
    /// # Errors
    /// There is no tensor of this name.
    pub fn view(&self, name: &str) -> Result<View<'_>> {
        let entry =
            self.tensors.get(name).ok_or_else(|| Error::weights(&self.origin, format!("lacks the tensor {name:?}")))?;
        let (from, to) = entry.data_offsets;
        let bytes = &self.bytes[self.start + from..self.start + to];
        Ok(View { dtype: entry.dtype, shape: &entry.shape, bytes })
    }
}

/// Checks that the size of each tensor matches its shape, and that the tensors cover the data without gaps or overlaps.
fn check_layout(tensors: &BTreeMap<String, Entry>, available: usize) -> std::result::Result<(), String> {
    let mut ordered: Vec<_> = tensors.iter().collect();
    ordered.sort_by_key(|(_, entry)| entry.data_offsets);
    let mut end = 0;
    for (name, entry) in ordered {
        let (from, to) = entry.data_offsets;
        let numbers = entry.shape.iter().try_fold(1_usize, |n, &side| n.checked_mul(side));
        let Some(size) = numbers.and_then(|n| n.checked_mul(entry.dtype.size())) else {
            return Err(format!("tensor {name:?} claims the shape {:?}, more than fits into memory", entry.shape));
        };
        if to > available {
            return Err(format!("tensor {name:?} ends at byte {to} of {available}; the file is truncated"));
        }
        if from != end || to.checked_sub(from) != Some(size) {
            return Err(format!(
                "tensor {name:?} of {size} bytes is at {from}..{to}, after one that ends at {end}; \
                 the header contradicts itself"
            ));
        }
        end = to;
    }
    if end != available {
        return Err(format!(
            "{} bytes of data belong to no tensor; its header belongs to another file",
            available - end
        ));
    }
    Ok(())
}

/// Reads a whole file. The file is not memory-mapped, because the process would be killed if another process truncated the
/// file.
fn read(path: &Path, len: u64) -> Result<Vec<u8>> {
    /// Number of bytes read between two checks for Ctrl-C.
    const PART: u64 = 16 << 20;
    let what = path.display().to_string();
    let mut bytes = memory::room(&what, usize::try_from(len).unwrap_or(usize::MAX))?;
    let mut file = std::fs::File::open(path).map_err(|error| Error::io(path, error))?;
    while (bytes.len() as u64) < len {
        let part = PART.min(len - bytes.len() as u64);
        let got = Read::by_ref(&mut file).take(part).read_to_end(&mut bytes).map_err(|error| Error::io(path, error))?;
        if got == 0 {
            return Err(Error::weights(path, "it was truncated while it was read; write it again"));
        }
        poll();
    }
    Ok(bytes)
}

impl View<'_> {
    /// Returns `true` if all values are finite.
    pub fn is_finite(&self) -> bool {
        match self.dtype {
            Dtype::F32 => self.bytes.as_chunks::<4>().0.iter().all(|&x| f32::from_le_bytes(x).is_finite()),
            Dtype::F16 => self.bytes.as_chunks::<2>().0.iter().all(|&x| f16::from_le_bytes(x).is_finite()),
            Dtype::I64 => true,
        }
    }

    /// Converts all values to float32.
    pub fn to_f32(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.bytes.len() / self.dtype.size()];
        self.copy(self.bytes, &mut out);
        out
    }

    /// Converts row `index` along the first axis to float32. `out` must have the length of a row.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn copy_row(&self, index: usize, out: &mut [f32]) {
        let size = out.len() * self.dtype.size();
        self.copy(&self.bytes[index * size..(index + 1) * size], out);
    }

    fn copy(&self, bytes: &[u8], out: &mut [f32]) {
        match self.dtype {
            Dtype::F32 => {
                let numbers = bytes.as_chunks::<4>().0;
                out.iter_mut().zip(numbers).for_each(|(out, &x)| *out = f32::from_le_bytes(x));
            }
            Dtype::F16 => {
                let numbers = bytes.as_chunks::<2>().0;
                out.iter_mut().zip(numbers).for_each(|(out, &x)| *out = f16::from_le_bytes(x).to_f32());
            }
            Dtype::I64 => {
                let numbers = bytes.as_chunks::<8>().0;
                out.iter_mut().zip(numbers).for_each(|(out, &x)| *out = i64::from_le_bytes(x) as f32);
            }
        }
    }
}

/// A tensor to write: name, stored type, shape, values.
pub type Source<'a> = (&'a str, Dtype, &'a [usize], &'a [f32]);

/// Writes a file atomically.
///
/// # Errors
/// The file cannot be written.
///
/// # Panics
/// If a shape does not match its values.
pub fn write(path: &Path, metadata: &BTreeMap<String, String>, tensors: &[Source]) -> Result<()> {
    let mut header = serde_json::Map::from_iter([("__metadata__".to_owned(), serde_json::json!(metadata))]);
    let mut data = vec![];
    for &(name, dtype, shape, numbers) in tensors {
        assert_eq!(shape.iter().product::<usize>(), numbers.len(), "{name}");
        let from = data.len();
        data.extend(encode(dtype, numbers));
        let entry = Entry { dtype, shape: shape.to_vec(), data_offsets: (from, data.len()) };
        header.insert(name.into(), serde_json::json!(entry));
    }
    let mut header = serde_json::Value::Object(header).to_string().into_bytes();
    // The data must be aligned to 8 bytes, as the format requires.
    header.resize(header.len().next_multiple_of(8), b' ');
    let length = (header.len() as u64).to_le_bytes();
    files::write(path, &[&length, &header, &data])
}

/// Encodes values as stored in a file.
pub(super) fn encode(dtype: Dtype, numbers: &[f32]) -> Vec<u8> {
    match dtype {
        Dtype::F32 => numbers.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Dtype::F16 => numbers.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect(),
        Dtype::I64 => numbers.iter().flat_map(|&x| (x as i64).to_le_bytes()).collect(),
    }
}
