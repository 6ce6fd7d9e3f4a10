//! The legacy form of a `.pth` file, written by torch before 1.6: five pickles, followed by the values.
//!
//! The pickles are a magic number, the version, a dict with the byte order, the saved object, and the list of the storages'
//! keys. The values follow in the order of the list of keys: for each storage, an int64 count, then this number of values. Only
//! the object shows the type of the values.
use super::Storages;
use super::pickle::Pickle;
use super::value::Value;
use std::collections::BTreeMap;

type Result<T> = std::result::Result<T, String>;

/// The first pickle: the integer 0x1950a86a20f9469cfc6c.
pub(super) const MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
/// The version of the format, which is the second pickle.
const VERSION: i64 = 1001;

/// Reads the object, and the location of each storage's values. The error states the reason for a failure.
pub(super) fn read(bytes: &[u8]) -> Result<(Pickle<'_>, Storages<'_>)> {
    let version = Pickle::read(bytes.get(MAGIC.len()..).unwrap_or_default())?;
    if version.root != Value::Int(VERSION) {
        return Err(format!(
            "has another version than {VERSION} of torch's legacy format; save it again with a current torch"
        ));
    }
    let system = Pickle::read(version.rest)?;
    let items = system.objects.items(system.root).unwrap_or_default();
    if !items.contains(&(Value::Text("little_endian"), Value::Bool(true))) {
        return Err("was saved on a big-endian machine, or does not say; load it with torch, and save it again".into());
    }
    let object = Pickle::read(system.rest)?;
    let keys = Pickle::read(object.rest)?;
    let storages = places(bytes, &object, &keys)?;
    Ok((object, storages))
}

/// Returns the location of each storage's values. The values follow the list of keys, in the order of the list.
fn places<'a>(bytes: &[u8], object: &Pickle<'a>, keys: &Pickle<'a>) -> Result<Storages<'a>> {
    let mut known = BTreeMap::new();
    for storage in object.objects.storages() {
        let (scalar, count) = (storage.scalar, storage.count);
        if known.insert(storage.key, (scalar, count)).is_some_and(|before| before != (scalar, count)) {
            return Err(format!("has two sizes or two types for storage {:?}; it is damaged", storage.key));
        }
    }
    let mut storages = Storages::new();
    let mut at = bytes.len() - keys.rest.len();
    for &key in keys.objects.elements(keys.root).ok_or("the keys of its storages are not a list; it is damaged")? {
        let Value::Text(key) = key else { return Err("the key of a storage is not text; it is damaged".into()) };
        let Some(&(scalar, count)) = known.get(key) else {
            return Err(format!("holds a storage {key:.64?} that no tensor uses; it is damaged"));
        };
        let cut = || format!("ends inside storage {key:?} of {count} values; it is truncated, so copy it again");
        let found = bytes.get(at..).and_then(|rest| rest.first_chunk()).map(|&count| i64::from_le_bytes(count));
        let found = found.ok_or_else(cut)?;
        if usize::try_from(found) != Ok(count) {
            return Err(format!("has {found} values in storage {key:?} of {count}; it is damaged"));
        }
        let start = at + size_of::<i64>();
        let size = count.checked_mul(scalar.size()).filter(|&size| size <= bytes.len() - start).ok_or_else(cut)?;
        at = start + size;
        if storages.insert(key, start..at).is_some() {
            return Err(format!("holds storage {key:?} twice; it is damaged"));
        }
    }
    match bytes.len() - at {
        0 => Ok(storages),
        n => {
            Err(format!("has {n} bytes after its last tensor; it is damaged, or more than one object was saved to it"))
        }
    }
}
