//! What images are called: paths relative to the folder that holds all of them, with forward slashes, as lightly's
//! `LightlyDataset` calls them. So names are the same wherever the data lie.
use std::ffi::OsString;
use std::path::{MAIN_SEPARATOR, Path, PathBuf};

/// The folder that holds all of these files; empty where there is none.
pub(super) fn root<'a>(paths: impl IntoIterator<Item = &'a Path>) -> PathBuf {
    let mut paths = paths.into_iter();
    let mut root = paths.next().and_then(Path::parent).map(Path::to_owned).unwrap_or_default();
    for path in paths {
        while !path.starts_with(&root) && root.pop() {}
    }
    root
}

/// A path within a root; one that lies elsewhere is given as it is.
pub(super) fn relative(path: &Path, root: &Path) -> OsString {
    let within = path.strip_prefix(root).unwrap_or(path);
    match MAIN_SEPARATOR {
        '/' => within.as_os_str().to_owned(),
        _ => within.to_string_lossy().replace(MAIN_SEPARATOR, "/").into(),
    }
}

/// What the record of a file is called.
pub(super) fn numbered(file: impl Into<OsString>, record: impl std::fmt::Display) -> OsString {
    let mut name = file.into();
    name.push(format!("#{record}"));
    name
}
