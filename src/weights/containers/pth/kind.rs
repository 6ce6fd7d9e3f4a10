//! Detects the form of a `.pth` file, or another kind of file, by its first bytes.
use super::{legacy, zip};

/// The form of a `.pth` file.
pub(super) enum Form {
    Zip,
    Legacy,
}

impl Form {
    /// Returns the form of a `.pth` file. For another kind of file, the error describes that kind and the remedy.
    pub(super) fn find(bytes: &[u8]) -> Result<Self, String> {
        if bytes.starts_with(zip::MAGIC) {
            return Ok(Self::Zip);
        }
        if bytes.starts_with(legacy::MAGIC) {
            return Ok(Self::Legacy);
        }
        Err(format!("is not a .pth file as torch.save writes it, but {}", other(bytes)))
    }
}

fn other(bytes: &[u8]) -> &'static str {
    let at = |start: usize, mark: &[u8]| bytes.get(start..).is_some_and(|rest| rest.starts_with(mark));
    let header = bytes.first_chunk().map_or(0, |&length| u64::from_le_bytes(length));
    match () {
        () if bytes.is_empty() => "empty; copy it again",
        () if at(257, b"ustar") => {
            "a tar archive; if torch before 0.1.10 wrote it, load it with torch.load and save it again with torch.save"
        }
        () if at(0, b"\x1f\x8b") => "compressed with gzip; unpack it first",
        () if at(0, b"PK") => "a zip archive that is empty or split; give the .pth file itself",
        () if at(4, b"TFL3") => "a TFLite file; give the .pth file",
        () if at(8, b"{") && header < bytes.len() as u64 => "a safetensors file; give the .pth file",
        () if at(0, b"\x89HDF") => "an HDF5 file; give the .pth file",
        () if at(0, b"\x93NUMPY") => "a NumPy array; give the .pth file",
        () if at(0, b"version https://git-lfs") => "a Git LFS pointer; fetch the file itself with `git lfs pull`",
        () if at(0, b"<") => "a web page; download the file itself",
        () if at(0, b"\x80") => {
            "a pickle written by another program; save it with torch.save(model.state_dict(), path)"
        }
        () => "something unknown; give the path of a .pth file, or copy it again if it is damaged",
    }
}
