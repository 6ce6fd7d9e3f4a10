//! Converts third-party networks in any supported file format to a model. Detects the format, reads the style predictor F and
//! the transformer T, and checks that F and T match.
use super::containers::members::Members;
use super::containers::pth::StateDict;
use super::containers::saved_model::read_variables;
use super::containers::tfjs;
use super::magenta::{TrainedWith, read_predictor, read_transformer, variables};
use super::network::{AnyTransformer, Network, Predictor, Transformer};
use super::{Model, Tensors, adain, styleaug};
use crate::error::{Error, Result};
use std::io::Read;
use std::path::{Path, PathBuf};

/// The options of a conversion.
#[derive(Clone, Debug)]
pub struct Conversion<'a> {
    /// Files, folders and archives that hold F and T, together or separately.
    pub paths: &'a [PathBuf],
    /// The name of the new model.
    pub name: &'a str,
    /// True if F is to encode images at their original size, instead of the size used by Magenta's programs; only for
    /// InceptionV3.
    pub as_is: bool,
    /// True to allow an F and a T that were not trained together.
    pub any_pair: bool,
}

/// The kinds of files, recognized by their first bytes, their members or their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Container {
    /// TFLite or ONNX.
    Graph,
    Pth,
    /// A TensorFlow checkpoint or SavedModel.
    Variables,
    Tfjs,
}

impl Container {
    fn name(self) -> &'static str {
        match self {
            Self::Graph => "a graph",
            Self::Pth => "a PyTorch file",
            Self::Variables => "a TensorFlow checkpoint or SavedModel",
            Self::Tfjs => "a TensorFlow.js model",
        }
    }
}

/// The networks found so far. For each network: its description, its tensors, the predictor that defines its style space, and
/// its file.
#[derive(Default)]
struct Found {
    predictors: Vec<(Predictor, Tensors, TrainedWith, PathBuf)>,
    transformers: Vec<(Transformer, Tensors, TrainedWith, PathBuf)>,
}

const MAGENTA: &str = "Magenta arbitrary-image-stylization-v1-256 (Ghiasi et al. 2017, arXiv 1705.06830), Google";

impl Conversion<'_> {
    /// Converts the networks in the paths to a model.
    ///
    /// # Errors
    /// A path cannot be read or holds no supported network; there is not exactly one F and one T; F and T were not trained
    /// together and `any_pair` is false; or `as_is` is true and F is not InceptionV3.
    pub fn run(&self) -> Result<Model> {
        let model = self.read()?;
        if self.as_is && !matches!(model.network.predictor, Predictor::InceptionV3 { .. }) {
            return Err(Error::invalid(
                "as_is is only for InceptionV3, which can see images in their own size; leave it out",
            ));
        }
        Ok(model)
    }

    fn read(&self) -> Result<Model> {
        let mut paths = vec![];
        for path in self.paths {
            paths.extend(files_of(path)?);
        }
        let containers = paths.iter().map(|path| recognise(path)).collect::<Result<Vec<_>>>()?;
        if containers.contains(&Container::Pth) {
            return match paths.iter().zip(&containers).find(|(_, container)| **container != Container::Pth) {
                Some((path, container)) => {
                    let reason = format!("is {}, beside a .pth file; give the files of one network", container.name());
                    Err(Error::weights(path, reason))
                }
                None => from_pytorch(self, &paths),
            };
        }
        let mut found = Found::default();
        for (path, container) in paths.iter().zip(containers) {
            match container {
                Container::Graph => found.add_graph(path)?,
                Container::Variables => {
                    found.add_variables(&read_variables(path, variables::is_variable)?, path, None)?;
                }
                Container::Tfjs => {
                    found.add_variables(&tfjs::read_weights(path)?, path, Some(TrainedWith::InceptionV3))?;
                }
                Container::Pth => {}
            }
        }
        found.model(self)
    }
}

