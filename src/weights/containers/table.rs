//! LevelDB's table format, for the features that the indices of tensor bundles use. A table holds sorted keys, each with a
//! value.
//!
//! <https://github.com/google/leveldb/blob/main/doc/table_format.md>. Blocks are uncompressed, as TensorFlow writes them, and
//! the checksum of each block is checked. Work and memory are bounded by a small multiple of the file's size.
use super::protobuf::{Damaged, take, varint};
use std::collections::BTreeMap;

/// The last eight bytes of a table.
pub(super) const MARK: [u8; 8] = *b"\x57\xFB\x80\x8B\x24\x75\x47\xDB";
/// The size of the footer in bytes: two block handles, padding, and the mark.
const FOOTER: usize = 48;
/// The number of bytes after each block: its kind and its checksum.
const TRAILER: usize = 5;
/// Limits that no valid table exceeds.
const MOST_ENTRIES: usize = 1 << 15;
const MOST_KEY: usize = 2048;

/// Returns a CRC-32C in the masked form that LevelDB and TensorFlow store. Without the mask, the checksum of data that itself
/// contains checksums would be unreliable.
pub(super) fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xA282_EAD8)
}

/// Reads all keys and values of a table; the error states the reason for a failure.
pub(super) fn read(file: &[u8]) -> Result<BTreeMap<Vec<u8>, &[u8]>, String> {
    let damaged =
        |what: &'static str| move |Damaged| format!("is damaged: an offset or a length in its {what} is wrong");
    let footer = file.len().checked_sub(FOOTER).map(|at| &file[at..]).filter(|footer| footer.ends_with(&MARK));
    let mut footer = footer.ok_or("does not end like an index; it is truncated, or another kind of file")?;
    // The first handle is that of the metaindex, which is empty.
    place(&mut footer).map_err(damaged("footer"))?;
    let index = place(&mut footer).map_err(damaged("footer"))?;
    let (mut all, mut end) = (BTreeMap::new(), 0);
    let mut previous = vec![];
    for handle in entries(block(file, index)?).map_err(damaged("list of blocks"))? {
        let (_, mut handle) = handle.map_err(damaged("list of blocks"))?;
        let (at, size) = place(&mut handle).map_err(damaged("list of blocks"))?;
        if at < end {
            return Err("is damaged: its blocks overlap".into());
        }
        end = at.saturating_add(size);
        for entry in entries(block(file, (at, size))?).map_err(damaged("entries"))? {
            let (key, value) = entry.map_err(damaged("entries"))?;
            if !all.is_empty() && key <= previous {
                return Err("is damaged: its keys are out of order".into());
            }
            if all.len() == MOST_ENTRIES {
                return Err(format!("has more than {MOST_ENTRIES} entries, too many for a style network"));
            }
            previous.clone_from(&key);
            all.insert(key, value);
        }
    }
    Ok(all)
}

/// Reads the offset and the size of a block off the front of the bytes.
fn place(rest: &mut &[u8]) -> Result<(usize, usize), Damaged> {
    let number = |rest: &mut &[u8]| usize::try_from(varint(rest)?).map_err(|_| Damaged);
    Ok((number(rest)?, number(rest)?))
}

/// Returns the content of a block, after a check of its checksum.
fn block(file: &[u8], (at, size): (usize, usize)) -> Result<&[u8], String> {
    let whole = size.checked_add(TRAILER).and_then(|whole| at.checked_add(whole)).and_then(|end| file.get(at..end));
    let (body, sum) = whole
        .and_then(|whole| whole.split_last_chunk::<4>())
        .ok_or_else(|| format!("is damaged: it refers to a block of {size} bytes at byte {at} of {}", file.len()))?;
    if u32::from_le_bytes(*sum) != masked(crc32c::crc32c(body)) {
        return Err(format!("is damaged: the checksum of its block at byte {at} is wrong; fetch it again"));
    }
    match body.split_last() {
        Some((0, content)) => Ok(content),
        Some((1, _)) => {
            Err("has blocks compressed by Snappy, which TensorFlow does not write and which is not supported; \
                             load the checkpoint and save it again with tf.train.Saver"
                .into())
        }
        kind => Err(format!("has a block of the unknown kind {}", kind.map_or(0, |(kind, _)| *kind))),
    }
}

type Entry<'a> = Result<(Vec<u8>, &'a [u8]), Damaged>;

