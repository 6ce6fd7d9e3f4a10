//! TensorFlow.js graph models. `model.json` lists the weights. The concatenated shards hold the weights' bytes in the order of
//! the list.
//!
//! Source: tensorflow/tfjs `tfjs-core/src/io/types.ts` (`WeightsManifestConfig`). Converters of 2018 keep batch norms and name
//! weights after variables. Since 2019, converters fold batch norms into weights. Folded weights are recognized by their names
//! (`…/Conv2D_weights`, `…/Conv2D_bn_offset`).
use super::super::{Tensor, Tensors};
use super::members::Members;
use super::numbers::Stored;
use crate::error::{Error, Result};
use crate::memory;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const MODEL: &str = "model.json";
/// The names of the files of an older format, which is refused.
const OLDER: [&str; 2] = ["tensorflowjs_model.pb", "weights_manifest.json"];
/// Maximum size of `model.json` in bytes; valid ones are smaller.
const MOST_JSON: u64 = 16 << 20;
/// Maximum size of all shards together in bytes; InceptionV3 up to Mixed_6e takes 36 MB.
const MOST_BYTES: u64 = 256 << 20;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    weights_manifest: Vec<Group>,
}

/// Weights that are stored contiguously in the concatenation of the shards in `paths`.
#[derive(Deserialize)]
struct Group {
    paths: Vec<String>,
    weights: Vec<Weight>,
}

#[derive(Deserialize)]
struct Weight {
    name: String,
    shape: Vec<u64>,
    dtype: String,
    quantization: Option<Quantization>,
}

#[derive(Deserialize)]
struct Quantization {
    dtype: String,
}

/// Reads all float32 and float16 weights by name. `path` is that of `model.json`, of its folder, or of an archive that contains
/// `model.json`.
///
/// # Errors
/// There is no model; a shard is missing; the shards of a group do not have the total size of its weights; or a weight is
/// quantized to integers or of an unsupported type.
pub fn read_weights(path: &Path) -> Result<Tensors> {
    let (members, json) = locate(path)?;
    let wrong = |reason: String| Error::weights(members.origin(), reason);
    let model = serde_json::from_slice(&members.read(&json, MOST_JSON)?);
    let Manifest { weights_manifest } = model.map_err(|error| {
        wrong(format!(
            "{json} is not a model.json of a TensorFlow.js graph model ({error}); give the folder that holds one"
        ))
    })?;
    let folder = json.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
    let mut seen = BTreeSet::new();
    let mut total = 0_u64;
    for group in &weights_manifest {
        total = total.saturating_add(check(group, &folder, &members, &mut seen).map_err(wrong)?);
    }
    if total > MOST_BYTES {
        return Err(wrong(format!(
            "its shards have {total} bytes, too many for a style network of at most {MOST_BYTES}"
        )));
    }
    let mut tensors = Tensors::new();
    for group in &weights_manifest {
        let bytes = joined(group, &folder, &members)?;
        let mut rest = &bytes[..];
        for weight in &group.weights {
            let (stored, _) = weight.stored().map_err(wrong)?;
            let size = usize::try_from(weight.size().map_err(wrong)?).unwrap_or(usize::MAX);
            let taken = rest.split_off(..size).ok_or_else(|| wrong(format!("{json} changed while it was read")))?;
            let Some(stored) = stored else { continue };
            let (shape, data) =
                (weight.shape.iter().map(|&side| side as usize).collect(), stored.to_f32(&weight.name, taken)?);
            if tensors.insert(weight.name.clone(), Tensor { shape, data }).is_some() {
                return Err(wrong(format!("{json} lists {} twice", weight.name)));
            }
        }
    }
    Ok(tensors)
}

/// Returns `true` if batch norms are folded into these weights, as by converters since 2019.
pub fn is_folded(weights: &Tensors) -> bool {
    weights.keys().any(|name| name.ends_with("_bn_offset"))
}

impl Weight {
    /// Returns the stored type, and the size in bytes of one value. The type is `None` for integers and booleans, because they
    /// are not weights of layers.
    fn stored(&self) -> std::result::Result<(Option<Stored>, u64), String> {
        let quantization = self.quantization.as_ref().map(|quantization| quantization.dtype.as_str());
        match (self.dtype.as_str(), quantization) {
            ("float32", None) => Ok((Some(Stored::F32), 4)),
            ("float32", Some("float16")) => Ok((Some(Stored::F16), 2)),
            ("int32", None) => Ok((None, 4)),
            ("bool", None) => Ok((None, 1)),
            (dtype, stored) => {
                let stored = stored.unwrap_or(dtype);
                Err(format!(
                    "has {} in {stored}, which is not supported; convert the model without quantization",
                    self.name
                ))
            }
        }
    }

    /// Returns the size in bytes.
    fn size(&self) -> std::result::Result<u64, String> {
        let size = self.shape.iter().try_fold(self.stored()?.1, |n, &side| n.checked_mul(side));
        size.ok_or_else(|| format!("has {} of shape {:?}, more than fits into memory", self.name, self.shape))
    }
}

/// Returns the size of a group in bytes, after two checks: the group's shards together have this size, and belong to no other
/// group.
fn check<'a>(
    group: &'a Group,
    folder: &str,
    members: &Members,
    seen: &mut BTreeSet<&'a str>,
) -> std::result::Result<u64, String> {
    let mut shards = 0_u64;
    for path in &group.paths {
        let size = members.size(&format!("{folder}{path}"));
        let size = size.ok_or_else(|| format!("lacks the shard {folder}{path}; put it beside {MODEL}"))?;
        shards = shards.saturating_add(size);
        if !seen.insert(path) {
            return Err(format!("lists the shard {path} twice; convert the model again"));
        }
    }
    let mut weights = 0_u64;
    for weight in &group.weights {
        weights = weights.saturating_add(weight.size()?);
    }
    if weights != shards {
        return Err(format!(
            "lists weights of {weights} bytes for the shards {}, which have {shards}; one is truncated or of another model",
            group.paths.join(", ")
        ));
    }
    Ok(shards)
}