/// Returns the TFLite, ONNX, `.pth` and `.pt` files directly in the folder `path`. If there are none, or `path` is not a
/// folder, returns `path` itself.
fn files_of(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.into()]);
    }
    let mut files = vec![];
    for entry in std::fs::read_dir(path).map_err(|error| Error::io(path, error))? {
        let file = entry.map_err(|error| Error::io(path, error))?.path();
        if file.extension().is_some_and(|end| ["tflite", "onnx", "pth", "pt"].iter().any(|known| end == *known)) {
            files.push(file);
        }
    }
    files.sort();
    Ok(if files.is_empty() { vec![path.into()] } else { files })
}

/// Detects the kind of a file, folder or archive from its first bytes, its members or its name.
fn recognise(path: &Path) -> Result<Container> {
    let archive = || -> Result<Container> {
        let members = Members::open(path, |_| false)?;
        let has_json = members.list().iter().any(|member| file_name(&member.name) == "model.json");
        Ok(if has_json { Container::Tfjs } else { Container::Variables })
    };
    if path.is_dir() {
        return archive();
    }
    // The path may be the prefix of a checkpoint, which is not itself a file.
    if !path.exists() && index_of(path).is_file() {
        return Ok(Container::Variables);
    }
    let metadata = std::fs::metadata(path).map_err(|error| Error::io(path, error))?;
    if !metadata.is_file() {
        return Err(Error::weights(path, "neither a file nor a folder; give the file of the network"));
    }
    let mut start = vec![];
    let file = std::fs::File::open(path).map_err(|error| Error::io(path, error))?;
    file.take(512).read_to_end(&mut start).map_err(|error| Error::io(path, error))?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    match start.as_slice() {
        [_, _, _, _, b'T', b'F', b'L', b'3', ..] => Ok(Container::Graph),
        [0x1f, 0x8b, ..] => archive(),
        start if start.get(257..262) == Some(b"ustar") => archive(),
        [b'P', b'K', ..] | [0x80, 2, ..] => Ok(Container::Pth),
        _ if name.ends_with(".pth") || name.ends_with(".pt") => Ok(Container::Pth),
        _ if name == "model.json" || name == "tensorflowjs_model.pb" => Ok(Container::Tfjs),
        _ if name.ends_with(".onnx") || name.ends_with(".tflite") => Ok(Container::Graph),
        _ if name.ends_with(".index") || name.ends_with(".meta") || name.contains(".data-") => Ok(Container::Variables),
        _ if name.ends_with(".pb") || name.ends_with(".ckpt") => Ok(Container::Variables),
        _ => Err(Error::weights(
            path,
            "is not a supported network file: a TensorFlow checkpoint or SavedModel (its folder or its .tar.gz), \
             .tflite, .onnx, a TensorFlow.js model.json, .pth",
        )),
    }
}

fn file_name(member: &str) -> &str {
    member.rsplit('/').next().unwrap_or(member)
}

/// Returns the index file of a checkpoint with this prefix.
fn index_of(prefix: &Path) -> PathBuf {
    let mut name = prefix.as_os_str().to_owned();
    name.push(".index");
    name.into()
}

fn from_pytorch(asked: &Conversion, paths: &[PathBuf]) -> Result<Model> {
    let files = paths.iter().map(|path| StateDict::open(path)).collect::<Result<Vec<_>>>()?;
    let origin = &paths[0];
    if files.iter().any(styleaug::has_key) {
        let tensors = styleaug::read(&files)?;
        let provenance = format!("styleaug (Jackson et al. 2019, arXiv 1809.05375), converted from {}", names(paths));
        return Model::new(origin, asked.name, "MIT", &provenance, styleaug::network(), tensors);
    }
    let (network, tensors) = adain::read(&files)?;
    let provenance = format!("AdaIN (Huang and Belongie 2017, arXiv 1703.06868), converted from {}", names(paths));
    Model::new(origin, asked.name, "see the source of the files", &provenance, network, tensors)
}

