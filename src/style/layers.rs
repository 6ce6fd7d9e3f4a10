//! Building blocks of the style predictor F and the transformer T: dense and separable convolutions, and the conditional
//! instance norm.
use crate::error::Result;
use crate::interrupt::poll;
use crate::kernels::inference::any_map::Input;
use crate::kernels::inference::bilinear::Sampling;
use crate::kernels::inference::convolution::Conv;
use crate::kernels::inference::depthwise::Depthwise;
use crate::kernels::inference::feature_map::{Border, FeatureMap, Pad};
use crate::kernels::inference::instance_norm::Norm;
use crate::kernels::inference::layer_shape::{Activation, Shape};
use crate::kernels::inference::linear::Linear;
use crate::kernels::inference::quantize::{Grid, QuantizeScratch};
use crate::kernels::inference::spare_maps::SpareMaps;
use crate::kernels::isa::{Isa, KernelPath};
use crate::weights::Model;
use crate::weights::layers::Layer;
use crate::weights::network::Predictor;

/// Reusable scratch memory of layers.
#[derive(Debug, Default)]
pub struct LayerScratch {
    pub(super) maps: SpareMaps,
    pub(super) quantize: QuantizeScratch,
    pub(super) norm: Norm,
}

impl LayerScratch {
    /// Returns the size in bytes of the feature maps that are kept for reuse.
    pub fn bytes(&self) -> usize {
        self.maps.bytes()
    }
}

/// A dense convolution, or a separable one: a depthwise and a pointwise convolution with no activation in between.
#[derive(Clone, Debug)]
pub(super) enum Convolution {
    Dense(Conv),
    Separable(Depthwise, Conv),
}

impl Convolution {
    /// Creates the layer, without bias.
    pub(super) fn new(model: &Model, path: KernelPath, layer: &Layer) -> Result<Self> {
        let tensor = |part: &str| model.numbers(&format!("{}.{part}weight", layer.name));
        let shape = shape_of(layer, Activation::None);
        if !layer.separable {
            return Ok(Self::Dense(Conv::new(path, shape, tensor("")?, None)));
        }
        let (depthwise, pointwise) = separated(shape);
        Ok(Self::Separable(
            Depthwise::new(path, depthwise, tensor("depthwise.")?, None),
            Conv::in_words(path, pointwise, tensor("pointwise.")?, None),
        ))
    }

    /// Returns the quantization grid that suits the layer's input best.
    pub(super) fn grid(&self) -> Grid {
        match self {
            Self::Dense(_) => Grid::Map,
            Self::Separable(..) => Grid::Channels,
        }
    }

    /// Returns `true` if an input of this size should be kept as floats even on a kernel path that computes with bytes.
    pub(super) fn wants_floats(&self, size: (usize, usize)) -> bool {
        matches!(self, Self::Dense(conv) if conv.wants_floats(size))
    }

    /// Computes the output, in a map without room for padding.
    pub(super) fn run<'a>(&self, input: impl Into<Input<'a>>, scratch: &mut LayerScratch) -> FeatureMap {
        match self {
            Self::Dense(conv) => run_conv(conv, input, Pad::NONE, scratch),
            Self::Separable(depthwise, pointwise) => {
                let middle = run_depthwise(depthwise, input, scratch);
                let out = run_conv(pointwise, &middle, Pad::NONE, scratch);
                scratch.maps.put(middle);
                out
            }
        }
    }
}

/// Returns the shape of a layer with this activation.
pub(super) fn shape_of(layer: &Layer, activation: Activation) -> Shape {
    let &Layer { inputs, outputs, kernel, stride, upsample, .. } = layer;
    Shape { inputs, outputs, kernel, stride, upsample, activation }
}

/// Returns the interpolation with which F resizes its input image.
pub(super) fn sampling_of(predictor: &Predictor) -> Sampling {
    match predictor {
        Predictor::InceptionV3 { .. } => Sampling::TensorFlow1,
        Predictor::MobilenetV2 { .. } | Predictor::Cnn { .. } | Predictor::Vgg19 { .. } => Sampling::Antialiased,
    }
}

/// Returns the shapes of the depthwise and the pointwise part of a separable convolution, with no activation in between.
pub(super) fn separated(shape: Shape) -> (Shape, Shape) {
    let depthwise = Shape { outputs: shape.inputs, activation: Activation::None, ..shape };
    (depthwise, Shape { kernel: (1, 1), stride: 1, upsample: false, ..shape })
}

/// Returns the padding of a layer's input. At stride 1, this padding preserves the size of the map. Layers with upsampling
/// repeat the edge pixels; all other layers pad by reflection.
pub(super) fn around(layer: &Layer) -> (Pad, Border) {
    match layer.upsample {
        true => (Shape::upsample_pad(layer.side()), Border::Edge),
        false => (Pad::all(layer.side() / 2), Border::Reflect),
    }
}

