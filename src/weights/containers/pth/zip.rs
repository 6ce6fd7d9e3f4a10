//! The zip form of a `.pth` file, written by torch 1.6 and later: uncompressed entries in a single folder of any name.
//!
//! `data.pkl` holds the pickled object, `data/KEY` the bytes of the storage with this key, and `byteorder` the byte order
//! ("little"; absent before torch 2.1). The start of an entry's bytes is computed from the entry's local header. torch pads
//! this header so that the entry's bytes start at a multiple of 64.
use super::Storages;
use super::pickle::Pickle;
use crate::interrupt::poll;
use std::io::Cursor;
use std::ops::Range;
use zip::{CompressionMethod, ZipArchive};

type Result<T> = std::result::Result<T, String>;

/// The first bytes of a zip archive.
pub(super) const MAGIC: &[u8] = b"PK\x03\x04";

/// The signature of each entry in the archive's central directory.
const DIRECTORY_MARK: &[u8; 4] = b"PK\x01\x02";
/// Maximum number of entries; torch's archives have fewer. In memory, the directory takes about ten times its size in the file.
const MAX_ENTRIES: usize = 1 << 16;

/// Reads the object, and the location of each storage's values. The error states the reason for a failure.
pub(super) fn read(bytes: &[u8]) -> Result<(Pickle<'_>, Storages<'_>)> {
    let marks = bytes.windows(DIRECTORY_MARK.len()).filter(|bytes| bytes == DIRECTORY_MARK).count();
    if marks > MAX_ENTRIES {
        return Err(format!("is a zip archive of {marks} entries, more than {MAX_ENTRIES}; save the state dict alone"));
    }
    let entries = ZipArchive::new(Cursor::new(bytes)).map_err(|error| {
        format!("starts like a zip archive, but is incomplete ({error}); it is truncated or damaged, so copy it again")
    })?;
    let folder = folder(&entries)?;
    let mut archive = Archive { entries, bytes, unread: bytes.len() };
    if let Some(order) = archive.entry(&format!("{folder}/byteorder"))?
        && &bytes[order] != b"little"
    {
        return Err("was saved on a big-endian machine; load it with torch on another, and save it again".into());
    }
    let pickle = archive.entry(&format!("{folder}/data.pkl"))?.ok_or("lacks its data.pkl; it is damaged")?;
    let pickle = Pickle::read(&bytes[pickle])?;
    let mut storages = Storages::new();
    for storage in pickle.objects.storages() {
        if !storages.contains_key(storage.key) {
            poll();
            let name = format!("{folder}/data/{}", storage.key);
            let place = archive.entry(&name)?;
            storages.insert(storage.key, place.ok_or_else(|| format!("lacks its entry {name:?}; it is damaged"))?);
        }
    }
    Ok((pickle, storages))
}

/// Returns the folder that holds `data.pkl`.
fn folder(entries: &ZipArchive<Cursor<&[u8]>>) -> Result<String> {
    let mut folders = vec![];
    for name in entries.file_names_raw() {
        let mut parts = name.splitn(3, |&byte| byte == b'/');
        match (parts.next(), parts.next(), parts.next()) {
            (Some(folder), Some(b"data.pkl"), None) => folders.push(folder),
            (_, Some(b"code"), Some(_)) | (_, Some(b"constants.pkl"), None) => {
                return Err("is a TorchScript archive, which holds code; save its tensors with \
                            torch.save(torch.jit.load(path).state_dict(), other_path)"
                    .into());
            }
            _ => {}
        }
    }
    match *folders {
        [folder] => String::from_utf8(folder.to_vec()).map_err(|_| "the name of its folder is not UTF-8".into()),
        [] => {
            Err("is a zip archive without a data.pkl, so not written by torch.save; give the .pth file itself".into())
        }
        _ => {
            Err(format!("is a zip archive with {} data.pkl where torch.save writes one; save it again", folders.len()))
        }
    }
}

struct Archive<'a> {
    entries: ZipArchive<Cursor<&'a [u8]>>,
    bytes: &'a [u8],
    /// The number of bytes that further entries may have together. In valid archives, entries do not overlap.
    unread: usize,
}

impl Archive<'_> {
    /// Returns the byte range of the entry `name`, after a check of its checksum; `None` if there is no such entry.
    fn entry(&mut self, name: &str) -> Result<Option<Range<usize>>> {
        let Some(index) = self.entries.index_for_name(name) else { return Ok(None) };
        let wrong = |reason: String| format!("its entry {name:?} {reason}");
        let damaged = |error: &dyn std::error::Error| wrong(format!("is incomplete ({error}); copy the file again"));
        let found = self.entries.by_index_data(index).map_err(|error| damaged(&error))?;
        if found.compression() != CompressionMethod::Stored || found.encrypted() {
            return Err(wrong(
                "is compressed or encrypted, which torch.save does not do; load it with torch, and save it again"
                    .into(),
            ));
        }
        let mut entry = self.entries.by_index(index).map_err(|error| damaged(&error))?;
        let place = entry.data_start().and_then(|start| {
            let (start, size) = (usize::try_from(start).ok()?, usize::try_from(entry.size()).ok()?);
            Some(start..start.checked_add(size).filter(|&end| end <= self.bytes.len())?)
        });
        let place = place.ok_or_else(|| wrong("reaches beyond the file; it is truncated, so copy it again".into()))?;
        let left = self.unread.checked_sub(place.len());
        self.unread = left.ok_or_else(|| wrong("overlaps others; the file is damaged".into()))?;
        let read = std::io::copy(&mut entry, &mut std::io::sink()).map_err(|error| {
            wrong(format!(
                "does not have the checksum in the archive ({error}): the file is damaged, or was saved after \
                 torch.serialization.set_crc32_options(False); copy or save it again"
            ))
        })?;
        match usize::try_from(read) == Ok(place.len()) {
            true => Ok(Some(place)),
            false => Err(wrong(format!(
                "has {read} bytes, but {} in the archive's directory; copy the file again",
                place.len()
            ))),
        }
    }
}
