//! A model: its name, origin, network and weights, and its file format.
use super::network::Network;
use super::safetensors::{Dtype, File, View, encode, write};
use crate::error::{Error, Result};
use half::f16;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

const FORMAT: &str = "sassl.model";
const EMBEDDED_MODEL: &[u8] = include_bytes!("lite.safetensors");

/// The default style bank, in the style space of `lite`, as the contents of a bank file.
pub const EMBEDDED_BANK: &[u8] = include_bytes!("lite_bank.safetensors");

/// A float32 tensor in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// The shape.
    pub shape: Vec<usize>,
    /// The values.
    pub data: Vec<f32>,
}

impl Tensor {
    /// Returns `true` if float16 represents all values exactly.
    fn is_half(&self) -> bool {
        self.data.iter().all(|&x| f16::from_f32(x).to_f32() == x)
    }
}

/// Tensors by name.
pub type Tensors = BTreeMap<String, Tensor>;

/// A validated model, with all of its weights.
#[derive(Clone, Debug)]
pub struct Model {
    /// The name of the model.
    pub name: String,
    /// The id of the model's style space: a hash of the predictor's weights.
    pub space: String,
    /// The licence of the weights.
    pub licence: String,
    /// The origin of the weights.
    pub provenance: String,
    /// The description of the network.
    pub network: Network,
    /// The weights: exactly the tensors that `network` describes.
    pub tensors: Tensors,
    /// The stored dtypes of the tensors, by tensor name; empty for a model that was not read from a file. The dtypes are needed
    /// because the id of the style space is a hash of the stored bytes.
    stored: BTreeMap<String, Dtype>,
}

impl Model {
    /// Creates a model from tensors. The id of its style space is computed from the predictor's tensors as float32.
    ///
    /// # Errors
    /// The network is inconsistent, or a tensor is missing, superfluous, of the wrong shape, or not finite. The error names
    /// `origin`, the file of the tensors.
    pub fn new(
        origin: &Path,
        name: &str,
        licence: &str,
        provenance: &str,
        network: Network,
        tensors: Tensors,
    ) -> Result<Self> {
        check(&network, &tensors).map_err(|reason| Error::weights(origin, reason))?;
        let predictor = tensors.iter().map(|(name, tensor)| (name.as_str(), encode(Dtype::F32, &tensor.data)));
        let space = space_id(predictor.map(|(name, bytes)| (name, Cow::Owned(bytes))));
        let [name, licence, provenance] = [name, licence, provenance].map(str::to_owned);
        Ok(Self { name, space, licence, provenance, network, tensors, stored: BTreeMap::new() })
    }

    /// Returns a model that ships with the package; the only one is `lite`.
    ///
    /// # Errors
    /// The name is unknown.
    pub fn embedded(name: &str) -> Result<Self> {
        match name {
            "lite" => {
                Self::from_file(&File::from_bytes(Cow::Borrowed(EMBEDDED_MODEL), Path::new("the embedded model"))?)
            }
            _ => {
                let requirement = "must be \"lite\" or the path of a .safetensors file, as created by `sassl convert`";
                Err(Error::value("model", format!("{name:?}"), requirement))
            }
        }
    }

    /// Reads a model file.
    ///
    /// # Errors
    /// The file cannot be read, or is invalid.
    pub fn load(path: &Path) -> Result<Self> {
        Self::from_file(&File::open(path)?)
    }

    /// Reads a model from bytes in memory. `origin` is the name of the bytes in errors.
    ///
    /// # Errors
    /// The bytes are invalid.
    pub fn from_bytes(bytes: Vec<u8>, origin: &Path) -> Result<Self> {
        Self::from_file(&File::from_bytes(Cow::Owned(bytes), origin)?)
    }

    fn from_file(file: &File) -> Result<Self> {
        let wrong = |reason: String| Error::weights(file.origin(), reason);
        let metadata = |key: &str| file.metadata().get(key).map(String::as_str);
        if metadata("format") != Some(FORMAT) {
            let found = metadata("format").unwrap_or("none");
            return Err(wrong(format!(
                "not a model of sassl (its metadata names the format {found:?}, not {FORMAT:?}); \
                 `sassl convert` converts third-party networks"
            )));
        }
        if metadata("version") != Some("1") {
            let found = metadata("version").unwrap_or("none");
            return Err(wrong(format!("a model of version {found}; this version of sassl reads version 1")));
        }
        let text = |key: &str| metadata(key).ok_or_else(|| wrong(format!("its metadata lacks {key:?}")));
        let network: Network = serde_json::from_str(text("network")?)
            .map_err(|error| wrong(format!("its description of the network is invalid: {error}")))?;
        network.check().map_err(wrong)?;
        let mut tensors = Tensors::new();
        let mut stored = BTreeMap::new();
        let mut predictor = vec![];
        for name in file.names() {
            let view = file.view(name)?;
            predictor.push((name, Cow::Borrowed(view.bytes)));
            stored.insert(name.into(), view.dtype);
            tensors.insert(name.into(), Tensor { shape: view.shape.to_vec(), data: View::to_f32(&view) });
        }
        check(&network, &tensors).map_err(wrong)?;
        let (space, found) = (text("space")?.to_owned(), space_id(predictor));
        if space != found && !restore_halves(&space, &tensors, &mut stored) {
            let halves = stored.iter().any(|(name, dtype)| in_space(name) && *dtype == Dtype::F16);
            let dtype = if halves { "float16" } else { "float32" };
            return Err(wrong(format!(
                "claims the style space {space}, but its predictor's weights, in {dtype}, are those of {found}: they were \
                 cast, trained further, or otherwise changed; to save space, cast only the transformer's"
            )));
        }
        let [name, licence, provenance] = [text("name")?, text("licence")?, text("provenance")?].map(str::to_owned);
        Ok(Self { name, space, licence, provenance, network, tensors, stored })
    }

