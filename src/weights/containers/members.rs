//! The files of a network: the members of a folder, a `.tar` or a `.tar.gz`. Members are listed once, and read as streams.
//!
//! Archives are recognized by their bytes, not by their names. An archive is read from its start for each visit, and never held
//! in memory as a whole. Links in an archive are not followed.
use super::stream::{Body, Stream};
use crate::error::{Error, Result};
use crate::interrupt::poll;
use flate2::read::MultiGzDecoder;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use tar::{Archive, EntryType};

/// Maximum number of members; networks have fewer.
const MOST_MEMBERS: usize = 10_000;
/// Maximum length of a member's name in bytes.
const MOST_NAME: usize = 1024;
/// The depth to which subfolders are searched.
const MOST_DEPTH: usize = 4;
/// Maximum total size in bytes of the members that are kept in memory when an archive is listed.
const MOST_KEPT: u64 = 16 << 20;
/// Maximum number of bytes between two members of an archive. Headers and long names are stored there.
const MOST_BETWEEN: u64 = 1 << 20;
/// Maximum unpacked size of an archive in bytes; Magenta's archive takes 606 MB compressed.
const MOST_UNPACKED: u64 = 8 << 30;

/// A regular file of a folder or of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The member's path below the folder or within the archive, with `/` as separator and without a leading `./`.
    pub name: String,
    /// The member's size in bytes.
    pub size: u64,
}

/// A folder or an archive, with the list of its members.
#[derive(Debug)]
pub struct Members {
    /// The path given by the user, used in errors.
    origin: PathBuf,
    /// The folder or the archive.
    root: PathBuf,
    form: Form,
    list: Vec<Member>,
    /// Small members of an archive that were read while it was listed.
    kept: BTreeMap<String, Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Folder,
    Tar,
    Gzip,
}

impl Members {
    /// Lists a folder, a few levels deep, or an archive. Small members of an archive are kept in memory if `keep` returns
    /// `true` for their names, which saves another pass.
    ///
    /// # Errors
    /// The path cannot be read, or is neither a folder nor an archive; the archive is truncated or has a repeated name; or
    /// there are more members than any network has.
    pub fn open(path: &Path, keep: impl Fn(&str) -> bool) -> Result<Self> {
        let form = form(path)?;
        let mut members = Self { origin: path.into(), root: path.into(), form, list: vec![], kept: BTreeMap::new() };
        match form {
            Form::Folder => members.list_folder("", MOST_DEPTH, &|_| true)?,
            Form::Tar | Form::Gzip => members.list_archive(keep)?,
        }
        Ok(members)
    }

