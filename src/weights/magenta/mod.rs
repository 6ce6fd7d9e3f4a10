//! Magenta's arbitrary image stylization, from TFLite to our names.
//!
//! The graphs are walked from the image on, operator by operator: names of tensors differ from conversion to conversion, what
//! the operators do does not. What our networks would compute otherwise is refused.
//! Source: magenta/magenta `arbitrary_image_stylization/{nza_model, arbitrary_image_stylization_build_mobilenet_model}`.
mod predictor;
mod transformer;

use super::network::Network;
use super::tflite::{Graph, Kind, Operator};
use super::{Model, Tensor};
use crate::error::{Error, Result};
use std::path::Path;

pub use predictor::read_predictor;
pub use transformer::read_transformer;

const LICENCE: &str = "Apache-2.0";
const PROVENANCE: &str = "Magenta arbitrary-image-stylization-v1-256 (Ghiasi et al. 2017, arXiv 1705.06830), Google, \
                          converted from TFLite";

/// Of a file; InceptionV3 in float32 has 36 MB.
const MAX_SIZE: u64 = 256 << 20;

/// F and T that belong together, as one model.
///
/// # Errors
/// A file cannot be read, or is not such a network; or the two are not of one pair.
pub fn mobile_pair(predictor: &Path, transformer: &Path, name: &str) -> Result<Model> {
    let (f, mut tensors) = read_predictor(&read(predictor)?, predictor)?;
    let (t, others) = read_transformer(&read(transformer)?, transformer)?;
    tensors.extend(others);
    let network = Network { predictor: f, transformer: t };
    Model::new(transformer, name, LICENCE, PROVENANCE, network, tensors)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    // Asked first: opening a pipe would wait for its writer.
    let metadata = std::fs::metadata(path).map_err(|error| Error::io(path, error))?;
    if !metadata.is_file() {
        return Err(Error::weights(path, "not a file; give the path of a .tflite file"));
    }
    if metadata.len() > MAX_SIZE {
        return Err(Error::weights(
            path,
            format!("{} bytes, too large for a style network of at most {MAX_SIZE}", metadata.len()),
        ));
    }
    std::fs::read(path).map_err(|error| Error::io(path, error))
}

/// The weight of a convolution as it stands in the file, four axes, and its bias: zeros where it has none.
fn weight_and_bias(graph: &Graph, operator: &Operator) -> std::result::Result<(Tensor, Tensor), String> {
    let constant = |tensor: usize| graph.constant(tensor).map_err(reason);
    let weight = constant(*operator.inputs.get(1).ok_or("a convolution lacks its weight")?)?;
    let &[o, _, _, i] = weight.shape.as_slice() else {
        return Err(format!("a convolution's weight has the shape {:?}, not four sides", weight.shape));
    };
    let outputs = if matches!(operator.kind, Kind::Depthwise(_)) { i } else { o };
    let bias = match operator.inputs.get(2) {
        Some(&bias) => constant(bias)?,
        None => Tensor { shape: vec![outputs], data: vec![0.0; outputs] },
    };
    Ok((weight, bias))
}

/// What is wrong with a file, without its path.
fn reason(error: Error) -> String {
    match error {
        Error::Weights { reason, .. } => reason,
        other => other.to_string(),
    }
}

fn oihw_from_ohwi(weight: &Tensor) -> Tensor {
    let [o, h, w, i] = [0, 1, 2, 3].map(|axis| weight.shape[axis]);
    let from = |n: usize| (((n / (i * h * w)) * h + n / w % h) * w + n % w) * i + n / (h * w) % i;
    Tensor { shape: vec![o, i, h, w], data: (0..weight.data.len()).map(|n| weight.data[from(n)]).collect() }
}

/// From `[1, k, k, channels]`.
fn oihw_from_depthwise(weight: &Tensor) -> Tensor {
    let [one, h, w, channels] = [0, 1, 2, 3].map(|axis| weight.shape[axis]);
    let data = (0..channels).flat_map(|c| weight.data.iter().skip(c).step_by(channels).copied()).collect();
    Tensor { shape: vec![channels, one, h, w], data }
}
