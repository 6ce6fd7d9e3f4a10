//! A reader of TensorFlow's tensor bundles: checkpoints, and the `variables/` of SavedModels. An index, `PREFIX.index`, holds
//! the location of each tensor in the data files, such as `PREFIX.data-00000-of-00001`.
//!
//! Source: tensorflow `core/util/tensor_bundle/tensor_bundle.cc` and `core/protobuf/tensor_bundle.proto`. Tensors that are not
//! needed are skipped. A training checkpoint therefore needs memory only for the requested tensors.
use super::super::{Tensor, Tensors};
use super::bundle_files::locate;
use super::members::Members;
use super::numbers::Stored;
use super::protobuf::{Damaged, Value, fields, take, varint};
use super::stream::Stream;
use super::table::{self, masked};
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::path::Path;

/// Maximum size of an index in bytes; valid ones are smaller.
const MOST_INDEX: u64 = 16 << 20;
/// Maximum size in bytes of all tensors that are read together; InceptionV3 and the transformer take 44 MB.
const MOST_BYTES: u64 = 256 << 20;
/// Maximum size of a string tensor in bytes.
const MOST_TEXT: u64 = 16 << 20;

/// An open bundle. The index is in memory; data files are read on demand.
#[derive(Debug)]
pub struct Bundle {
    members: Members,
    prefix: String,
    shards: u64,
    entries: BTreeMap<Vec<u8>, Entry>,
}

/// The index entry of a tensor.
#[derive(Debug, Default)]
struct Entry {
    dtype: u64,
    shape: Vec<u64>,
    shard: u64,
    offset: u64,
    size: u64,
    crc: u32,
    sliced: bool,
}

/// The code of the string type in tensorflow `core/framework/types.proto`.
const STRING: u64 = 7;

impl Bundle {
    /// Opens a bundle. The path may be the bundle's prefix (which is not itself a file), one of the bundle's files, the folder
    /// or the archive that holds these files, or a SavedModel.
    ///
    /// # Errors
    /// There is no bundle, or more than one; or its index is damaged.
    pub fn open(path: &Path) -> Result<Self> {
        let (members, prefix) = locate(path)?;
        let index = format!("{prefix}.index");
        let bytes = members.read(&index, MOST_INDEX)?;
        let wrong = |reason: &str| Error::weights(members.origin(), format!("{index} {reason}"));
        let mut shards = None;
        let mut entries = BTreeMap::new();
        for (key, value) in table::read(&bytes).map_err(|reason| wrong(&reason))? {
            let damaged = |Damaged| wrong(&format!("is damaged: its entry {:?} cannot be read", lossy(&key)));
            if key.is_empty() {
                let (count, big_endian) = header(value).map_err(damaged)?;
                if big_endian {
                    return Err(wrong(
                        "is from a big-endian machine; load the checkpoint there and export it as TFLite",
                    ));
                }
                shards = Some(count);
            } else {
                let entry = Entry::read(value).map_err(damaged)?;
                entries.insert(key, entry);
            }
        }
        let shards = shards.ok_or_else(|| wrong("has no header; is it the index of a checkpoint?"))?;
        Ok(Self { members, prefix, shards, entries })
    }

    /// Returns the path of the bundle, as used in errors.
    pub fn origin(&self) -> &Path {
        self.members.origin()
    }

