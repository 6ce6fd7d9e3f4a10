//! The style predictor F, which computes the style vector z of an image. Images that are too large or too small are resized
//! first.
use super::inception_v3::InceptionV3;
use super::layers::{LayerScratch, run_conv, sampling_of, shape_of};
use crate::error::{Error, Result};
use crate::kernels::inference::any_map::{AnyMap, Input};
use crate::kernels::inference::bilinear::{BilinearScratch, resize};
use crate::kernels::inference::convolution::Conv;
use crate::kernels::inference::depthwise::Depthwise;
use crate::kernels::inference::feature_map::{Border, FeatureMap, Pad};
use crate::kernels::inference::instance_norm::{Deviation, affine_add};
use crate::kernels::inference::layer_shape::{Activation, Shape};
use crate::kernels::inference::linear::Linear;
use crate::kernels::inference::pixels::Pixels;
use crate::kernels::isa::{Extent, KernelPath};
use crate::weights::Model;
use crate::weights::layers::{BlockLayers, Layer, PredictorLayers};
use crate::weights::network;

/// F with its weights.
#[derive(Clone, Debug)]
pub struct Predictor {
    path: KernelPath,
    /// The architecture, which determines the input size.
    network: network::Predictor,
    body: Body,
    head: Linear,
    /// A linear map for images below the largest input size of F. Its output is multiplied by the (fractional) number of
    /// halvings from that size to the size of the image, and added to z.
    zoom: Option<Linear>,
}

#[derive(Clone, Debug)]
enum Body {
    /// Strided convolutions; the features are the channel means and standard deviations of the image and of every stage's
    /// output.
    Cnn(Vec<Conv>),
    /// MobileNetV2 up to its last convolution; the features are the channel means of the last output.
    MobilenetV2(Box<MobilenetV2>),
    /// InceptionV3 up to Mixed_6e; the features are the channel means of Mixed_6e.
    InceptionV3(InceptionV3),
}

#[derive(Clone, Debug)]
struct MobilenetV2 {
    stem: Conv,
    blocks: Vec<Block>,
    last: Conv,
}

/// MobileNetV2's inverted residual block: expand, depthwise, project. The block's input is added to the result if the two have
/// the same shape.
#[derive(Clone, Debug)]
struct Block {
    expand: Option<Conv>,
    depthwise: Depthwise,
    project: Conv,
    residual: bool,
}

/// Reusable scratch memory of F.
#[derive(Debug, Default)]
pub struct PredictorScratch {
    resize: BilinearScratch,
    /// Pooled features of the current image.
    features: Vec<f32>,
}

/// The formula of the standard deviation in [`Body::Cnn`]. The epsilon is part of the network: in training, it keeps the
/// deviation of a constant map differentiable.
pub(super) const CNN_DEVIATION: Deviation = Deviation { unbiased: false, within: 1e-5, beyond: 0.0 };

/// The output range of ReLU6.
const RELU6: Extent = Extent { low: 0.0, high: 6.0 };

impl Block {
    /// The number of values in a strip of the hidden map. A strip and its outputs fit into the cache together.
    const STRIP: usize = 1 << 16;

