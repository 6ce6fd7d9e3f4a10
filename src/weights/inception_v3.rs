//! The layers of InceptionV3 up to Mixed_6e (Szegedy et al. 2016; TF-slim `nets/inception_v3.py`).
use super::layers::Layer;
use super::network::Rectifier;

/// The network before the global mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InceptionLayers {
    /// The stages, in order.
    pub stages: Vec<InceptionStage>,
    /// The activation after each convolution.
    pub activation: Rectifier,
    /// True if average pools count the zero padding.
    pub pools_count_zeros: bool,
}

/// A stage of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InceptionStage {
    /// A convolution with bias.
    Conv(Layer),
    /// A 3x3 max pool of stride 2, without padding.
    MaxPool,
    /// Branches on the same input; their outputs are concatenated.
    Mixed(Vec<Branch>),
}

/// A branch of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Branch {
    /// A sequence of convolutions with bias.
    Convs(Vec<Layer>),
    /// A 3x3 max pool of stride 2, without padding.
    MaxPool,
    /// A 3x3 average pool of stride 1, followed by a pointwise convolution with bias.
    AveragePool(Layer),
}

/// A convolution of a branch: kernel height and width, stride, and number of output channels. Convolutions of stride 2 have no
/// padding.
type Conv = (usize, usize, usize, usize);

enum Shape {
    Convs(Vec<Conv>),
    MaxPool,
    AveragePool(usize),
}

/// Returns the eight blocks, Mixed_5b to Mixed_6e.
fn blocks() -> Vec<Vec<Shape>> {
    let fifth = |pooled| {
        vec![
            Shape::Convs(vec![(1, 1, 1, 64)]),
            Shape::Convs(vec![(1, 1, 1, 48), (5, 5, 1, 64)]),
            Shape::Convs(vec![(1, 1, 1, 64), (3, 3, 1, 96), (3, 3, 1, 96)]),
            Shape::AveragePool(pooled),
        ]
    };
    let reduction = vec![
        Shape::Convs(vec![(3, 3, 2, 384)]),
        Shape::Convs(vec![(1, 1, 1, 64), (3, 3, 1, 96), (3, 3, 2, 96)]),
        Shape::MaxPool,
    ];
    let sixth = |n| {
        vec![
            Shape::Convs(vec![(1, 1, 1, 192)]),
            Shape::Convs(vec![(1, 1, 1, n), (1, 7, 1, n), (7, 1, 1, 192)]),
            Shape::Convs(vec![(1, 1, 1, n), (7, 1, 1, n), (1, 7, 1, n), (7, 1, 1, n), (1, 7, 1, 192)]),
            Shape::AveragePool(192),
        ]
    };
    vec![fifth(32), fifth(64), fifth(64), reduction, sixth(128), sixth(160), sixth(160), sixth(192)]
}

/// Returns all stages in order, with layers named `predictor.stem.{i}` and `predictor.block.{block}.branch.{branch}.{i}`.
pub fn stages() -> Vec<InceptionStage> {
    let mut stages = vec![];
    let stem = |i: usize, inputs, outputs, side, stride, valid| {
        InceptionStage::Conv(Layer {
            stride,
            valid,
            ..Layer::plain(format!("predictor.stem.{i}"), inputs, outputs, (side, side))
        })
    };
    stages.extend([stem(0, 3, 32, 3, 2, true), stem(1, 32, 32, 3, 1, true), stem(2, 32, 64, 3, 1, false)]);
    stages.push(InceptionStage::MaxPool);
    stages.extend([stem(3, 64, 80, 1, 1, true), stem(4, 80, 192, 3, 1, true)]);
    stages.push(InceptionStage::MaxPool);
    let mut channels = 192;
    for (b, block) in blocks().into_iter().enumerate() {
        let branches = block.into_iter().enumerate();
        let branches: Vec<Branch> =
            branches.map(|(i, shape)| branch(&format!("predictor.block.{b}.branch.{i}"), channels, shape)).collect();
        channels = branches.iter().map(|branch| branch.outputs().unwrap_or(channels)).sum();
        stages.push(InceptionStage::Mixed(branches));
    }
    stages
}

fn branch(name: &str, inputs: usize, shape: Shape) -> Branch {
    let mut inputs = inputs;
    let mut layer = |(i, (rows, columns, stride, outputs)): (usize, Conv)| {
        let inputs = std::mem::replace(&mut inputs, outputs);
        Layer { stride, valid: stride == 2, ..Layer::plain(format!("{name}.{i}"), inputs, outputs, (rows, columns)) }
    };
    match shape {
        Shape::Convs(convs) => Branch::Convs(convs.into_iter().enumerate().map(layer).collect()),
        Shape::AveragePool(outputs) => Branch::AveragePool(layer((0, (1, 1, 1, outputs)))),
        Shape::MaxPool => Branch::MaxPool,
    }
}

impl InceptionStage {
    /// Returns the convolutions, in order.
    pub fn layers(&self) -> Vec<&Layer> {
        match self {
            Self::Conv(layer) => vec![layer],
            Self::MaxPool => vec![],
            Self::Mixed(branches) => branches.iter().flat_map(Branch::layers).collect(),
        }
    }
}

impl Branch {
    /// Returns the convolutions, in order.
    pub fn layers(&self) -> &[Layer] {
        match self {
            Self::Convs(layers) => layers,
            Self::AveragePool(layer) => std::slice::from_ref(layer),
            Self::MaxPool => &[],
        }
    }

    /// Returns the number of output channels, or `None` if it equals the number of input channels.
    pub fn outputs(&self) -> Option<usize> {
        self.layers().last().map(|layer| layer.outputs)
    }
}

#[cfg(test)]
mod tests {
    use super::{InceptionStage, stages};

    #[test]
    fn the_table_is_the_published_one() {
        let stages = stages();
        let layers: Vec<_> = stages.iter().flat_map(InceptionStage::layers).collect();
        assert_eq!(layers.len(), 70);
        let weights: usize = layers.iter().map(|layer| layer.weight().iter().product::<usize>()).sum();
        assert_eq!(weights + 768 * 100, 9_023_840);
    }
}