    /// Returns the keys of all tensors, sorted. Binary keys, under which slices of tensors are stored, are left out.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().filter(|key| !key.contains(&0)).filter_map(|key| std::str::from_utf8(key).ok())
    }

    /// Reads tensors as float32; `names` maps the key of each tensor to the tensor's name in the result.
    ///
    /// # Errors
    /// A tensor is missing, of a type other than float64, float32, float16 or bfloat16, stored in slices, or damaged; or the
    /// tensors are too large in total.
    pub fn read(&self, names: &BTreeMap<String, String>) -> Result<Tensors> {
        let mut chosen = vec![];
        for (key, name) in names {
            let entry = self.entries.get(key.as_bytes());
            let entry = entry.ok_or_else(|| self.wrong(&format!("lacks the variable {name:?}")))?;
            let layout =
                entry.layout().map_err(|reason| self.wrong(&format!("holds the variable {name:?} {reason}")))?;
            chosen.push((entry, (name, layout)));
        }
        let mut tensors = Tensors::new();
        self.visit(chosen, |entry, (name, (stored, shape)), stream| {
            let bytes = stream.bytes(entry.size as usize)?;
            if masked(crc32c::crc32c(&bytes)) != entry.crc {
                return Err(stream.wrong(&format!("is damaged: the checksum of {name:?} is wrong; fetch it again")));
            }
            tensors.insert(name.clone(), Tensor { shape, data: stored.to_f32(name, &bytes)? });
            Ok(())
        })?;
        Ok(tensors)
    }

    /// Returns the bytes of the string in a scalar tensor, or `None` if there is no tensor with this key.
    ///
    /// # Errors
    /// The tensor is not a scalar string, is too large, or is damaged.
    pub fn string(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let Some(entry) = self.entries.get(key.as_bytes()) else { return Ok(None) };
        if entry.dtype != STRING || !entry.shape.is_empty() || entry.size > MOST_TEXT {
            return Err(self.wrong(&format!("holds {key:?}, which should be one string of at most {MOST_TEXT} bytes")));
        }
        let mut text = vec![];
        self.visit(vec![(entry, ())], |entry, (), stream| {
            let bytes = stream.bytes(entry.size as usize)?;
            let whole = unpacked(&bytes, entry.crc);
            whole
                .map_err(|Damaged| stream.wrong(&format!("is damaged: the checksum of {key:?} is wrong")))?
                .clone_into(&mut text);
            Ok(())
        })?;
        Ok(Some(text))
    }

    /// Visits the chosen tensors, each with its associated value, in storage order. `visitor` is called with the stream at the
    /// first byte of the tensor.
    fn visit<'a, T>(
        &self,
        chosen: Vec<(&'a Entry, T)>,
        mut visitor: impl FnMut(&Entry, T, &mut Stream) -> Result<()>,
    ) -> Result<()> {
        let mut total = 0_u64;
        let mut files: BTreeMap<String, Vec<(&'a Entry, T)>> = BTreeMap::new();
        for (entry, with) in chosen {
            let file = format!("{}.data-{:05}-of-{:05}", self.prefix, entry.shard, self.shards);
            let Some(size) = self.members.size(&file) else {
                return Err(self
                    .wrong(&format!("lacks {file}, which its index refers to; put it beside {}.index", self.prefix)));
            };
            if entry.offset.checked_add(entry.size).is_none_or(|end| end > size) {
                return Err(self.wrong(&format!(
                    "has {size} bytes in {file}, where its index expects {} at byte {}; the file is truncated or belongs to another checkpoint",
                    entry.size, entry.offset
                )));
            }
            total = total.saturating_add(entry.size);
            if total > MOST_BYTES {
                return Err(
                    self.wrong(&format!("holds more than {MOST_BYTES} bytes of weights, too many for a style network"))
                );
            }
            files.entry(file).or_default().push((entry, with));
        }
        files.values_mut().for_each(|list| list.sort_by_key(|(entry, _)| (entry.offset, entry.size)));
        let names: Vec<String> = files.keys().cloned().collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.members.visit(&names, |name, stream| {
            files.remove(name).into_iter().flatten().try_for_each(|(entry, with)| {
                stream.skip_to(entry.offset)?;
                visitor(entry, with, stream)
            })
        })
    }

    fn wrong(&self, reason: &str) -> Error {
        Error::weights(self.origin(), reason)
    }
}

impl Entry {
    fn read(value: &[u8]) -> std::result::Result<Self, Damaged> {
        let mut entry = Self::default();
        for field in fields(value) {
            match field? {
                (1, dtype) => entry.dtype = dtype.varint()?,
                (2, shape) => entry.shape = sides(shape.bytes()?)?,
                (3, shard) => entry.shard = shard.varint()?,
                (4, offset) => entry.offset = offset.varint()?,
                (5, size) => entry.size = size.varint()?,
                (6, Value::Fixed32(crc)) => entry.crc = crc,
                (6, _) => return Err(Damaged),
                (7, _) => entry.sliced = true,
                _ => {}
            }
        }
        Ok(entry)
    }

