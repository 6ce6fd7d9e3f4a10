//! WebDataset: images in tar files, called shards. Consecutive files with the same base name form a sample, as in
//! webdataset/webdataset.
//!
//! Shards are indexed once, so that images can be read in any order and an epoch can be shuffled across all shards.
use super::listing::{is_hidden, is_image};
use super::names::{numbered, relative, root};
use super::{Item, SUFFIXES, Source};
use crate::error::{Error, Result};
use crate::files;
use crate::image::{DecodeOptions, decode};
use crate::interrupt::poll;
use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use tar::Archive;

/// Limit of the size of an image file in bytes, the same as the memory limit of a decoder.
const MOST_BYTES: u64 = 1 << 30;
/// Limit of the number of bytes between two files of a shard. These bytes hold headers and long names.
const MOST_BETWEEN: u64 = 1 << 20;
/// Signatures of compressed files, with the names of their formats. Compressed files are refused.
const COMPRESSED: [(&[u8], &str); 5] = [
    (b"\x1F\x8B", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xFD7zXZ\0", "xz"),
    (b"\x28\xB5\x2F\xFD", "zstd"),
    (b"PK\x03\x04", "zip"),
];

/// The suffix of the file with an image's class.
const CLASS: &str = "cls";

/// The samples of all shards.
#[derive(Debug, Default)]
pub struct WebDataset {
    /// The shards, each with its size in bytes when it was indexed.
    shards: Vec<(PathBuf, u64)>,
    root: PathBuf,
    samples: Vec<Sample>,
    damaged: Vec<(PathBuf, String)>,
    hidden: usize,
    others: usize,
    /// True if samples have classes; `None` before the first sample is complete.
    with_class: Option<bool>,
}

/// The sample that is being read from a shard: its name, its image's offset and size, its class, and the number of its other
/// files.
#[derive(Default)]
struct Open {
    key: Vec<u8>,
    image: Option<(u64, u64)>,
    target: Option<i64>,
    beside: usize,
}

#[derive(Debug)]
struct Sample {
    shard: u32,
    at: u64,
    bytes: u64,
    target: i64,
}

impl WebDataset {
    /// Indexes shards.
    ///
    /// With `keep_going`, a faulty shard is not an error. Its samples before the fault are used, and the shard is listed in
    /// [`WebDataset::damaged`].
    ///
    /// # Errors
    /// Without `keep_going`:
    /// - A shard cannot be read to its end, or has no images.
    /// - A class is not an integer, or has no image.
    /// - A sample has two images or two classes.
    /// - Some samples have a class and others do not.
    pub fn new(paths: Vec<PathBuf>, keep_going: bool) -> Result<Self> {
        let mut set = Self { root: root(paths.iter().map(PathBuf::as_path)), ..Self::default() };
        for path in paths {
            let before = set.samples.len();
            let listed = set.list(&path).and_then(|()| match set.samples.len() > before {
                true => Ok(()),
                false => Err(Error::image(&path, format!("no image in this shard: no <key>.{}", SUFFIXES.join(", .")))),
            });
            match listed {
                Err(error) if keep_going => set.damaged.push((path, error.to_string())),
                listed => listed?,
            }
        }
        Ok(set)
    }

    /// Returns the shards of which only the beginning was indexed, with the reasons.
    pub fn damaged(&self) -> &[(PathBuf, String)] {
        &self.damaged
    }

    /// Returns the number of hidden files, which are ignored.
    pub fn hidden(&self) -> usize {
        self.hidden
    }

    /// Returns the number of ignored files, which belong to no sample. Among them are images with a suffix of several parts, such
    /// as `key.left.jpg`.
    pub fn others(&self) -> usize {
        self.others
    }

    /// Returns `true` if samples have classes.
    pub fn has_classes(&self) -> bool {
        self.with_class == Some(true)
    }

    fn list(&mut self, path: &Path) -> Result<()> {
        let io = |e| Error::io(path, e);
        files::regular(path)?;
        let mut file = File::open(path).map_err(io)?;
        let len = file.metadata().map_err(io)?.len();
        let mut head = vec![];
        file.by_ref().take(8).read_to_end(&mut head).map_err(io)?;
        file.rewind().map_err(io)?;
        if let Some((_, how)) = COMPRESSED.iter().find(|(magic, _)| head.starts_with(magic)) {
            let remedy = "unpack it to a .tar, which allows random access";
            return Err(Error::image(path, format!("it is compressed by {how}: {remedy}")));
        }
        self.shards.push((path.to_owned(), len));
        let mut open = Open::default();
        let read = self.read(path, (file, len), &mut open);
        // The sample before a fault is complete.
        let finished = self.finish(path, &mut open);
        read.and(finished)
    }

    fn read(&mut self, path: &Path, (file, len): (File, u64), open: &mut Open) -> Result<()> {
        let io = |e| Error::io(path, e);
        let left = Rc::new(Cell::new(MOST_BETWEEN));
        let file = Scarce { file, left: left.clone() };
        let mut archive = Archive::new(BufReader::with_capacity(4096, file));
        let mut end = 0;
        for entry in archive.entries_with_seek().map_err(io)? {
            poll();
            let read = entry.and_then(|entry| Ok((entry.path()?.into_owned(), entry)));
            let (path_within, mut entry) =
                read.map_err(|error| Error::image(path, format!("unreadable after byte {end}: {error}")))?;
            left.set(MOST_BETWEEN);
            let (at, bytes) = (entry.raw_file_position(), entry.size());
            end = at.saturating_add(bytes);
            let name = path_within.display();
            let kind = entry.header().entry_type();
            if (kind.is_hard_link() || kind.is_symlink()) && is_image(&path_within) {
                let reason = format!("{name} is a link; pack the file itself (tar --dereference --hard-dereference)");
                return Err(Error::image(path, reason));
            }
            if !kind.is_file() {
                continue;
            }
            if end > len {
                return Err(Error::image(
                    path,
                    format!("unreadable: {name} reaches beyond the end, at byte {len}; is it truncated?"),
                ));
            }
            if path_within.iter().any(|part| part != "." && part != ".." && is_hidden(part)) {
                self.hidden += 1;
                continue;
            }
            self.add(path, &path_within, (at, bytes), &mut entry, open)?;
        }
        ended(path, end.next_multiple_of(512), len)
    }

    /// Adds a file of the shard to its sample. If the file starts another sample, the previous sample is completed.
    fn add(
        &mut self,
        path: &Path,
        path_within: &Path,
        place: (u64, u64),
        content: &mut impl Read,
        open: &mut Open,
    ) -> Result<()> {
        let Some((key, suffix)) = parted(path_within.as_os_str()) else {
            self.others += 1;
            return Ok(());
        };
        if key != open.key {
            self.finish(path, open)?;
            key.clone_into(&mut open.key);
        }
        let name = path_within.display();
        let twice = |what: &str| Error::image(path, format!("{name} is another {what} of one sample; rename it"));
        if SUFFIXES.contains(&suffix.as_str()) {
            if open.image.replace(place).is_some() {
                return Err(twice("image"));
            }
        } else if suffix == CLASS {
            let mut text = String::new();
            content.take(32).read_to_string(&mut text).map_err(|e| Error::io(path, e))?;
            let class = text.trim().parse().map_err(|_| {
                Error::image(path, format!("{name} holds {:?}, which is not an integer class", text.trim()))
            })?;
            if open.target.replace(class).is_some() {
                return Err(twice("class"));
            }
        } else if is_image(path_within) {
            self.others += 1;
        } else {
            open.beside += 1;
        }
        Ok(())
    }

    /// Adds a completed sample.
    fn finish(&mut self, path: &Path, open: &mut Open) -> Result<()> {
        let Open { key, image, target, beside } = std::mem::take(open);
        let key = String::from_utf8_lossy(&key);
        let Some((at, bytes)) = image else {
            self.others += beside;
            return match target {
                None => Ok(()),
                Some(_) => Err(Error::image(path, format!("{key}.{CLASS} is not beside an image; pack them together"))),
            };
        };
        if *self.with_class.get_or_insert(target.is_some()) != target.is_some() {
            let has =
                if target.is_some() { "has a class, and others have none" } else { "has no class, and others do" };
            return Err(Error::image(path, format!("{key} {has}; give all of them a .{CLASS}, or none")));
        }
        let shard = self.shards.len() as u32 - 1;
        self.samples.push(Sample { shard, at, bytes, target: target.unwrap_or(0) });
        Ok(())
    }
}

/// Checks that a shard ends properly after the last entry: with at least one block of zeros and nothing else.
fn ended(path: &Path, end: u64, len: u64) -> Result<()> {
    let io = |e| Error::io(path, e);
    if end + 512 > len {
        return Err(Error::image(
            path,
            format!("unreadable after byte {end}: it ends without the end-of-archive marker; is it truncated?"),
        ));
    }
    let mut file = File::open(path).map_err(io)?;
    file.seek(SeekFrom::Start(end)).map_err(io)?;
    let mut rest = vec![0; 1 << 16];
    loop {
        let count = file.read(&mut rest).map_err(io)?;
        if count == 0 {
            return Ok(());
        }
        if rest[..count].iter().any(|&byte| byte != 0) {
            let reason = "the bytes after it are ignored; was it overwritten, or are two shards concatenated? Pass them separately";
            return Err(Error::image(path, format!("unreadable after byte {end}: {reason}")));
        }
    }
}

/// Splits a path into a sample name and a suffix, at the first dot of the file name, like webdataset's `base_plus_ext`.
fn parted(name: &OsStr) -> Option<(&[u8], String)> {
    let bytes = name.as_encoded_bytes();
    let folder = bytes.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
    let dot = folder + bytes[folder..].iter().position(|&byte| byte == b'.')?;
    Some((&bytes[..dot], String::from_utf8_lossy(&bytes[dot + 1..]).to_lowercase()))
}

/// A reader of a shard with a limit on the number of bytes read between two files.
///
/// The limit is needed because a header may claim that the name of a file is as long as the shard.
struct Scarce {
    file: File,
    left: Rc<Cell<u64>>,
}

impl Read for Scarce {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let left = self.left.get();
        if left == 0 {
            return Err(std::io::Error::other("a name that is too long"));
        }
        let most = out.len().min(left as usize);
        let count = self.file.read(&mut out[..most])?;
        self.left.set(left - count as u64);
        Ok(count)
    }
}