    /// Writes the model atomically. Tensors that were read as float16 are stored as float16 again if their values still fit
    /// exactly, which preserves the style space. All other tensors are stored as float32.
    ///
    /// # Errors
    /// The file cannot be written, or the model has been changed: the model is now invalid, or `space` is no longer the id that
    /// belongs to the predictor's weights.
    pub fn save(&self, path: &Path) -> Result<()> {
        check(&self.network, &self.tensors).map_err(|reason| Error::weights(path, format!("not written: {reason}")))?;
        let predictor =
            self.tensors.iter().map(|(name, t)| (name.as_str(), Cow::Owned(encode(self.dtype(name, t), &t.data))));
        if space_id(predictor) != self.space {
            let reason = "not written: its predictor's weights were changed, but not its space; create a new model";
            return Err(Error::weights(path, reason));
        }
        let network = serde_json::json!(self.network).to_string();
        let metadata = [
            ("format", FORMAT),
            ("version", "1"),
            ("name", &self.name),
            ("space", &self.space),
            ("licence", &self.licence),
            ("provenance", &self.provenance),
            ("network", &network),
        ];
        let metadata = metadata.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let tensors = self.tensors.iter();
        let tensors: Vec<_> = tensors
            .map(|(name, t)| (name.as_str(), self.dtype(name, t), t.shape.as_slice(), t.data.as_slice()))
            .collect();
        write(path, &metadata, &tensors)
    }

    /// Returns the dtype in which a tensor is written: float16 if the tensor was read as float16 and its values still fit
    /// exactly, otherwise float32.
    fn dtype(&self, name: &str, tensor: &Tensor) -> Dtype {
        match self.stored.get(name) {
            Some(Dtype::F16) if tensor.is_half() => Dtype::F16,
            _ => Dtype::F32,
        }
    }

    /// Returns the tensor `name`.
    ///
    /// # Errors
    /// There is no such tensor.
    pub fn tensor(&self, name: &str) -> Result<&Tensor> {
        self.tensors.get(name).ok_or_else(|| Error::weights(&self.name, format!("lacks the tensor {name:?}")))
    }

    /// Returns the values of the weight and the bias of the layer `name`.
    ///
    /// # Errors
    /// The weight or the bias is missing.
    pub fn weight_and_bias(&self, name: &str) -> Result<(&[f32], &[f32])> {
        Ok((self.numbers(&format!("{name}.weight"))?, self.numbers(&format!("{name}.bias"))?))
    }

    /// Returns the values of the tensor `name`.
    ///
    /// # Errors
    /// There is no such tensor.
    pub fn numbers(&self, name: &str) -> Result<&[f32]> {
        Ok(&self.tensor(name)?.data)
    }
}

/// Checks that the tensors are exactly those that the network describes, with matching shapes and finite values.
fn check(network: &Network, tensors: &Tensors) -> std::result::Result<(), String> {
    network.check()?;
    let expected = network.tensors();
    for (name, shape) in &expected {
        let tensor = tensors.get(name).ok_or_else(|| format!("lacks the tensor {name:?}, which its network names"))?;
        if tensor.shape != *shape {
            return Err(format!("tensor {name:?} has shape {:?}, but its network requires {shape:?}", tensor.shape));
        }
        if tensor.data.len() != shape.iter().product::<usize>() {
            return Err(format!("tensor {name:?} holds {} values for its shape {shape:?}", tensor.data.len()));
        }
        if let Some(x) = tensor.data.iter().find(|x| !x.is_finite()) {
            return Err(format!("tensor {name:?} holds {x}; weights must be finite"));
        }
    }
    match tensors.keys().find(|name| !expected.contains_key(*name)) {
        Some(name) => Err(format!("holds the tensor {name:?}, which its network does not name")),
        None => Ok(()),
    }
}

/// Returns `true` if the id of the style space depends on the tensor.
fn in_space(name: &str) -> bool {
    name.starts_with("predictor.") && !name.starts_with("predictor.zoom.")
}

/// Detects a float16 model that was cast to float32. Returns `true` if the predictor's tensors fit into float16 without loss,
/// and `space` is the id of their style space in float16. If so, `stored` is changed so that these tensors are written as
/// float16 again.
fn restore_halves(space: &str, tensors: &Tensors, stored: &mut BTreeMap<String, Dtype>) -> bool {
    let predictor = || tensors.iter().filter(|(name, _)| in_space(name));
    let halves = predictor().map(|(name, t)| (name.as_str(), Cow::Owned(encode(Dtype::F16, &t.data))));
    let was = predictor().all(|(_, t)| t.is_half()) && space_id(halves) == space;
    if was {
        stored.iter_mut().filter(|(name, _)| in_space(name)).for_each(|(_, dtype)| *dtype = Dtype::F16);
    }
    was
}

/// Returns the id of a style space: the first 16 hexadecimal digits of a SHA-256 hash. The hash covers the name and then the
/// bytes of each of the predictor's tensors, in the given order. Tensors of the zoom (see [`super::network::Predictor::Cnn`])
/// are left out, because the zoom is fitted to an existing style space.
fn space_id<'a>(tensors: impl IntoIterator<Item = (&'a str, Cow<'a, [u8]>)>) -> String {
    let mut hash = Sha256::new();
    for (name, bytes) in tensors {
        if in_space(name) {
            hash.update(name);
            hash.update(bytes);
        }
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