impl Found {
    /// Adds a graph. A graph with one input, an image, is F; a graph with an image and a style vector as inputs is T.
    fn add_graph(&mut self, path: &Path) -> Result<()> {
        let bytes = super::magenta::read(path)?;
        if super::containers::graph::Graph::read(&bytes, path)?.inputs.len() == 1 {
            let (predictor, tensors) = read_predictor(&bytes, path)?;
            let space = match predictor {
                Predictor::MobilenetV2 { .. } => TrainedWith::MobilenetV2,
                _ => TrainedWith::InceptionV3,
            };
            self.predictors.push((predictor, tensors, space, path.into()));
        } else {
            let (transformer, tensors, space) = read_transformer(&bytes, path)?;
            self.transformers.push((transformer, tensors, space, path.into()));
        }
        Ok(())
    }

    /// Adds the variables of F, of T, or of both. `mobile` is the predictor that defines the style space of a MobileNetV2, if
    /// known. (The MobileNetV2 published for TensorFlow.js was distilled from InceptionV3, and shares InceptionV3's style
    /// space.)
    fn add_variables(&mut self, all: &Tensors, path: &Path, mobile: Option<TrainedWith>) -> Result<()> {
        let has = |start: &str| all.keys().any(|name| name.starts_with(start));
        let (predictor, transformer) = (has("InceptionV3/") || has("MobilenetV2/"), has("transformer/"));
        if predictor {
            let (predictor, tensors) = variables::rename_predictor(all, path)?;
            let space = match predictor {
                Predictor::MobilenetV2 { .. } => mobile.unwrap_or(TrainedWith::Unknown),
                _ => TrainedWith::InceptionV3,
            };
            self.predictors.push((predictor, tensors, space, path.into()));
        }
        if transformer {
            let (transformer, tensors) = variables::rename_transformer(all, path)?;
            let space = TrainedWith::by_width(&transformer);
            self.transformers.push((transformer, tensors, space, path.into()));
        }
        if predictor || transformer {
            return Ok(());
        }
        let some: Vec<&str> = all.keys().take(3).map(String::as_str).collect();
        let holds = if some.is_empty() { "none of Magenta's variables".into() } else { format!("{some:?}") };
        let reason = format!("holds {holds}, but not InceptionV3/..., MobilenetV2/... (F) or transformer/... (T)");
        Err(Error::weights(path, reason))
    }

    /// Combines F and T into one model.
    fn model(self, asked: &Conversion) -> Result<Model> {
        let Self { predictors, transformers } = self;
        let given = names(asked.paths);
        let one = |what: &str, n: usize, has: Option<&PathBuf>| {
            let first = has.map_or_else(|| Path::new(&given), PathBuf::as_path);
            match n {
                0 => Err(Error::weights(Path::new(&given), format!("holds no {what}; give its file too"))),
                1 => Ok(()),
                n => Err(Error::weights(first, format!("is one of {n} files with a {what}; give only one"))),
            }
        };
        one("style predictor F", predictors.len(), predictors.first().map(|f| &f.3))?;
        one("style transformer T", transformers.len(), transformers.first().map(|t| &t.3))?;
        let (Some(f), Some(t)) = (predictors.into_iter().next(), transformers.into_iter().next()) else {
            return Err(Error::weights(Path::new(&given), "holds no pair"));
        };
        let ((mut predictor, mut tensors, of_f, f_path), (transformer, others, of_t, t_path)) = (f, t);
        if !asked.any_pair && f_path != t_path {
            of_t.check(of_f, &f_path, &t_path)?;
        }
        if let (Predictor::InceptionV3 { shorter_side, .. }, true) = (&mut predictor, asked.as_is) {
            *shorter_side = None;
        }
        tensors.extend(others);
        let paths = if f_path == t_path { vec![f_path] } else { vec![f_path, t_path.clone()] };
        let provenance = format!("{MAGENTA}, converted from {}", names(&paths));
        let network = Network { predictor, transformer: AnyTransformer::Conditional(transformer) };
        Model::new(&t_path, asked.name, "Apache-2.0", &provenance, network, tensors)
    }
}

/// Lists the names of the files, without their folders, for errors and the provenance.
fn names(paths: &[PathBuf]) -> String {
    let name = |path: &PathBuf| path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    paths.iter().map(name).collect::<Vec<_>>().join(" and ")
}
