//! The legacy form of a `.pth` file, which torch before 1.6 wrote: five pickles, one after the other, and then the numbers.
//!
//! The pickles are a mark, the version, a dict that says in which order bytes are, the object, and the list of the storages' keys. For
//! each key, in the order of that list, there follow an int64 count and so many numbers, whose type the object alone says.
use super::Storages;
use super::pickle::Pickle;
use super::value::Value;
use std::collections::BTreeMap;

type Result<T> = std::result::Result<T, String>;

/// The first pickle: the number 0x1950a86a20f9469cfc6c.
pub(super) const MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
/// The second one.
const VERSION: i64 = 1001;

/// Reads the object, and where the numbers of each storage lie; the error is the reason.
pub(super) fn read(bytes: &[u8]) -> Result<(Pickle<'_>, Storages<'_>)> {
    let version = Pickle::read(bytes.get(MAGIC.len()..).unwrap_or_default())?;
    if version.root != Value::Int(VERSION) {
        return Err(format!(
            "is of another version than {VERSION} of torch's legacy form; save it anew with a current torch"
        ));
    }
    let system = Pickle::read(version.rest)?;
    let items = system.objects.items(system.root).unwrap_or_default();
    if !items.contains(&(Value::Text("little_endian"), Value::Bool(true))) {
        return Err("was saved on a big-endian machine, or does not say; load it with torch, and save it anew".into());
    }
    let object = Pickle::read(system.rest)?;
    let keys = Pickle::read(object.rest)?;
    let storages = places(bytes, &object, &keys)?;
    Ok((object, storages))
}

/// Where the numbers of each storage lie: after the keys, in their order.
fn places<'a>(bytes: &[u8], object: &Pickle<'a>, keys: &Pickle<'a>) -> Result<Storages<'a>> {
    let mut known = BTreeMap::new();
    for storage in object.objects.storages() {
        let (scalar, count) = (storage.scalar, storage.count);
        if known.insert(storage.key, (scalar, count)).is_some_and(|before| before != (scalar, count)) {
            return Err(format!("says of storage {:?} two sizes or two types; it is damaged", storage.key));
        }
    }
    let mut storages = Storages::new();
    let mut at = bytes.len() - keys.rest.len();
    for &key in keys.objects.elements(keys.root).ok_or("its storages' keys are no list; it is damaged")? {
        let Value::Text(key) = key else { return Err("the key of a storage is no text; it is damaged".into()) };
        let Some(&(scalar, count)) = known.get(key) else {
            return Err(format!("holds a storage {key:.64?} that no tensor uses; it is damaged"));
        };
        let cut = || format!("ends within storage {key:?} of {count} numbers; it is cut, so copy it anew");
        let found = bytes.get(at..).and_then(|rest| rest.first_chunk()).map(|&count| i64::from_le_bytes(count));
        let found = found.ok_or_else(cut)?;
        if usize::try_from(found) != Ok(count) {
            return Err(format!("has {found} numbers in storage {key:?} of {count}; it is damaged"));
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
