//! The variables of TensorFlow's checkpoints and SavedModels, by their names in the graph.
//!
//! TF1 stores variables under these names. TF2 stores variables under the paths of Python objects, and writes the names into an
//! object graph: `TrackableObjectGraph` in tensorflow `core/protobuf/trackable_object_graph.proto`. The graph of operations is
//! not read.
use super::super::Tensors;
use super::bundle::Bundle;
use super::protobuf::{Damaged, fields};
use crate::error::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The key of the tensor that holds the object graph.
const OBJECT_GRAPH: &str = "_CHECKPOINTABLE_OBJECT_GRAPH";

/// Reads variables as float32. A variable is read if `wanted` returns `true` for its name. `path` refers to a checkpoint or a
/// SavedModel: its prefix, one of its files, its folder, or an archive.
///
/// # Errors
/// There is no checkpoint, none of its variables is wanted, two wanted variables have the same name, or a wanted variable
/// cannot be read.
pub fn read_variables(path: &Path, wanted: impl Fn(&str) -> bool) -> Result<Tensors> {
    let bundle = Bundle::open(path)?;
    let wrong = |reason: String| Error::weights(bundle.origin(), reason);
    let graph = bundle.string(OBJECT_GRAPH)?;
    let full_names = graph.as_deref().map_or(Ok(BTreeMap::new()), full_names);
    let full_names = full_names.map_err(|Damaged| wrong(format!("its {OBJECT_GRAPH} is damaged; fetch it again")))?;
    let name_of =
        |key: &str| full_names.get(key).map_or(key, |name| name.strip_suffix(":0").unwrap_or(name)).to_owned();
    let names: BTreeMap<String, String> = bundle.keys().map(|key| (key.to_owned(), name_of(key))).collect();
    let chosen: BTreeMap<_, _> =
        names.iter().filter(|(_, name)| wanted(name)).map(|(k, n)| (k.clone(), n.clone())).collect();
    if chosen.is_empty() {
        let found: BTreeSet<&String> = names.values().filter(|name| *name != OBJECT_GRAPH).collect();
        let three: Vec<String> = found.iter().take(3).map(|name| format!("{name:?}")).collect();
        return Err(wrong(format!(
            "has {} variables without Magenta's names ({}); give its checkpoint or hub model",
            found.len(),
            three.join(", ")
        )));
    }
    let mut seen = BTreeSet::new();
    match chosen.values().find(|name| !seen.insert(*name)) {
        Some(name) => Err(wrong(format!("has two variables named {name:?}; give a file with one"))),
        None => bundle.read(&chosen),
    }
}

/// Returns the names of the variables in an object graph, by the keys of the checkpoint's tensors.
fn full_names(graph: &[u8]) -> std::result::Result<BTreeMap<String, String>, Damaged> {
    let mut names = BTreeMap::new();
    for node in fields(graph) {
        let (1, node) = node? else { continue };
        for attribute in fields(node.bytes()?) {
            let (2, attribute) = attribute? else { continue };
            let (mut key, mut name) = ("", "");
            for field in fields(attribute.bytes()?) {
                match field? {
                    (2, text) => name = text.text()?,
                    (3, text) => key = text.text()?,
                    _ => {}
                }
            }
            if !name.is_empty() {
                names.insert(key.to_owned(), name.to_owned());
            }
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::super::bundle::tests::{ONE_SHARD, entry, field, write};
    use super::super::table::{masked, tests::number};
    use super::{OBJECT_GRAPH, read_variables};

    /// A bundle of scalar variables, one per name, and its graph of objects.
    fn saved(names: &[Option<&str>]) -> tempfile::TempDir {
        let mut data: Vec<u8> = (1..=names.len()).flat_map(|n| (n as f32).to_le_bytes()).collect();
        let keys: Vec<String> = (0..names.len()).map(|i| format!("variables/{i}/.ATTRIBUTES/VARIABLE_VALUE")).collect();
        let nodes = keys.iter().zip(names).map(|(key, name)| {
            let name = name.map_or(vec![], |name| field(2, name.as_bytes()));
            let attribute = [field(1, b"VARIABLE_VALUE"), name, field(3, key.as_bytes())].concat();
            field(1, &field(2, &attribute))
        });
        let graph = nodes.collect::<Vec<_>>().concat();
        let lengths = crc32c::crc32c(&(graph.len() as u32).to_le_bytes());
        let sum = masked(lengths).to_le_bytes();
        let crc = crc32c::crc32c_append(crc32c::crc32c_append(lengths, &sum), &graph);
        let mut text = vec![];
        number(graph.len(), &mut text);
        text.extend([&sum[..], &graph].concat());
        let mut entries = vec![(OBJECT_GRAPH, entry(7, &[], (0, data.len(), text.len()), crc))];
        for (i, key) in keys.iter().enumerate() {
            entries.push((key, entry(1, &[], (0, 4 * i, 4), crc32c::crc32c(&data[4 * i..4 * i + 4]))));
        }
        data.extend(text);
        write(&entries, &ONE_SHARD, &data)
    }

    #[test]
    fn names_are_those_of_the_graph_of_objects() {
        let folder = saved(&[Some("Conv/weights"), None, Some("Conv/biases:0")]);
        let read = read_variables(folder.path(), |name| name.starts_with("Conv/")).unwrap();
        assert_eq!((read.len(), read["Conv/weights"].data[0], read["Conv/biases"].data[0]), (2, 1.0, 3.0));
    }

    #[test]
    fn variables_without_names_or_with_the_same_are_refused() {
        let is_ours = |name: &str| name.starts_with("Conv/");
        for (names, words) in [
            (&[None, None][..], "\"variables/0/.ATTRIBUTES/VARIABLE_VALUE\""),
            (&[Some("dense/kernel")], "\"dense/kernel\""),
            (&[Some("Conv/weights"), Some("Conv/weights")], "two variables named \"Conv/weights\""),
        ] {
            let told = read_variables(saved(names).path(), is_ours).unwrap_err().to_string();
            assert!(told.contains(words), "{told}");
        }
        let folder = saved(&[Some("Conv/weights")]);
        let data = folder.path().join("m.data-00000-of-00001");
        let mut bytes = std::fs::read(&data).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&data, bytes).unwrap();
        let told = read_variables(folder.path(), is_ours).unwrap_err().to_string();
        assert!(told.contains("checksum of \"_CHECKPOINTABLE"), "{told}");
    }
}
