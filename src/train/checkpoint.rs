//! Checkpoints: the state of a run in a safetensors file. The file is written atomically, and has two checksums. The first is
//! over the names, shapes and values of tensors, the second over the metadata.
use super::{Config, State};
use crate::error::{Error, Result};
use crate::interrupt::poll;
use crate::methods;
use crate::weights::safetensors::{Dtype, File, write};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;

/// The metadata of a checkpoint, by name.
pub type Metadata = BTreeMap<String, String>;

/// The name of this crate's engine in metadata.
const NATIVE: &str = "native";

/// The name of the metadata entry with the checksum over all other entries.
const TOLD: &str = "metadata_checksum";

/// Prefix of the value of the metadata entry `format`. The prefix is followed by the version; only [`VERSION`] is supported. In
/// version 3, optimizer entries have the axis order of PyTorch's parameters.
const FORMAT: &str = "sassl checkpoint ";
const VERSION: &str = "3";

/// Writes a state to a temporary file, syncs it, and renames it to `path`.
///
/// # Errors
/// The file cannot be written; an existing file is unchanged in that case.
pub fn save(path: &Path, state: &State, metadata: &Metadata) -> Result<()> {
    let mut metadata = metadata.clone();
    metadata.insert("format".into(), format!("{FORMAT}{VERSION}"));
    metadata.insert("checksum".into(), checksum(state));
    metadata.insert(TOLD.into(), checksum_of_metadata(&metadata));
    let tensors: Vec<_> =
        state.iter().map(|(name, (shape, numbers))| (&name[..], Dtype::F32, &shape[..], &numbers[..])).collect();
    write(path, &metadata, &tensors)
}

/// Reads the metadata of a checkpoint, without checking its state.
///
/// # Errors
/// The file cannot be read, is not a checkpoint of the supported version, or is damaged.
pub fn metadata(path: &Path) -> Result<Metadata> {
    Ok(open(path)?.metadata().clone())
}

fn open(path: &Path) -> Result<File> {
    let file = File::open(path)?;
    match file.metadata().get("format").and_then(|format| format.strip_prefix(FORMAT)) {
        Some(VERSION) => {}
        Some(other) => {
            let reason = format!(
                "a checkpoint of version {other}, and this sassl reads version {VERSION} alone; resume it with the \
                 sassl that wrote it, or export its backbone there"
            );
            return Err(Error::weights(path, reason));
        }
        None => return Err(Error::weights(path, "no checkpoint of sassl; `fit` and `save` write them")),
    }
    if file.metadata().get(TOLD) != Some(&checksum_of_metadata(file.metadata())) {
        return Err(damaged(path));
    }
    let held = file.names().map(|name| Ok(file.view(name)?.shape.iter().product::<usize>())).sum::<Result<usize>>()?;
    // Other engines may have other tensors.
    let is_ours = file.metadata().get("engine").is_none_or(|engine| engine == NATIVE);
    match file.metadata().get("config").filter(|_| is_ours).and_then(|config| claimed(config)) {
        Some(claimed) if claimed > held => {
            let reason = format!("its settings require at least {claimed} values, and it holds {held}; it is damaged");
            Err(Error::weights(path, reason))
        }
        _ => Ok(file),
    }
}

/// A lower bound on the number of values that a run with these settings saves; `None` if the settings cannot be read.
fn claimed(config: &str) -> Option<usize> {
    let config: Config = serde_json::from_str(config).ok()?;
    Some(methods::settings(&config.method).ok()?.saved())
}

/// Reads a checkpoint that was written by [`save`].
///
/// # Errors
/// The file cannot be read, is not a checkpoint of the supported version, or is damaged.
pub fn load(path: &Path) -> Result<(State, Metadata)> {
    let file = open(path)?;
    let metadata = file.metadata().clone();
    let mut state = State::new();
    for name in file.names() {
        let view = file.view(name)?;
        state.insert(name.to_owned(), (view.shape.to_vec(), view.to_f32()));
    }
    match metadata.get("checksum") == Some(&checksum(&state)) {
        true => Ok((state, metadata)),
        false => Err(damaged(path)),
    }
}

fn damaged(path: &Path) -> Error {
    let reason = "it is damaged, as its checksum says; delete it, and the run resumes from the previous checkpoint";
    Error::weights(path, reason)
}

fn checksum(state: &State) -> String {
    let mut hash = Sha256::new();
    for (name, (shape, numbers)) in state {
        hash.update(format!("{name} {shape:?} "));
        for part in numbers.chunks(1 << 22) {
            hash.update(bytemuck::cast_slice::<f32, u8>(part));
            poll();
        }
    }
    hex(hash)
}

fn checksum_of_metadata(metadata: &Metadata) -> String {
    let mut hash = Sha256::new();
    for (name, value) in metadata.iter().filter(|(name, _)| *name != TOLD) {
        hash.update(format!("{} {name} {} {value} ", name.len(), value.len()));
    }
    hex(hash)
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
