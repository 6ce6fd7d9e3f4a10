//! Locates the files of a tensor bundle. The path may be the bundle's prefix (which is not itself a file), one of the bundle's
//! files, the folder or the archive that holds these files, or a SavedModel.
use super::members::{Members, open_regular};
use super::table::MARK;
use crate::error::{Error, Result};
use std::path::Path;

/// Returns the folder or archive with the bundle's files, and the bundle's prefix.
pub(super) fn locate(path: &Path) -> Result<(Members, String)> {
    let file = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let is_index = |name: &str| name.ends_with(".index");
    if !path.is_dir() {
        if path.exists() {
            open_regular(path)?;
        }
        let prefix = prefix(file);
        let own = |name: &str| name == file || name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.'));
        let beside = Members::beside(path, own)?;
        if !file.is_empty() && beside.size(&format!("{prefix}.index")).is_some() {
            return Ok((beside, prefix.into()));
        }
        if file == "saved_model.pb" {
            return locate(path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new(".")));
        }
        if prefix != file || !path.exists() {
            let reason = format!(
                "not a checkpoint: there is no {prefix}.index beside it; a checkpoint consists of that file and {prefix}.data-…"
            );
            return Err(Error::weights(path, reason));
        }
        if !file.is_empty() && is_table(&beside, file)? {
            return Err(first_version(path, file));
        }
    }
    let members = Members::open(path, is_index)?;
    let names = members.list().iter().map(|member| &member.name);
    let mut found: Vec<String> = names.filter(|name| is_index(name)).cloned().collect();
    // Both folders of Magenta's converter, for F and for T, hold all variables.
    if found.iter().all(|name| name.ends_with("variables/variables.index")) {
        found.truncate(1);
    }
    match &found[..] {
        [index] => Ok((members, prefix(index).into())),
        [] => Err(none(&members)?),
        [first, second, ..] => {
            let reason = format!("holds {} checkpoints ({first}, {second}, …); give the path of one", found.len());
            Err(Error::weights(path, reason))
        }
    }
}

/// Returns the prefix of a bundle, given the name of one of its files; any other name is returned unchanged.
fn prefix(file: &str) -> &str {
    let ending = [".index", ".meta"].iter().find_map(|ending| file.strip_suffix(ending));
    let data = || file.rsplit_once(".data-").filter(|(_, rest)| rest.contains("-of-")).map(|(prefix, _)| prefix);
    ending.or_else(data).unwrap_or(file)
}

/// Returns the error for a folder or an archive without an index.
fn none(members: &Members) -> Result<Error> {
    for member in members.list().iter().filter(|member| member.name.contains("ckpt")).take(4) {
        if is_table(members, &member.name)? {
            return Ok(first_version(members.origin(), &member.name));
        }
    }
    let names: Vec<&str> = members.list().iter().take(3).map(|member| member.name.as_str()).collect();
    let found = if names.is_empty() { "no files".into() } else { names.join(", ") };
    let reason =
        format!("not a checkpoint: none of its files ends in .index (it holds {found}); give the path of PREFIX.index");
    Ok(Error::weights(members.origin(), reason))
}

/// Returns `true` if a file ends with the mark of an index. So does a checkpoint of the first version (V1), although its name
/// does not end in `.index`.
fn is_table(members: &Members, name: &str) -> Result<bool> {
    let mut end = [0; MARK.len()];
    members.visit(&[name], |_, stream| match stream.size().checked_sub(end.len() as u64) {
        Some(at) => stream.skip_to(at).and_then(|()| stream.fill(&mut end)),
        None => Ok(()),
    })?;
    Ok(end == MARK)
}

fn first_version(origin: &Path, name: &str) -> Error {
    let reason = format!(
        "{name} is an old checkpoint (V1), without {name}.index; load it and save it again with tf.train.Saver"
    );
    Error::weights(origin, reason)
}
