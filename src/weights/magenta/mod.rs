//! Conversion of Magenta's arbitrary image stylization from TFLite and ONNX to our tensor names. There are two pairs of a style
//! predictor F and a transformer T: in the full pair, F is InceptionV3; in the mobile pair, F is MobileNetV2.
//!
//! The graphs are walked operator by operator, because the names of tensors differ between conversions, but the operations do
//! not. Graphs that our networks would not reproduce are refused. Source: magenta/magenta
//! `arbitrary_image_stylization/{nza_model, arbitrary_image_stylization_build_model,
//! arbitrary_image_stylization_build_mobilenet_model}`.
mod inception_v3;
mod mobilenet_v2;
mod predictor;
mod renaming;
mod transformer;
pub mod variables;

use super::Tensor;
use super::containers::graph::{Activation, Graph, Operator, quoted};
use super::network::Transformer;
use crate::error::{Error, Result};
use std::path::Path;

pub use predictor::read_predictor;
pub use transformer::read_transformer;

/// Maximum size of a TFLite or ONNX file in bytes; InceptionV3 in float32, the largest of these networks, takes 36 MB.
const MAX_SIZE: u64 = 256 << 20;

/// The predictor that defines the style space of a network, as far as the network's file shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrainedWith {
    /// The MobileNetV2 predictor of the mobile pair.
    MobilenetV2,
    /// The InceptionV3 predictor of the full pair.
    InceptionV3,
    /// The file does not show the predictor.
    Unknown,
}

impl TrainedWith {
    /// Detects the predictor from the width of a transformer. The transformer of the mobile pair has a quarter as many channels
    /// as that of the full pair.
    pub fn by_width(transformer: &Transformer) -> Self {
        match transformer.contract.first().map(|layer| layer.channels) {
            Some(8) => Self::MobilenetV2,
            Some(32) => Self::InceptionV3,
            _ => Self::Unknown,
        }
    }

    /// Refuses a pair of networks that were not trained together. The file `origin` holds a transformer that was trained with
    /// `self`; the file `given` holds `predictor`. Shapes cannot show the mismatch, because the style vectors of both
    /// predictors have 100 values.
    ///
    /// # Errors
    /// Both predictors are known, and they differ.
    pub fn check(self, predictor: Self, given: &Path, origin: &Path) -> Result<()> {
        let (mobile, full) = ("MobileNetV2", "InceptionV3");
        let (made, not) = match (self, predictor) {
            (Self::InceptionV3, Self::MobilenetV2) => (full, mobile),
            (Self::MobilenetV2, Self::InceptionV3) => (mobile, full),
            _ => return Ok(()),
        };
        let given = given.display();
        let reason = format!(
            "was trained with the style vectors of {made}, not of {not}, the predictor in {given}; \
             give the F it was trained with"
        );
        Err(Error::weights(origin, reason))
    }
}

/// Reads a TFLite or ONNX file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    // Checked first: opening a pipe would block until it has a writer.
    let metadata = std::fs::metadata(path).map_err(|error| Error::io(path, error))?;
    if !metadata.is_file() {
        return Err(Error::weights(path, "not a file; give the path of a .tflite or an .onnx file"));
    }
    if metadata.len() > MAX_SIZE {
        return Err(Error::weights(
            path,
            format!("{} bytes, too large for a style network of at most {MAX_SIZE}", metadata.len()),
        ));
    }
    std::fs::read(path).map_err(|error| Error::io(path, error))
}

/// Refuses an image input that is quantized from a range other than [0, 1], the range that our networks take.
fn check_range(graph: &Graph, image: usize) -> std::result::Result<(), String> {
    match graph.range(image) {
        Some((low, high)) if low.abs() >= 1e-3 || (high - 1.0).abs() >= 1e-3 => {
            Err(format!("takes images in [{low}, {high}], not [0, 1]"))
        }
        _ => Ok(()),
    }
}

/// Returns the weight of a convolution, in OIHW, and its bias.
fn weight_and_bias(graph: &Graph, operator: &Operator) -> std::result::Result<(Tensor, Tensor), String> {
    graph.weight_and_bias(operator).map_err(|error| match error {
        // The path is left out, because it is part of the whole message.
        Error::Weights { reason, .. } => reason,
        other => other.to_string(),
    })
}

/// Returns `true` if a 1x1 convolution is a plain linear layer.
fn is_linear(operator: &Operator) -> bool {
    operator.kind.window().is_some_and(|window| {
        window.activation == Activation::None && window.stride == 1 && window.padding.is_same([1, 1], 1, 1)
    })
}

fn first_output(operator: &Operator) -> std::result::Result<usize, String> {
    operator.outputs.first().copied().ok_or_else(|| "has an operator without output".into())
}

/// Describes the inputs of a graph for errors.
fn inputs(graph: &Graph) -> String {
    let one = |&input: &usize| {
        let side = |&side: &usize| if side == 0 { "?".to_owned() } else { side.to_string() };
        let sides: Vec<String> = graph.shape(input).iter().map(side).collect();
        format!("{} ({})", quoted(graph.name(input)), sides.join(", "))
    };
    let mut inputs: Vec<String> = graph.inputs.iter().take(4).map(one).collect();
    if graph.inputs.len() > 4 {
        inputs.push(format!("{} more", graph.inputs.len() - 4));
    }
    if inputs.is_empty() { "nothing".into() } else { inputs.join(" and ") }
}