    /// Returns the type and shape of the tensor, after a check that they match the tensor's size in bytes. The error states the
    /// reason for a failure.
    fn layout(&self) -> std::result::Result<(Stored, Vec<usize>), String> {
        if self.sliced {
            return Err(
                "in slices, as stored by a partitioner; load the checkpoint and save it again without one".into()
            );
        }
        // The codes of types are those in `core/framework/types.proto`.
        let stored = match self.dtype {
            1 => Stored::F32,
            2 => Stored::F64,
            14 => Stored::Bf16,
            19 => Stored::F16,
            other => {
                let name = match other {
                    3 => "int32",
                    STRING => "string",
                    9 => "int64",
                    _ => "an unknown type",
                };
                return Err(format!("of {name} ({other}), where weights are float32; is it a style network?"));
            }
        };
        let bytes = self.shape.iter().try_fold(stored.size(), |n, &side| n.checked_mul(side));
        if bytes != Some(self.size) {
            return Err(format!("with {} bytes for the shape {:?}; the index is damaged", self.size, self.shape));
        }
        Ok((stored, self.shape.iter().map(|&side| side as usize).collect()))
    }
}

/// Reads the header of an index: returns the number of data files, and `true` if values are big-endian.
fn header(value: &[u8]) -> std::result::Result<(u64, bool), Damaged> {
    let (mut shards, mut big_endian) = (0, false);
    for field in fields(value) {
        match field? {
            (1, count) => shards = count.varint()?,
            (2, endianness) => big_endian = endianness.varint()? != 0,
            _ => {}
        }
    }
    Ok((shards, big_endian))
}

/// Returns the dimensions in a `TensorShapeProto`.
fn sides(shape: &[u8]) -> std::result::Result<Vec<u64>, Damaged> {
    let mut sides = vec![];
    for field in fields(shape) {
        if let (2, dim) = field? {
            let mut side = 0;
            for field in fields(dim.bytes()?) {
                if let (1, size) = field? {
                    side = size.varint()?;
                }
            }
            sides.push(side);
        }
    }
    Ok(sides)
}

/// Extracts the string from the bytes of a scalar tensor: the length as a varint, a checksum of the length, then the string.
/// Checks this checksum, and `crc`, the checksum of the whole tensor.
fn unpacked(mut bytes: &[u8], crc: u32) -> std::result::Result<&[u8], Damaged> {
    let length = varint(&mut bytes)?;
    let sum = take(&mut bytes, 4)?;
    // The checksum of a length is that of four bytes, and of eight only for lengths above 4 GB.
    let lengths = crc32c::crc32c(&u32::try_from(length).map_err(|_| Damaged)?.to_le_bytes());
    let whole = crc32c::crc32c_append(crc32c::crc32c_append(lengths, sum), bytes);
    let fits = bytes.len() as u64 == length && sum == masked(lengths).to_le_bytes() && masked(whole) == crc;
    if fits { Ok(bytes) } else { Err(Damaged) }
}

