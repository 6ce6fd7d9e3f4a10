//! Names of images: paths relative to the common folder of all images, with forward slashes, as in lightly's `LightlyDataset`.
//! Such names do not depend on the location of the data.
use std::ffi::OsString;
use std::path::{MAIN_SEPARATOR, Path, PathBuf};

/// Returns the deepest folder that contains all files; an empty path if there is none.
pub(super) fn root<'a>(paths: impl IntoIterator<Item = &'a Path>) -> PathBuf {
    let mut paths = paths.into_iter();
    let mut root = paths.next().and_then(Path::parent).map(Path::to_owned).unwrap_or_default();
    for path in paths {
        while !path.starts_with(&root) && root.pop() {}
    }
    root
}

/// Returns a path relative to a root, with forward slashes. Paths outside the root are not shortened.
pub(super) fn relative(path: &Path, root: &Path) -> OsString {
    let within = path.strip_prefix(root).unwrap_or(path);
    match MAIN_SEPARATOR {
        '/' => within.as_os_str().to_owned(),
        _ => within.to_string_lossy().replace(MAIN_SEPARATOR, "/").into(),
    }
}

/// Returns the name of a record in a file: the file's name, "#" and the record.
pub(super) fn numbered(file: impl Into<OsString>, record: impl std::fmt::Display) -> OsString {
    let mut name = file.into();
    name.push(format!("#{record}"));
    name
}