impl Seek for Scarce {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.file.seek(to)
    }
}

impl Source for WebDataset {
    fn len(&self) -> usize {
        self.samples.len()
    }

    fn name(&self, index: usize) -> OsString {
        let sample = &self.samples[index];
        numbered(relative(&self.shards[sample.shard as usize].0, &self.root), sample.at)
    }

    fn bytes(&self, index: usize) -> Option<u64> {
        Some(self.samples[index].bytes)
    }

    fn get(&self, index: usize, options: &DecodeOptions<'_>) -> Result<Item> {
        let Sample { shard, at, bytes, target } = self.samples[index];
        let (path, len) = &self.shards[shard as usize];
        let name = PathBuf::from(numbered(path, at));
        let mut file = File::open(path).map_err(|e| Error::io(path, e))?;
        if file.metadata().map_err(|e| Error::io(path, e))?.len() != *len {
            return Err(Error::image(name, "the shard has changed since it was indexed; create the WebDataset again"));
        }
        let mut data = vec![];
        if bytes > MOST_BYTES || data.try_reserve_exact(bytes as usize).is_err() {
            return Err(Error::image(name, format!("{bytes} bytes exceed the memory limit; is it an image?")));
        }
        let read = file.seek(SeekFrom::Start(at)).and_then(|_| file.take(bytes).read_to_end(&mut data));
        read.map_err(|e| Error::io(path, e))?;
        Ok(Item { image: decode(&data, &name, options)?, target })
    }
}