/// Computes a convolution into a new map with room for this padding.
pub(super) fn run_conv<'a>(
    conv: &Conv,
    input: impl Into<Input<'a>>,
    pad: Pad,
    scratch: &mut LayerScratch,
) -> FeatureMap {
    let input = input.into();
    let (height, width) = conv.shape().output_size(input);
    let mut out = scratch.maps.take(height, width, conv.shape().outputs, pad);
    conv.run(input, &mut out, &mut scratch.quantize);
    poll();
    out
}

/// Computes a depthwise convolution into a new map without padding.
fn run_depthwise<'a>(conv: &Depthwise, input: impl Into<Input<'a>>, scratch: &mut LayerScratch) -> FeatureMap {
    let input = input.into();
    let (height, width) = conv.shape().output_size(input);
    let mut out = scratch.maps.take(height, width, conv.shape().outputs, Pad::NONE);
    conv.run(input, &mut out, &mut scratch.quantize);
    poll();
    out
}

/// Returns the map with this padding, filled. The map is copied only if it has room for a padding of another size.
pub(super) fn padded(mut map: FeatureMap, (pad, border): (Pad, Border), scratch: &mut LayerScratch) -> FeatureMap {
    if map.pad() != pad {
        let mut out = scratch.maps.take(map.height(), map.width(), map.channels(), pad);
        for y in 0..map.height() {
            out.row_mut(y).copy_from_slice(map.row(y));
        }
        scratch.maps.put(std::mem::replace(&mut map, out));
    }
    map.fill_border(border);
    map
}

/// Conditional instance norm: `gamma (x - mean) / sqrt(variance + 1e-5) + beta`, with gamma and beta linear in z (Ghiasi et al.
/// 2017, equation 5). The factor is gamma itself, not 1 + gamma.
#[derive(Clone, Debug)]
pub(super) struct StyleNorm {
    beta: Linear,
    gamma: Linear,
}

/// Computes the affine map that normalizes each channel of `map` to mean 0 and variance 1, as an instance norm without
/// parameters does.
pub(super) fn fit_plain(isa: Isa, map: &FeatureMap, norm: &mut Norm) {
    norm.measure(isa, map);
    let Norm { mean, variance, scale, shift, .. } = norm;
    scale.clear();
    scale.extend(variance.iter().map(|variance| 1.0 / (variance + StyleNorm::EPSILON).sqrt()));
    shift.clear();
    shift.extend(mean.iter().zip(&*scale).map(|(mean, scale)| -mean * scale));
}

impl StyleNorm {
    const EPSILON: f32 = 1e-5;

    /// Creates the norm of the layer `name`.
    pub(super) fn new(model: &Model, isa: Isa, name: &str) -> Result<Self> {
        let linear = |part: &str| -> Result<Linear> {
            let (weight, bias) = model.weight_and_bias(&format!("{name}.{part}"))?;
            Ok(Linear::new(isa, weight, bias))
        };
        Ok(Self { beta: linear("beta")?, gamma: linear("gamma")? })
    }

    /// Computes beta, which is the output of the norm for a constant map.
    pub(super) fn beta(&self, z: &[f32], out: &mut [f32]) {
        self.beta.run(z, out);
    }

    /// Computes the norm of `map` as an affine map. `map` may hold several phases of each channel, i.e. pixels of a 2x2 cell,
    /// as `[phase][channel]`. The mean and the variance are then computed over all phases of a channel together.
    pub(super) fn fit(&self, isa: Isa, map: &FeatureMap, z: &[f32], norm: &mut Norm) {
        let channels = self.gamma.outputs();
        let phases = map.channels() / channels;
        norm.measure(isa, map);
        let Norm { mean, variance, scale, shift, .. } = norm;
        for (numbers, linear) in [(&mut *scale, &self.gamma), (&mut *shift, &self.beta)] {
            numbers.resize(channels, 0.0);
            linear.run(z, numbers);
        }
        for (c, (scale, shift)) in scale.iter_mut().zip(shift).enumerate() {
            let of_phase = |p: usize| (f64::from(mean[p * channels + c]), f64::from(variance[p * channels + c]));
            let mean = (0..phases).map(|p| of_phase(p).0).sum::<f64>() / phases as f64;
            let between = |(m, v): (f64, f64)| v + (m - mean) * (m - mean);
            let variance = (0..phases).map(|p| between(of_phase(p))).sum::<f64>() / phases as f64;
            *scale /= (variance as f32 + Self::EPSILON).sqrt();
            *shift -= mean as f32 * *scale;
        }
    }
}