    /// Runs the block strip by strip. Hidden maps are the largest maps of the network; with strips, only a part that fits into
    /// the cache is stored at a time.
    fn run(&self, path: KernelPath, x: Input, scratch: &mut LayerScratch) -> FeatureMap {
        let Shape { stride, outputs: channels, .. } = *self.depthwise.shape();
        let side = self.depthwise.shape().side();
        let (x_height, x_width, _) = x.shape();
        let pad = Pad::same(x_height, x_width, side, stride);
        let sides = Pad { top: 0, bottom: 0, ..pad };
        let (height, width) = (x_height.div_ceil(stride), x_width.div_ceil(stride));
        let mut out = scratch.maps.take(height, width, self.project.shape().outputs, Pad::NONE);
        let step = (Self::STRIP / (x_width * channels)).clamp(1, height);
        let mut hidden = scratch.maps.take_any(path, 0, x_width, channels, sides);
        let mut middle = scratch.maps.take_any(path, step, width, channels, Pad::NONE);
        hidden.set_range(RELU6);
        middle.set_range(RELU6);
        // Number of computed rows of the hidden map, including the padding above.
        let mut done = 0;
        for y in (0..height).step_by(step) {
            let rows = step.min(height - y);
            let (start, end) = (y * stride, (y + rows - 1) * stride + side);
            // Rows that the last strip has already computed.
            let kept = usize::saturating_sub(done, start);
            hidden.keep_last_rows(kept);
            hidden.reshape(end - start, x_width, channels, sides);
            let inside = |row: usize| (pad.top..pad.top + x_height).contains(&row);
            let fresh = (start + kept).max(pad.top)..end.min(pad.top + x_height);
            if !fresh.is_empty() {
                let from = x.rows(fresh.start - pad.top..fresh.end - pad.top);
                match &self.expand {
                    Some(expand) => expand.run_at(fresh.start - start, from, &mut hidden, &mut scratch.quantize),
                    None => hidden.copy_rows(fresh.start - start, from),
                }
            }
            let outside = (start + kept..end).filter(|&row| !inside(row)).map(|row| row - start);
            hidden.fill_zeros(kept..end - start, outside);
            middle.reshape(rows, width, channels, Pad::NONE);
            self.depthwise.run(&hidden, &mut middle, &mut scratch.quantize);
            self.project.run_at(y, &middle, &mut out, &mut scratch.quantize);
            done = end;
        }
        scratch.maps.put_any(hidden);
        scratch.maps.put_any(middle);
        out
    }
}

impl Predictor {
    /// Creates F of this model for a kernel path.
    ///
    /// # Errors
    /// The model is AdaIN, or a tensor is missing.
    pub fn new(model: &Model, path: KernelPath) -> Result<Self> {
        let predictor = &model.network.predictor;
        let conv = |layer: &Layer, activation| -> Result<Conv> {
            let (weight, bias) = model.weight_and_bias(&layer.name)?;
            Ok(Conv::new(path, shape_of(layer, activation), weight, Some(bias)))
        };
        let block = |layers: &BlockLayers| -> Result<Block> {
            let (weight, bias) = model.weight_and_bias(&layers.depthwise.name)?;
            let depthwise = shape_of(&layers.depthwise, Activation::Relu6);
            Ok(Block {
                expand: layers.expand.as_ref().map(|layer| conv(layer, Activation::Relu6)).transpose()?,
                depthwise: Depthwise::new(path, depthwise, weight, Some(bias)),
                project: conv(&layers.project, Activation::None)?,
                residual: layers.residual,
            })
        };
        let body = match predictor.layers() {
            PredictorLayers::Cnn(stages) => {
                Body::Cnn(stages.iter().map(|layer| conv(layer, Activation::Relu)).collect::<Result<_>>()?)
            }
            PredictorLayers::MobilenetV2 { stem, blocks, last } => Body::MobilenetV2(Box::new(MobilenetV2 {
                stem: conv(&stem, Activation::Relu6)?,
                blocks: blocks.iter().map(block).collect::<Result<_>>()?,
                last: conv(&last, Activation::Relu6)?,
            })),
            PredictorLayers::Vgg19(_) => return Err(Error::weights(&model.name, "is AdaIN, with a shared encoder")),
            PredictorLayers::InceptionV3(layers) => Body::InceptionV3(InceptionV3::new(model, path, &layers)?),
        };
        let linear = |name: &str| -> Result<Linear> {
            let (weight, bias) = model.weight_and_bias(&format!("predictor.{name}"))?;
            Ok(Linear::new(path.isa(), weight, bias))
        };
        let zoom = predictor.zooms().then(|| linear("zoom")).transpose()?;
        Ok(Self { path, network: predictor.clone(), body, head: linear("head")?, zoom })
    }

    /// Returns the length of a style vector z.
    pub fn dim(&self) -> usize {
        self.head.outputs()
    }

