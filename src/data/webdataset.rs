//! WebDataset: pictures in tar files ("shards"), files of one sample side by side under one name (webdataset/webdataset).
//!
//! Shards are listed once, so that any picture can be read at any time and an epoch can be shuffled as a whole.
use super::{SUFFIXES, Source};
use crate::error::{Error, Result};
use crate::image::{Pixels, decode};
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
    /// A shard that cannot be read, is damaged, or holds no picture; a class that is no whole number.
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
        let io = |e| Error::io(path, e);
        let file = File::open(path).map_err(io)?;
        let len = file.metadata().map_err(io)?.len();
        let shard = self.shards.len() as u32;
        self.shards.push((path.to_owned(), len));
        // The sample that the last files belong to: its name, its picture, its class.
        let mut key = String::new();
        let (mut picture, mut target): (Option<(u64, u64)>, Option<i64>) = (None, None);
        let mut finish = |picture: &mut Option<(u64, u64)>, target: &mut Option<i64>| {
            if let Some((at, bytes)) = picture.take() {
                self.samples.push(Sample { shard, at, bytes, target: target.unwrap_or(0) });
            }
            *target = None;
        };
        let mut archive = Archive::new(BufReader::with_capacity(4096, file));
        let mut end = 0;
        for entry in archive.entries_with_seek().map_err(io)? {
            let read = entry.and_then(|entry| Ok((entry.path()?.to_string_lossy().into_owned(), entry)));
            let (name, mut entry) = match read {
                Ok(read) => read,
                Err(error) => {
                    // The sample before it is whole.
                    finish(&mut picture, &mut target);
                    return Err(Error::image(path, format!("damaged after byte {end}: {error}")));
                }
            };
            let (at, bytes) = (entry.raw_file_position(), entry.size());
            end = at.saturating_add(bytes);
            if !entry.header().entry_type().is_file() {
                continue;
            }
            if end > len {
                finish(&mut picture, &mut target);
                return Err(Error::image(path, format!("damaged: {name} reaches beyond the end, at byte {len}")));
            }
            // A sample's name ends at the first dot of its last part.
            let folder = name.rfind('/').map_or(0, |slash| slash + 1);
            let Some(dot) = name[folder..].find('.') else { continue };
            let (sample, suffix) = (&name[..folder + dot], name[folder + dot + 1..].to_lowercase());
            if sample != key {
                finish(&mut picture, &mut target);
                sample.clone_into(&mut key);
            }
            if SUFFIXES.contains(&suffix.as_str()) {
                picture = Some((at, bytes));
            } else if suffix == CLASS {
                let mut text = String::new();
                entry.by_ref().take(32).read_to_string(&mut text).map_err(io)?;
                let class = text.trim().parse().map_err(|_| {
                    Error::image(path, format!("{name} holds {:?}, no whole number for a class", text.trim()))
                })?;
                target = Some(class);
            }
        }
        finish(&mut picture, &mut target);
        Ok(())
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

    fn get(&self, index: usize) -> Result<(Pixels, i64)> {
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
        Ok((decode(&data, &name)?, target))
    }
}