    /// Lists the files in the folder of `path`; `path` itself need not exist. A file is listed if `belongs` returns `true` for
    /// its name.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn beside(path: &Path, belongs: impl Fn(&str) -> bool) -> Result<Self> {
        let root = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let (list, kept) = (vec![], BTreeMap::new());
        let mut members = Self { origin: path.into(), root: root.into(), form: Form::Folder, list, kept };
        members.list_folder("", 1, &belongs)?;
        Ok(members)
    }

    /// Returns the path that was given to [`Members::open`] or [`Members::beside`], as used in errors.
    pub fn origin(&self) -> &Path {
        &self.origin
    }

    /// Returns all members. The members of a folder are sorted by name; the members of an archive are in storage order.
    pub fn list(&self) -> &[Member] {
        &self.list
    }

    /// Returns the size of a member, if there is one of this name.
    pub fn size(&self, name: &str) -> Option<u64> {
        self.list.iter().find(|member| member.name == name).map(|member| member.size)
    }

    /// Reads a whole member.
    ///
    /// # Errors
    /// There is no member of this name, it has more than `most` bytes, or it cannot be read.
    pub fn read(&self, name: &str, most: u64) -> Result<Vec<u8>> {
        if let Some(kept) = self.kept.get(name) {
            return Ok(kept.clone());
        }
        let mut bytes = vec![];
        self.visit(&[name], |_, stream| {
            let size = usize::try_from(stream.size()).ok().filter(|_| stream.size() <= most);
            bytes = stream.bytes(size.ok_or_else(|| {
                stream.wrong(&format!("has {} bytes, where at most {most} are expected", stream.size()))
            })?)?;
            Ok(())
        })?;
        Ok(bytes)
    }

    /// Calls `visitor` with the name and the stream of each of these members. The members of an archive are visited in storage
    /// order, the members of a folder by name. Bytes that the visitor leaves unread are skipped.
    ///
    /// # Errors
    /// A member is missing or cannot be read, or the visitor returned an error.
    pub fn visit(&self, names: &[&str], mut visitor: impl FnMut(&str, &mut Stream) -> Result<()>) -> Result<()> {
        let mut left: BTreeSet<&str> = names.iter().copied().collect();
        let missing = |name: &str| Error::weights(&self.origin, format!("lacks {name}; give all of its files"));
        if self.form == Form::Folder {
            return left.into_iter().try_for_each(|name| {
                let size = self.size(name).ok_or_else(|| missing(name))?;
                let body = Body::File(open_regular(&self.root.join(name))?);
                visitor(name, &mut Stream::new(&self.origin, name, size, body))
            });
        }
        self.walk(|stream| {
            let Some(name) = left.take(stream.name()) else { return Ok(ControlFlow::Continue(())) };
            visitor(name, stream)?;
            Ok(if left.is_empty() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        left.first().map_or(Ok(()), |name| Err(missing(name)))
    }

    /// Lists the regular files of a folder and, up to `depth`, of its subfolders. Links to files are followed; links to
    /// folders, which may form cycles, are not.
    fn list_folder(&mut self, within: &str, depth: usize, belongs: &dyn Fn(&str) -> bool) -> Result<()> {
        let folder = self.root.join(within);
        let io = |error| Error::io(&folder, error);
        let mut names = BTreeSet::new();
        for entry in fs::read_dir(&folder).map_err(io)? {
            poll();
            let entry = entry.map_err(io)?;
            let name = entry.file_name();
            names.extend(name.to_str().filter(|name| belongs(name)).map(str::to_owned));
        }
        for name in names {
            poll();
            let path = folder.join(&name);
            let inner = if within.is_empty() { name } else { format!("{within}/{name}") };
            let is_link = fs::symlink_metadata(&path).is_ok_and(|found| found.is_symlink());
            match fs::metadata(&path) {
                Ok(found) if found.is_file() => self.add(Member { name: inner, size: found.len() })?,
                Ok(found) if found.is_dir() && depth > 1 && !is_link => self.list_folder(&inner, depth - 1, belongs)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn list_archive(&mut self, keep: impl Fn(&str) -> bool) -> Result<()> {
        let (mut list, mut kept, mut names, mut left) = (vec![], BTreeMap::new(), BTreeSet::new(), MOST_KEPT);
        self.walk(|stream| {
            if !names.insert(stream.name().to_owned()) {
                return Err(stream.wrong("is there twice"));
            }
            if stream.size() <= left && keep(stream.name()) {
                left -= stream.size();
                let bytes = stream.bytes(stream.size() as usize)?;
                kept.insert(stream.name().to_owned(), bytes);
            }
            list.push(Member { name: stream.name().to_owned(), size: stream.size() });
            Ok(if list.len() > MOST_MEMBERS { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        self.kept = kept;
        list.into_iter().try_for_each(|member| self.add(member))
    }

    fn add(&mut self, member: Member) -> Result<()> {
        if self.list.len() >= MOST_MEMBERS {
            let reason = format!("holds more than {MOST_MEMBERS} files; give the path of the network's files");
            return Err(Error::weights(&self.origin, reason));
        }
        self.list.push(member);
        Ok(())
    }

    /// Calls `each` with the streams of the regular files of an archive, in storage order, until `each` returns `Break`.
    fn walk(&self, mut each: impl FnMut(&mut Stream) -> Result<ControlFlow<()>>) -> Result<()> {
        let path = &self.root;
        let file = BufReader::with_capacity(1 << 16, open_regular(path)?);
        let inner: Box<dyn Read> = match self.form {
            Form::Gzip => Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(file))),
            _ => Box::new(file),
        };
        let left = Rc::new(Cell::new(MOST_BETWEEN));
        let mut archive = Archive::new(Scarce { inner, left: left.clone(), total: MOST_UNPACKED });
        let mut before = "its beginning".to_owned();
        let unreadable = |before: &str, error: io::Error| {
            Error::weights(
                &self.origin,
                format!("an archive that cannot be read after {before} ({error}); is it truncated?"),
            )
        };
        for entry in archive.entries().map_err(|error| Error::io(path, error))? {
            let mut entry = entry.map_err(|error| unreadable(&before, error))?;
            let (name, size) = (plain(&entry.path_bytes()), entry.size());
            if name.len() > MOST_NAME {
                let reason = format!("holds a name of {} bytes, longer than any network's files have", name.len());
                return Err(Error::weights(&self.origin, reason));
            }
            let kind = entry.header().entry_type();
            if kind == EntryType::GNUSparse {
                let reason = format!("holds {name} as a sparse file; pack it again without --sparse");
                return Err(Error::weights(&self.origin, reason));
            }
            left.set(u64::MAX);
            let mut stream = Stream::new(&self.origin, &name, size, Body::Archived(&mut entry));
            if kind.is_file() && each(&mut stream)?.is_break() {
                return Ok(());
            }
            stream.skip_to(size)?;
            left.set(MOST_BETWEEN);
            before = name;
        }
        // The rest is read because the checksum of gzip is at the end.
        left.set(u64::MAX);
        io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(|error| unreadable(&before, error))?;
        Ok(())
    }
}

/// A reader that limits the number of bytes, both between two members and in total. Without limits, a name could claim to be as
/// long as the archive, and a small gzip file could expand to an enormous size.
struct Scarce {
    inner: Box<dyn Read>,
    left: Rc<Cell<u64>>,
    total: u64,
}

impl Read for Scarce {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        poll();
        if self.left.get() == 0 {
            return Err(io::Error::other("a name that is too long"));
        }
        if self.total == 0 {
            return Err(io::Error::other(format!("more than {MOST_UNPACKED} bytes when unpacked")));
        }
        let most = (out.len() as u64).min(self.left.get()).min(self.total) as usize;
        let count = self.inner.read(&mut out[..most])?;
        self.left.set(self.left.get() - count as u64);
        self.total -= count as u64;
        Ok(count)
    }
}

/// Detects whether a path is a folder, a `.tar` or a `.tar.gz`. Archives are recognized by their first bytes.
fn form(path: &Path) -> Result<Form> {
    if fs::metadata(path).map_err(|error| Error::io(path, error))?.is_dir() {
        return Ok(Form::Folder);
    }
    let mut head = vec![];
    open_regular(path)?.take(512).read_to_end(&mut head).map_err(|error| Error::io(path, error))?;
    match head.get(257..262) {
        _ if head.starts_with(b"\x1F\x8B") => Ok(Form::Gzip),
        Some(b"ustar") => Ok(Form::Tar),
        _ => Err(Error::weights(path, "neither a folder nor a .tar or .tar.gz; give one of these")),
    }
}

/// Opens a file, after a check that it is a regular file: opening a pipe would block until the pipe has a writer.
pub(super) fn open_regular(path: &Path) -> Result<File> {
    let found = fs::metadata(path).map_err(|error| Error::io(path, error))?;
    match found.is_file() {
        true => File::open(path).map_err(|error| Error::io(path, error)),
        false => Err(Error::weights(path, "not a regular file; give a file, a folder or an archive")),
    }
}

/// Normalizes the path of a member within an archive.
fn plain(path: &[u8]) -> String {
    let path = String::from_utf8_lossy(path);
    path.split('/').filter(|part| !matches!(*part, "" | ".")).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::{Member, Members};
    use std::io::Write;
    use tar::{Builder, EntryType, Header};

    fn archive(entries: &[(&str, EntryType, &[u8])]) -> Vec<u8> {
        let mut builder = Builder::new(vec![]);
        for (name, kind, content) in entries {
            let mut header = Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_size(content.len() as u64);
            builder.append_data(&mut header, name, *content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn open(bytes: &[u8]) -> Result<(tempfile::TempDir, Members), String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("archive");
        std::fs::write(&path, bytes).unwrap();
        Ok((folder, Members::open(&path, |name| name == "b.index").map_err(|error| error.to_string())?))
    }

    #[test]
    fn members_are_listed_and_read_in_the_order_in_which_they_lie() {
        let (file, long) = (EntryType::Regular, "long/".repeat(40) + "name");
        let entries = [
            ("./folder", EntryType::Directory, &b""[..]),
            ("./b.data", file, b"0123456789"),
            ("link", EntryType::Symlink, b""),
            ("b.index", file, b"index"),
            (&long, file, b"x"),
        ];
        let plain = archive(&entries);
        let mut packed = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
        packed.write_all(&plain).unwrap();
        for bytes in [plain, packed.finish().unwrap()] {
            let (_folder, members) = open(&bytes).unwrap();
            let expected = [("b.data", 10), ("b.index", 5), (&long, 1)];
            assert!(members.list().iter().map(|Member { name, size }| (name.as_str(), *size)).eq(expected));
            assert_eq!(members.read("b.index", 5).unwrap(), b"index");
            assert_eq!(members.read("b.data", 10).unwrap(), b"0123456789");
            assert!(
                members.read("b.data", 9).unwrap_err().to_string().contains("b.data has 10 bytes, where at most 9")
            );
            assert!(members.read("c", 9).unwrap_err().to_string().contains("lacks c"));
            let mut seen = vec![];
            let visit = members.visit(&["b.index", "b.data"], |name, stream| {
                stream.skip_to(3)?;
                seen.push((name.to_owned(), stream.bytes(2)?));
                let told = stream.skip_to(1).unwrap_err().to_string();
                assert!(told.contains(name), "{told}");
                assert!(stream.bytes(9).is_err());
                Ok(())
            });
            visit.unwrap();
            assert_eq!(seen, [("b.data".into(), b"34".to_vec()), ("b.index".into(), b"ex".to_vec())]);
        }
    }

    #[test]
    fn archives_that_lie_are_errors() {
        let file = EntryType::Regular;
        let twice = open(&archive(&[("a", file, b"1"), ("./a", file, b"2")])).unwrap_err();
        assert!(twice.contains("a is there twice"), "{twice}");
        let sparse = open(&archive(&[("a", EntryType::GNUSparse, b"")])).unwrap_err();
        assert!(sparse.contains("a as a sparse file") || sparse.contains("cannot be read"), "{sparse}");
        // A name of 2 MB, and a member that claims to be larger than any disk.
        let name = open(&archive(&[("././@LongLink", EntryType::GNULongName, &vec![b'n'; 2 << 20]), ("a", file, b"")]));
        assert!(name.unwrap_err().contains("a name that is too long"));
        let mut huge = archive(&[("b.index", file, b"1")]);
        let mut header = Header::new_gnu();
        header.as_mut_bytes().copy_from_slice(&huge[..512]);
        header.set_size(1 << 50);
        header.set_cksum();
        huge[..512].copy_from_slice(header.as_bytes());
        let told = open(&huge).unwrap_err();
        assert!(told.contains("b.index ends before byte"), "{told}");
    }
}