    /// Computes the style vector z of an image with `width` columns.
    pub fn run(
        &self,
        image: Pixels,
        width: usize,
        z: &mut [f32],
        own: &mut PredictorScratch,
        scratch: &mut LayerScratch,
    ) {
        let PredictorScratch { resize: resizing, features } = own;
        let (height, columns) = self.network.seen(image.len() / (3 * width), width);
        let (pad, border) = match self.body {
            Body::Cnn(_) => (Pad::all(1), Border::Reflect),
            Body::MobilenetV2(_) => (Pad::same(height, columns, 3, 2), Border::Zero),
            Body::InceptionV3(_) => (Pad::NONE, Border::Zero),
        };
        let mut x = scratch.maps.take(height, columns, 3, pad);
        resize(self.path.isa(), sampling_of(&self.network), image, width, &mut x, resizing);
        x.fill_border(border);
        x.set_range(Extent { low: 0.0, high: 1.0 });
        features.clear();
        match &self.body {
            Body::Cnn(stages) => self.run_cnn(stages, x, features, scratch),
            Body::MobilenetV2(network) => self.run_mobilenet_v2(network, x, features, scratch),
            Body::InceptionV3(network) => {
                let out = network.run(x, scratch);
                scratch.norm.measure(self.path.isa(), &out);
                features.extend_from_slice(&scratch.norm.mean);
                scratch.maps.put(out);
            }
        }
        self.head.run(features, z);
        if let Some(zoom) = &self.zoom {
            zoom.add(self.network.halvings((height, columns)), features, z);
        }
    }

    fn run_cnn(&self, stages: &[Conv], mut x: FeatureMap, features: &mut Vec<f32>, scratch: &mut LayerScratch) {
        let isa = self.path.isa();
        let mut collect = |x: &mut FeatureMap, scratch: &mut LayerScratch| {
            let norm = &mut scratch.norm;
            norm.measure(isa, x);
            features.extend_from_slice(&norm.mean);
            let pixels = x.height() * x.width();
            features.extend(norm.variance.iter().map(|&variance| CNN_DEVIATION.of(variance, pixels)));
            let ends = norm.extent.iter().map(|&[low, high]| Extent { low: low.min(0.0), high: high.max(0.0) });
            x.set_range(ends.fold(Extent::default(), Extent::or));
        };
        collect(&mut x, scratch);
        for conv in stages {
            let mut out = run_conv(conv, &x, Pad::all(1), scratch);
            out.fill_border(Border::Reflect);
            collect(&mut out, scratch);
            scratch.maps.put(std::mem::replace(&mut x, out));
        }
        scratch.maps.put(x);
    }

    fn run_mobilenet_v2(
        &self,
        network: &MobilenetV2,
        image: FeatureMap,
        features: &mut Vec<f32>,
        scratch: &mut LayerScratch,
    ) {
        let MobilenetV2 { stem, blocks, last } = network;
        let (height, width) = stem.shape().output_size(&image);
        let mut x = scratch.maps.take_any(self.path, height, width, stem.shape().outputs, Pad::NONE);
        x.set_range(RELU6);
        stem.run(&image, &mut x, &mut scratch.quantize);
        scratch.maps.put(image);
        for block in blocks {
            let mut out = block.run(self.path, x.view(), scratch);
            if let (true, AnyMap::Floats(x)) = (block.residual, &x) {
                let norm = &mut scratch.norm;
                for (numbers, with) in [(&mut norm.scale, 1.0), (&mut norm.shift, 0.0)] {
                    numbers.clear();
                    numbers.resize(out.channels(), with);
                }
                affine_add(self.path.isa(), x, norm, &mut out);
            }
            scratch.maps.put_any(std::mem::replace(&mut x, AnyMap::Floats(out)));
        }
        let out = run_conv(last, &x, Pad::NONE, scratch);
        scratch.norm.measure(self.path.isa(), &out);
        features.extend_from_slice(&scratch.norm.mean);
        scratch.maps.put_any(x);
        scratch.maps.put(out);
    }
}