fn lossy(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::table::tests::{number, table};
    use super::{Bundle, masked};
    use std::collections::BTreeMap;
    use std::fs;

    /// A field of a message: an integer, or bytes.
    pub(in super::super) fn field(tag: u8, bytes: &[u8]) -> Vec<u8> {
        let mut field = vec![tag << 3 | 2];
        number(bytes.len(), &mut field);
        field.extend_from_slice(bytes);
        field
    }

    fn value(tag: u8, n: usize, to: &mut Vec<u8>) {
        to.push(tag << 3);
        number(n, to);
    }

    /// An entry of the index.
    pub(in super::super) fn entry(dtype: usize, shape: &[usize], place: (usize, usize, usize), crc: u32) -> Vec<u8> {
        let mut entry = vec![];
        value(1, dtype, &mut entry);
        let dims = shape.iter().flat_map(|&side| {
            let mut dim = vec![];
            value(1, side, &mut dim);
            field(2, &dim)
        });
        entry.extend(field(2, &dims.collect::<Vec<u8>>()));
        let (shard, offset, size) = place;
        [(3, shard), (4, offset), (5, size)].into_iter().for_each(|(tag, n)| value(tag, n, &mut entry));
        entry.push(6 << 3 | 5);
        entry.extend_from_slice(&masked(crc).to_le_bytes());
        entry
    }

    /// Writes a bundle of one shard with these `data`.
    pub(in super::super) fn write(entries: &[(&str, Vec<u8>)], header: &[u8], data: &[u8]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let all = [("", header.to_vec())].into_iter().chain(entries.iter().cloned());
        let all: Vec<_> = all.map(|(key, value)| (key.as_bytes().to_vec(), value)).collect();
        fs::write(folder.path().join("m.index"), table(&all, 0)).unwrap();
        fs::write(folder.path().join("m.data-00000-of-00001"), data).unwrap();
        folder
    }

    pub(in super::super) const ONE_SHARD: [u8; 2] = [8, 1];

    fn names(names: &[&str]) -> BTreeMap<String, String> {
        names.iter().map(|&name| (name.to_owned(), name.to_owned())).collect()
    }

    #[test]
    fn tensors_are_read_and_foreign_ones_passed_over() {
        let data: Vec<u8> = [1.0_f32, 2.0, 3.0, 4.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        let crc = crc32c::crc32c(&data[8..]);
        // The first is of an unsupported type, with a wrong checksum.
        let entries = [("a", entry(9, &[1], (0, 0, 8), 0)), ("b", entry(1, &[2, 1], (0, 8, 8), crc))];
        let folder = write(&entries, &ONE_SHARD, &data);
        let bundle = Bundle::open(folder.path()).unwrap();
        assert_eq!(bundle.keys().collect::<Vec<_>>(), ["a", "b"]);
        let read = bundle.read(&names(&["b"])).unwrap();
        assert_eq!((&read["b"].shape[..], &read["b"].data[..]), (&[2, 1][..], &[3.0, 4.0][..]));
        let told = bundle.read(&names(&["a"])).unwrap_err().to_string();
        assert!(told.contains("\"a\" of int64"), "{told}");
        assert!(bundle.read(&names(&["c"])).unwrap_err().to_string().contains("lacks the variable \"c\""));
        fs::remove_file(folder.path().join("m.data-00000-of-00001")).unwrap();
        let told = Bundle::open(folder.path()).unwrap().read(&names(&["b"])).unwrap_err().to_string();
        assert!(told.contains("lacks m.data-00000-of-00001"), "{told}");
    }

    #[test]
    fn entries_that_lie_are_errors() {
        let data = [0; 16];
        let crc = crc32c::crc32c(&data[..8]);
        let huge = 1 << 62;
        for (entry, words) in [
            (entry(1, &[2], (0, 0, 8), crc ^ 1), "checksum of \"b\" is wrong"),
            (entry(1, &[3], (0, 0, 8), crc), "8 bytes for the shape [3]"),
            (entry(1, &[huge, huge], (0, 0, 8), crc), "for the shape"),
            (entry(1, &[2], (0, 9, 8), crc), "where its index expects 8 at byte 9"),
            (entry(1, &[huge], (0, 0, huge << 2), crc), "for the shape"),
            (entry(1, &[huge >> 2], (0, huge, huge), crc), "where its index expects"),
            (entry(1, &[2], (7, 0, 8), crc), "lacks m.data-00007-of-00001"),
            ([entry(1, &[2], (0, 0, 0), 0), field(7, b"")].concat(), "in slices"),
        ] {
            let folder = write(&[("b", entry)], &ONE_SHARD, &data);
            let told = Bundle::open(folder.path()).unwrap().read(&names(&["b"])).unwrap_err().to_string();
            assert!(told.contains(words), "{told}");
        }
        let twice = [("b", entry(1, &[2], (0, 0, 8), crc)), ("c", entry(1, &[2], (0, 4, 8), crc))];
        let folder = write(&twice, &ONE_SHARD, &data);
        let told = Bundle::open(folder.path()).unwrap().read(&names(&["b", "c"])).unwrap_err().to_string();
        assert!(told.contains("overlapping entries"), "{told}");
        let folder = write(&[], &[8, 1, 16, 1], &data);
        assert!(Bundle::open(folder.path()).unwrap_err().to_string().contains("big-endian"));
    }

    #[test]
    fn changed_entries_never_panic() {
        let honest = entry(1, &[2], (0, 0, 8), crc32c::crc32c(&[0; 8]));
        for at in 0..honest.len() {
            for bits in [1, 0x10, 0x80, 0xFF] {
                let mut changed = honest.clone();
                changed[at] ^= bits;
                let folder = write(&[("b", changed)], &ONE_SHARD, &[0; 16]);
                let _ = Bundle::open(folder.path()).and_then(|bundle| bundle.read(&names(&["b"])));
            }
        }
    }
}