/// Reads the bytes of a group.
fn joined(group: &Group, folder: &str, members: &Members) -> Result<Vec<u8>> {
    let mut places = BTreeMap::new();
    let mut total = 0;
    for path in &group.paths {
        let (name, at) = (format!("{folder}{path}"), total);
        total += members.size(&name).unwrap_or(0) as usize;
        places.insert(name, at..total);
    }
    let mut bytes = memory::zeros("the shards of a model", total)?;
    let names: Vec<&str> = places.keys().map(String::as_str).collect();
    members.visit(&names, |name, stream| stream.fill(&mut bytes[places[name].clone()]))?;
    Ok(bytes)
}

/// Returns the folder or archive with the model's files, and the name of its `model.json`.
fn locate(path: &Path) -> Result<(Members, String)> {
    let file = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let older = |name: &str| {
        let reason = format!(
            "{name} belongs to an older format of TensorFlow.js models, which is not supported; convert the model again"
        );
        Error::weights(path, reason)
    };
    if OLDER.contains(&file) && path.exists() {
        return Err(older(file));
    }
    if file.ends_with(".json") && path.is_file() {
        return Ok((Members::beside(path, |_| true)?, file.into()));
    }
    let last = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
    let members = Members::open(path, |name| last(name) == MODEL)?;
    let names = || members.list().iter().map(|member| &member.name);
    let found: Vec<String> = names().filter(|name| last(name) == MODEL).cloned().collect();
    match &found[..] {
        [json] => Ok((members, json.clone())),
        [] => match names().find(|name| OLDER.contains(&last(name).as_str())) {
            Some(name) => Err(older(name)),
            None => Err(Error::weights(
                path,
                format!("not a TensorFlow.js model: it holds no {MODEL}; give the folder that does"),
            )),
        },
        [first, second, ..] => {
            let reason = format!("holds {} models ({first}, {second}, …); give the path of one {MODEL}", found.len());
            Err(Error::weights(path, reason))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::read_weights;
    use crate::weights::Tensors;
    use std::fs;

    fn read(manifest: &str, shards: &[(&str, &[u8])]) -> Result<Tensors, String> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(
            folder.path().join("model.json"),
            format!("{{\"modelTopology\": [[]], \"weightsManifest\": {manifest}}}"),
        )
        .unwrap();
        shards.iter().for_each(|(name, bytes)| fs::write(folder.path().join(name), bytes).unwrap());
        read_weights(folder.path()).map_err(|error| error.to_string())
    }

    #[test]
    fn weights_lie_one_after_the_other_across_shards() {
        let manifest = r#"[
            {"paths": ["a1", "a2"], "weights": [
                {"name": "axis", "shape": [], "dtype": "int32"},
                {"name": "w", "shape": [2], "dtype": "float32"}]},
            {"paths": ["b"], "weights": [
                {"name": "half", "shape": [1, 2], "dtype": "float32", "quantization": {"dtype": "float16"}},
                {"name": "none", "shape": [0, 9], "dtype": "float32"}]}]"#;
        let floats: Vec<u8> = [1.5_f32, -2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        let first = [&[9; 4][..], &floats[..3]].concat();
        let shards = [("a1", &first[..]), ("a2", &floats[3..]), ("b", &[0, 0x3C, 0, 0xC0])];
        let read_back = read(manifest, &shards).unwrap();
        assert_eq!(read_back.keys().collect::<Vec<_>>(), ["half", "none", "w"]);
        assert_eq!((&read_back["w"].data[..], &read_back["half"].data[..]), (&[1.5, -2.0][..], &[1.0, -2.0][..]));
        assert_eq!(read_back["half"].shape, [1, 2]);
        assert!(read(manifest, &shards[..2]).unwrap_err().contains("lacks the shard b"));
        let short = [shards[0], ("a2", &floats[4..]), shards[2]];
        assert!(
            read(manifest, &short).unwrap_err().contains("weights of 12 bytes for the shards a1, a2, which have 11")
        );
    }

    #[test]
    fn manifests_that_lie_or_quantize_are_errors() {
        let weight = |rest: &str| format!(r#"[{{"paths": ["a"], "weights": [{{"name": "w", {rest}}}]}}]"#);
        let group = r#"{"paths": ["a"], "weights": [{"name": "w", "shape": [1], "dtype": "float32"}]}"#;
        for (manifest, words) in [
            (
                weight(r#""shape": [4], "dtype": "float32", "quantization": {"dtype": "uint8", "min": 0, "scale": 1}"#),
                "w in uint8",
            ),
            (weight(r#""shape": [4], "dtype": "string""#), "w in string"),
            (weight(r#""shape": [4611686018427387904, 8], "dtype": "float32""#), "more than fits into memory"),
            (weight(r#""shape": [-1], "dtype": "float32""#), "not a model.json"),
            (format!("[{group}, {group}]"), "lists the shard a twice"),
            (group.to_owned(), "not a model.json"),
            ("[".repeat(100_000), "not a model.json"),
        ] {
            let told = read(&manifest, &[("a", &[0; 4])]).unwrap_err();
            assert!(told.contains(words), "{told}");
        }
    }
}