/// Iterates over the keys and values of a block, up to its end or the first error.
fn entries(content: &[u8]) -> Result<impl Iterator<Item = Entry<'_>>, Damaged> {
    // The entries are followed by the restart points, i.e. the positions at which keys are stored whole, and their count.
    let (rest, count) = content.split_last_chunk::<4>().ok_or(Damaged)?;
    let places = usize::try_from(u32::from_le_bytes(*count)).ok().and_then(|count| count.checked_mul(4));
    let end = places.and_then(|places| rest.len().checked_sub(places)).ok_or(Damaged)?;
    let (mut rest, mut key) = (&rest[..end], vec![]);
    Ok(std::iter::from_fn(move || {
        let read = (!rest.is_empty()).then(|| entry(&mut rest, &mut key))?;
        if read.is_err() {
            rest = &[];
        }
        Some(read)
    }))
}

/// Reads the next entry. The file stores only the part of a key after the prefix shared with the previous key. `key` holds the
/// previous key, and is replaced by the new one.
fn entry<'a>(rest: &mut &'a [u8], key: &mut Vec<u8>) -> Entry<'a> {
    let mut size = || usize::try_from(varint(rest)?).map_err(|_| Damaged);
    let (shared, unshared, value) = (size()?, size()?, size()?);
    if shared > key.len() || unshared > MOST_KEY - shared {
        return Err(Damaged);
    }
    key.truncate(shared);
    key.extend_from_slice(take(rest, unshared)?);
    Ok((key.clone(), take(rest, value)?))
}

#[cfg(test)]
pub(super) mod tests {
    use super::{MARK, masked, read};

    pub(in super::super) fn number(mut n: usize, to: &mut Vec<u8>) {
        while n >= 0x80 {
            to.push(n as u8 | 0x80);
            n >>= 7;
        }
        to.push(n as u8);
    }

    /// Appends a block and returns its handle.
    fn block(entries: &[(Vec<u8>, Vec<u8>)], kind: u8, file: &mut Vec<u8>) -> Vec<u8> {
        let mut body = vec![];
        let mut before: &[u8] = &[];
        for (key, value) in entries {
            let shared = before.iter().zip(key).take_while(|(a, b)| a == b).count();
            [shared, key.len() - shared, value.len()].into_iter().for_each(|n| number(n, &mut body));
            body.extend_from_slice(&key[shared..]);
            body.extend_from_slice(value);
            before = key;
        }
        body.extend_from_slice(&[0, 0, 0, 0, 1, 0, 0, 0]);
        let mut place = vec![];
        number(file.len(), &mut place);
        number(body.len(), &mut place);
        body.push(kind);
        let sum = masked(crc32c::crc32c(&body));
        file.extend_from_slice(&body);
        file.extend_from_slice(&sum.to_le_bytes());
        place
    }

    /// A table of these entries, two to a block.
    pub(in super::super) fn table(entries: &[(Vec<u8>, Vec<u8>)], kind: u8) -> Vec<u8> {
        let mut file = vec![];
        let places: Vec<_> =
            entries.chunks(2).map(|two| (two[two.len() - 1].0.clone(), block(two, kind, &mut file))).collect();
        let mut footer = block(&[], 0, &mut file);
        footer.extend(block(&places, 0, &mut file));
        footer.resize(40, 0);
        file.extend(footer);
        file.extend(MARK);
        file
    }

    fn entries(keys: &[&str]) -> Vec<(Vec<u8>, Vec<u8>)> {
        keys.iter().map(|key| (key.as_bytes().to_vec(), format!("value of {key}").into_bytes())).collect()
    }

    #[test]
    fn a_table_is_read_and_whatever_is_cut_or_changed_is_an_error() {
        let wanted = entries(&["", "Conv/biases", "Conv/weights", "Conv/weights/Adam", "z"]);
        let file = table(&wanted, 0);
        let read_back = read(&file).unwrap();
        assert!(read_back.iter().map(|(k, v)| (k.clone(), v.to_vec())).eq(wanted));
        for len in 0..file.len() {
            assert!(read(&file[..len]).is_err(), "{len}");
        }
        for at in 0..file.len() {
            let mut changed = file.clone();
            changed[at] ^= 0x15;
            // Neither the padding nor the block that is always empty is read.
            assert!(read(&changed).is_err() || read(&changed) == Ok(read_back.clone()), "{at}");
        }
    }

    #[test]
    fn keys_out_of_order_and_compressed_blocks_are_refused() {
        let told = read(&table(&entries(&["b", "a"]), 0)).unwrap_err();
        assert!(told.contains("out of order"), "{told}");
        let told = read(&table(&entries(&["a"]), 1)).unwrap_err();
        assert!(told.contains("Snappy"), "{told}");
        assert!(read(&table(&entries(&["a"]), 7)).unwrap_err().contains("kind 7"));
    }
}
