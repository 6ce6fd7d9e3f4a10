//! A model: what it is called, where it comes from, its network and its weights; and the file that holds all this.
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

/// The default style bank, of the space of `lite`: a file of the bank's format.
pub const EMBEDDED_BANK: &[u8] = include_bytes!("lite_bank.safetensors");

/// A tensor of float32, the last axis innermost.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its numbers.
    pub data: Vec<f32>,
}

impl Tensor {
    /// Whether float16 holds its numbers as they are.
    fn is_half(&self) -> bool {
        self.data.iter().all(|&x| f16::from_f32(x).to_f32() == x)
    }
}

/// Tensors by name.
pub type Tensors = BTreeMap<String, Tensor>;

/// A model with all its weights, checked.
#[derive(Clone, Debug)]
pub struct Model {
    /// What it is called.
    pub name: String,
    /// The id of its style space: a hash of the predictor's weights.
    pub space: String,
    /// The licence of the weights.
    pub licence: String,
    /// Where they come from.
    pub provenance: String,
    /// What the network looks like.
    pub network: Network,
    /// The weights that it names, and no others.
    pub tensors: Tensors,
    /// How a file held the tensors, where that was not float32: the space is a hash of these very bytes.
    stored: BTreeMap<String, Dtype>,
}

impl Model {
    /// A model of these tensors. The id of its space is made from the predictor's, as float32.
    ///
    /// # Errors
    /// A tensor is missing, superfluous, of the wrong shape, or not finite; `origin` is what the error calls them.
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

    /// A model inside the package: `lite`.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn embedded(name: &str) -> Result<Self> {
        match name {
            "lite" => {
                Self::from_file(&File::from_bytes(Cow::Borrowed(EMBEDDED_MODEL), Path::new("the embedded model"))?)
            }
            _ => {
                let remedy = "no such model; there is \"lite\", or give the path of a .safetensors file, \
                              as `sassl convert` makes";
                Err(Error::value("model", format!("{name:?}"), remedy))
            }
        }
    }

    /// A model file.
    ///
    /// # Errors
    /// The file cannot be read, or is not what it claims to be.
    pub fn load(path: &Path) -> Result<Self> {
        Self::from_file(&File::open(path)?)
    }

    /// The same for bytes in memory; `origin` is what errors call them.
    ///
    /// # Errors
    /// The bytes are not what they claim to be.
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
                 `sassl convert` makes one of others' networks"
            )));
        }
        if metadata("version") != Some("1") {
            let found = metadata("version").unwrap_or("none");
            return Err(wrong(format!("a model of version {found}; this sassl reads version 1")));
        }
        let text = |key: &str| metadata(key).ok_or_else(|| wrong(format!("its metadata lack {key:?}")));
        let network: Network = serde_json::from_str(text("network")?)
            .map_err(|error| wrong(format!("its description of the network is not understood: {error}")))?;
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
                 cast, trained on, or changed otherwise; to save room, cast the transformer's alone"
            )));
        }
        let [name, licence, provenance] = [text("name")?, text("licence")?, text("provenance")?].map(str::to_owned);
        Ok(Self { name, space, licence, provenance, network, tensors, stored })
    }

    /// Writes the model atomically: float32, and float16 where it was read so, which keeps its space.
    ///
    /// # Errors
    /// The system refuses; or the model was changed and is none any more, or one of another space.
    pub fn save(&self, path: &Path) -> Result<()> {
        check(&self.network, &self.tensors).map_err(|reason| Error::weights(path, format!("not written: {reason}")))?;
        let predictor =
            self.tensors.iter().map(|(name, t)| (name.as_str(), Cow::Owned(encode(self.dtype(name, t), &t.data))));
        if space_id(predictor) != self.space {
            let reason = "not written: its predictor's weights were changed, and its space was not; make it anew";
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

    /// How to write a tensor: as it was read, unless that would change it.
    fn dtype(&self, name: &str, tensor: &Tensor) -> Dtype {
        match self.stored.get(name) {
            Some(Dtype::F16) if tensor.is_half() => Dtype::F16,
            _ => Dtype::F32,
        }
    }

    /// A tensor.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn tensor(&self, name: &str) -> Result<&Tensor> {
        self.tensors.get(name).ok_or_else(|| Error::weights(&self.name, format!("lacks the tensor {name:?}")))
    }

    /// The weight and the bias of the layer called `name`.
    ///
    /// # Errors
    /// There is no such pair of tensors.
    pub fn weight_and_bias(&self, name: &str) -> Result<(&[f32], &[f32])> {
        Ok((self.numbers(&format!("{name}.weight"))?, self.numbers(&format!("{name}.bias"))?))
    }

    /// The numbers of the tensor called `name`.
    ///
    /// # Errors
    /// There is none.
    pub fn numbers(&self, name: &str) -> Result<&[f32]> {
        Ok(&self.tensor(name)?.data)
    }
}

/// The tensors that the network names, each of its shape and finite, and no others.
fn check(network: &Network, tensors: &Tensors) -> std::result::Result<(), String> {
    network.check()?;
    let expected = network.tensors();
    for (name, shape) in &expected {
        let tensor = tensors.get(name).ok_or_else(|| format!("lacks the tensor {name:?}, which its network names"))?;
        if tensor.shape != *shape {
            return Err(format!("tensor {name:?} is of shape {:?}, not {shape:?} as its network says", tensor.shape));
        }
        if tensor.data.len() != shape.iter().product::<usize>() {
            return Err(format!("tensor {name:?} holds {} numbers for its shape {shape:?}", tensor.data.len()));
        }
        if let Some(x) = tensor.data.iter().find(|x| !x.is_finite()) {
            return Err(format!("tensor {name:?} holds {x}; weights are finite numbers"));
        }
    }
    match tensors.keys().find(|name| !expected.contains_key(*name)) {
        Some(name) => Err(format!("holds the tensor {name:?}, which its network does not name")),
        None => Ok(()),
    }
}

/// Whether a space is a hash of this tensor too.
fn in_space(name: &str) -> bool {
    name.starts_with("predictor.") && !name.starts_with("predictor.zoom.")
}

/// Whether a predictor was of this space as float16, and then cast to float32, which loses nothing; it is written as it was.
fn restore_halves(space: &str, tensors: &Tensors, stored: &mut BTreeMap<String, Dtype>) -> bool {
    let predictor = || tensors.iter().filter(|(name, _)| in_space(name));
    let halves = predictor().map(|(name, t)| (name.as_str(), Cow::Owned(encode(Dtype::F16, &t.data))));
    let was = predictor().all(|(_, t)| t.is_half()) && space_id(halves) == space;
    if was {
        stored.iter_mut().filter(|(name, _)| in_space(name)).for_each(|(_, dtype)| *dtype = Dtype::F16);
    }
    was
}

/// The first 16 hexadecimal digits of SHA-256 over the predictor's tensors in the order of their names: name, then bytes.
/// Without the zoom, which is fitted to a space that is there.
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
