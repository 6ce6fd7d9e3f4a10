//! WebDataset: pictures in tar files ("shards"), files of one sample side by side under one name (webdataset/webdataset).
//!
//! Shards are listed once, so that any picture can be read at any time and an epoch can be shuffled as a whole.
use super::{Item, SUFFIXES, Source};
use crate::error::{Error, Result};
use crate::image::{DecodeOptions, decode};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use tar::Archive;

/// What is taken for a picture's class.
const CLASS: &str = "cls";

/// Samples of all shards.
#[derive(Debug, Default)]
pub struct WebDataset {
    /// Each with its length when it was listed.
    shards: Vec<(PathBuf, u64)>,
    samples: Vec<Sample>,
    damaged: Vec<(PathBuf, String)>,
    /// Whether samples have classes; unknown before the first.
    with_class: Option<bool>,
}

/// The sample that the last files belong to: its name, its picture, its class.
#[derive(Default)]
struct Open {
    key: String,
    picture: Option<(u64, u64)>,
    target: Option<i64>,
}

#[derive(Debug)]
struct Sample {
    shard: u32,
    at: u64,
    bytes: u64,
    target: i64,
}

impl WebDataset {
    /// Lists shards. With `keep_going`, of a damaged one what stands before the damage; [`WebDataset::damaged`] tells.
    ///
    /// # Errors
    /// A shard that cannot be read, is damaged, or holds no picture; a class that is no whole number or stands beside no picture; two
    /// pictures or classes of one sample; samples with a class beside others without.
    pub fn new(paths: Vec<PathBuf>, keep_going: bool) -> Result<Self> {
        let mut set = Self::default();
        for path in paths {
            let before = set.samples.len();
            let listed = set.list(&path).and_then(|()| match set.samples.len() > before {
                true => Ok(()),
                false => Err(Error::image(&path, format!("no picture in this shard ({})", SUFFIXES.join(", ")))),
            });
            match listed {
                Err(error) if keep_going => set.damaged.push((path, error.to_string())),
                listed => listed?,
            }
        }
        Ok(set)
    }

    /// Shards that were listed in part, and why.
    pub fn damaged(&self) -> &[(PathBuf, String)] {
        &self.damaged
    }

    fn list(&mut self, path: &Path) -> Result<()> {
        let file = File::open(path).map_err(|e| Error::io(path, e))?;
        let len = file.metadata().map_err(|e| Error::io(path, e))?.len();
        self.shards.push((path.to_owned(), len));
        let mut open = Open::default();
        let read = self.read(path, (file, len), &mut open);
        // The sample before a damage is whole.
        let finished = self.finish(path, &mut open);
        read.and(finished)
    }

    fn read(&mut self, path: &Path, (file, len): (File, u64), open: &mut Open) -> Result<()> {
        let io = |e| Error::io(path, e);
        let mut archive = Archive::new(BufReader::with_capacity(4096, file));
        let mut end = 0;
        for entry in archive.entries_with_seek().map_err(io)? {
            let read = entry.and_then(|entry| Ok((entry.path()?.to_string_lossy().into_owned(), entry)));
            let (name, mut entry) =
                read.map_err(|error| Error::image(path, format!("damaged after byte {end}: {error}{}", remedy(path))))?;
            let (at, bytes) = (entry.raw_file_position(), entry.size());
            end = at.saturating_add(bytes);
            let kind = entry.header().entry_type();
            let is_image =
                |name: &str| SUFFIXES.iter().any(|suffix| name.to_lowercase().ends_with(&format!(".{suffix}")));
            if (kind.is_hard_link() || kind.is_symlink()) && is_image(&name) {
                let reason = format!("{name} is a link; pack the file itself (tar --dereference --hard-dereference)");
                return Err(Error::image(path, reason));
            }
            if !kind.is_file() {
                continue;
            }
            if end > len {
                return Err(Error::image(path, format!("damaged: {name} reaches beyond the end, at byte {len}")));
            }
            // A sample's name ends at the first dot of its last part.
            let folder = name.rfind('/').map_or(0, |slash| slash + 1);
            let Some(dot) = name[folder..].find('.') else { continue };
            let (sample, suffix) = (&name[..folder + dot], name[folder + dot + 1..].to_lowercase());
            if sample != open.key {
                self.finish(path, open)?;
                sample.clone_into(&mut open.key);
            }
            let twice = |what: &str| Error::image(path, format!("{name} is another {what} of one sample; rename it"));
            if SUFFIXES.contains(&suffix.as_str()) {
                if open.picture.replace((at, bytes)).is_some() {
                    return Err(twice("image"));
                }
            } else if suffix == CLASS {
                let mut text = String::new();
                entry.by_ref().take(32).read_to_string(&mut text).map_err(io)?;
                let class = text.trim().parse().map_err(|_| {
                    Error::image(path, format!("{name} holds {:?}, no whole number for a class", text.trim()))
                })?;
                if open.target.replace(class).is_some() {
                    return Err(twice("class"));
                }
            }
        }
        ended(path, end.next_multiple_of(512), len)
    }

    /// Adds the sample whose files have come.
    fn finish(&mut self, path: &Path, open: &mut Open) -> Result<()> {
        let Open { key, picture, target } = std::mem::take(open);
        let Some((at, bytes)) = picture else {
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

/// Whether a shard ends as it should after the last entry: zeros to its end, at least a block of them.
fn ended(path: &Path, end: u64, len: u64) -> Result<()> {
    let io = |e| Error::io(path, e);
    if end + 512 > len {
        return Err(Error::image(
            path,
            format!("damaged after byte {end}: it ends without the mark of the end; is it cut?"),
        ));
    }
    let mut file = BufReader::new(File::open(path).map_err(io)?);
    file.seek(SeekFrom::Start(end)).map_err(io)?;
    for byte in file.bytes() {
        if byte.map_err(io)? != 0 {
            let reason = "what follows is not read; is it damaged, or two shards joined? Give them one by one";
            return Err(Error::image(path, format!("damaged after byte {end}: {reason}")));
        }
    }
    Ok(())
}

/// What helps where a tar file cannot be read because it is none.
fn remedy(path: &Path) -> &'static str {
    let compressed = ["gz", "tgz", "bz2", "xz", "zst"];
    match path.extension().is_some_and(|suffix| compressed.iter().any(|one| suffix == *one)) {
        true => "; it is compressed: unpack it to a .tar, of which any image can be read at any time",
        false => "",
    }
}

impl Source for WebDataset {
    fn len(&self) -> usize {
        self.samples.len()
    }

    fn name(&self, index: usize) -> String {
        let sample = &self.samples[index];
        format!("{}#{}", self.shards[sample.shard as usize].0.display(), sample.at)
    }

    fn get(&self, index: usize, options: &DecodeOptions<'_>) -> Result<Item> {
        let Sample { shard, at, bytes, target } = self.samples[index];
        let (path, len) = &self.shards[shard as usize];
        let name = PathBuf::from(self.name(index));
        let mut file = File::open(path).map_err(|e| Error::io(path, e))?;
        if file.metadata().map_err(|e| Error::io(path, e))?.len() != *len {
            return Err(Error::image(name, "the shard has changed since it was listed; make the WebDataset anew"));
        }
        let mut data = vec![0; bytes as usize];
        let read = file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(&mut data));
        read.map_err(|e| Error::io(path, e))?;
        Ok(Item { image: decode(&data, &name, options)?, target })
    }
}
