//! Pictures as files: a list of paths, or a folder with a folder for each class.
use super::{Item, SUFFIXES, Source};
use crate::error::{Error, Result};
use crate::image::{DecodeOptions, read};
use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Paths, one after the other in one string, each with a class.
#[derive(Debug, Default)]
pub struct Files {
    paths: String,
    ends: Vec<usize>,
    targets: Vec<i64>,
}

/// `root/<class>/**/picture.jpg`, as torchvision's `ImageFolder` reads it; or pictures in `root` itself, of one class.
#[derive(Debug)]
pub struct ImageFolder {
    classes: Vec<String>,
    files: Files,
    others: usize,
}

impl Files {
    /// These paths, and a class for each.
    ///
    /// # Errors
    /// Not one class a path.
    pub fn new(paths: impl IntoIterator<Item = String>, targets: Vec<i64>) -> Result<Self> {
        let mut files = Self { targets, ..Self::default() };
        for path in paths {
            files.paths.push_str(&path);
            files.ends.push(files.paths.len());
        }
        match files.targets.len() == files.ends.len() {
            true => Ok(files),
            false => {
                Err(Error::shape("targets", format!("one for each of {} files", files.ends.len()), files.targets.len()))
            }
        }
    }

    fn path(&self, index: usize) -> &str {
        let begin = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.paths[begin..self.ends[index]]
    }
}

impl Source for Files {
    fn len(&self) -> usize {
        self.ends.len()
    }

    fn name(&self, index: usize) -> String {
        self.path(index).to_owned()
    }

    fn get(&self, index: usize, options: &DecodeOptions<'_>) -> Result<Item> {
        Ok(Item { image: read(Path::new(self.path(index)), options)?, target: self.targets[index] })
    }
}

impl ImageFolder {
    /// Lists a folder, classes and pictures in the order of their names.
    ///
    /// # Errors
    /// A folder that cannot be read or holds no picture; a class without one; pictures beside class folders; names of classes that
    /// differ in case alone, or are no Unicode.
    pub fn new(root: &Path) -> Result<Self> {
        let wrong = |path: &Path, reason: String| Error::image(path, reason);
        let (folders, loose, mut others) = list(root)?;
        let mut files = vec![];
        let mut targets = vec![];
        let mut classes = vec![];
        if folders.is_empty() {
            targets.resize(loose.len(), 0);
            files = loose;
            classes.push(String::new());
        } else {
            if let Some(first) = loose.first() {
                let reason = "a picture beside the folders of classes; move it into one of them".into();
                return Err(wrong(Path::new(first), reason));
            }
            let mut seen: BTreeMap<String, String> = BTreeMap::new();
            for (class, folder) in folders.into_iter().enumerate() {
                let name = folder.rsplit(['/', std::path::MAIN_SEPARATOR]).next().unwrap_or_default().to_owned();
                if let Some(other) = seen.insert(name.to_lowercase(), name.clone()) {
                    let reason = format!("the classes {other:?} and {name:?} differ in case alone; rename one of them");
                    return Err(wrong(root, reason));
                }
                let before = files.len();
                others += walk(Path::new(&folder), &mut files, &mut HashSet::new())?;
                if files.len() == before {
                    let reason = format!("a class without a picture ({})", SUFFIXES.join(", "));
                    return Err(wrong(Path::new(&folder), reason));
                }
                targets.resize(files.len(), class as i64);
                classes.push(name);
            }
        }
        if files.is_empty() {
            return Err(wrong(root, format!("no picture in this folder ({})", SUFFIXES.join(", "))));
        }
        Ok(Self { classes, files: Files::new(files, targets)?, others })
    }

    /// Names of the classes, in the order of their numbers.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// How many files are no pictures by their suffix.
    pub fn others(&self) -> usize {
        self.others
    }
}

impl Source for ImageFolder {
    fn len(&self) -> usize {
        self.files.len()
    }

    fn name(&self, index: usize) -> String {
        self.files.name(index)
    }

    fn get(&self, index: usize, options: &DecodeOptions<'_>) -> Result<Item> {
        self.files.get(index, options)
    }
}

/// Folders, pictures and the number of other files in a folder, sorted. What a dot begins is left out.
fn list(folder: &Path) -> Result<(Vec<String>, Vec<String>, usize)> {
    let (mut folders, mut pictures, mut others) = (vec![], vec![], 0);
    for entry in fs::read_dir(folder).map_err(|e| Error::io(folder, e))? {
        let path = entry.map_err(|e| Error::io(folder, e))?.path();
        let Some(text) = path.to_str() else {
            return Err(Error::image(&path, "a name that is no Unicode; rename it"));
        };
        if path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")) {
            continue;
        }
        let suffix = path.extension().and_then(|suffix| suffix.to_str()).unwrap_or_default().to_lowercase();
        match path.is_dir() {
            true => folders.push(text.to_owned()),
            false if SUFFIXES.contains(&suffix.as_str()) => pictures.push(text.to_owned()),
            false => others += 1,
        }
    }
    folders.sort_unstable();
    pictures.sort_unstable();
    Ok((folders, pictures, others))
}

/// All pictures below a folder; gives the number of other files. Links are followed, and each folder is read once, so that a loop ends.
fn walk(folder: &Path, files: &mut Vec<String>, seen: &mut HashSet<PathBuf>) -> Result<usize> {
    if !seen.insert(fs::canonicalize(folder).map_err(|e| Error::io(folder, e))?) {
        return Ok(0);
    }
    let (folders, pictures, mut others) = list(folder)?;
    files.extend(pictures);
    for folder in folders {
        others += walk(Path::new(&folder), files, seen)?;
    }
    Ok(others)
}
