//! AdaIN (Huang and Belongie 2017, arXiv 1703.06868). The style predictor F is VGG-19 up to relu4_1; z consists of the channel
//! means and standard deviations of relu4_1. The transformer T gives the content's feature map the means and standard
//! deviations in z, and decodes the result.
//!
//! ```text
//! f = encoder(image);  z = (mean(f), deviation(f))
//! T(image, z) = clamp(decoder(max(deviation(z), 0) (f - mean(f)) / deviation(f) + mean(z)))
//! ```
//!
//! If the sides of the content are multiples of 8, or the pools keep an odd last row and column, the content is encoded once,
//! both for its z and for T. Otherwise, T would return an image smaller than the content. The content is therefore encoded
//! separately for T, padded by reflection to multiples of 8, and the output is cropped. Blending z is equivalent to blending
//! feature maps, because the decoder's input is linear in z, apart from the clamp at 0.
//!
//! A style vector drawn from a Gaussian may contain negative standard deviations. A negative value would invert its channel, so
//! it is clamped to 0, the nearest valid value. The clamp is applied by T rather than by the Gaussian. After the blend with the
//! content's deviations, few channels are still negative, and all other channels keep the drawn values. (No feature map of the
//! encoder has a negative mean either, but a negative mean only shifts a channel.)
use super::layers::{LayerScratch, around, run_conv, shape_of};
use super::transformer::Stylized;
use crate::error::Result;
use crate::interrupt::poll;
use crate::kernels::inference::any_map::{AnyMap, Input};
use crate::kernels::inference::convolution::Conv;
use crate::kernels::inference::feature_map::{Border, FeatureMap, Pad};
use crate::kernels::inference::instance_norm::{Deviation, affine_add};
use crate::kernels::inference::layer_shape::Activation;
use crate::kernels::inference::pixel_interpolation::Squash;
use crate::kernels::inference::pixels::Pixels;
use crate::kernels::inference::pooling::MaxPool;
use crate::kernels::isa::{Extent, KernelPath};
use crate::weights::Model;
use crate::weights::layers::Layer;
use crate::weights::network::{EncoderBorder, Epsilon, Predictor};
use crate::weights::vgg19::{self, SHRINKAGE};

/// The settings in which the two published forms of AdaIN differ.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    /// The padding of the encoder's feature maps, and of the image if `colour` is `None`.
    pub(super) border: Border,
    pub(super) colour: Option<[f32; 3]>,
    pub(super) pool: MaxPool,
    pub(super) deviation: Deviation,
    /// Length of a style vector z.
    pub(super) dim: usize,
}

/// F and T with their weights.
#[derive(Clone, Debug)]
pub(super) struct Adain {
    path: KernelPath,
    form: Form,
    encoder: Vec<(Conv, bool)>,
    decoder: Vec<(Conv, (Pad, Border))>,
}

/// The encoder's output for an image.
#[derive(Debug)]
pub(super) struct Encoded {
    map: FeatureMap,
    mean: Vec<f32>,
    deviation: Vec<f32>,
}

impl Encoded {
    fn z(&self, z: &mut [f32]) {
        let (mean, deviation) = z.split_at_mut(self.mean.len());
        mean.copy_from_slice(&self.mean);
        deviation.copy_from_slice(&self.deviation);
    }
}

impl Form {
    /// Returns the form of a model, or `None` if the model is not AdaIN.
    ///
    /// # Errors
    /// A tensor is missing.
    pub(super) fn of(model: &Model) -> Result<Option<Self>> {
        let &Predictor::Vgg19 { border, pools_ceil, epsilon, dim } = &model.network.predictor else { return Ok(None) };
        let (border, colour) = match border {
            EncoderBorder::Reflect => (Border::Reflect, None),
            EncoderBorder::Zero => {
                let colour = model.numbers("predictor.border")?;
                (Border::Zero, Some(std::array::from_fn(|c| colour[c])))
            }
        };
        let (within, beyond) = match epsilon {
            Epsilon::Variance => (1e-5, 0.0),
            Epsilon::Deviation => (0.0, 1e-6),
        };
        let deviation = Deviation { unbiased: true, within, beyond };
        Ok(Some(Self { border, colour, pool: MaxPool { side: 2, stride: 2, ceil: pools_ceil }, deviation, dim }))
    }

    /// Returns the reflection padding that a content image of this size needs so that the pools drop no row or column.
    pub(super) fn beyond(&self, (height, width): (usize, usize)) -> Pad {
        let beyond = |n: usize| if self.pool.ceil { 0 } else { n.next_multiple_of(SHRINKAGE) - n };
        Pad { top: 0, left: 0, bottom: beyond(height), right: beyond(width) }
    }
}

/// Returns the decoder's layers with their activations: ReLU for all but the last.
pub(super) fn decoder() -> Vec<(Layer, Activation)> {
    let mut layers: Vec<_> = vgg19::decoder().into_iter().map(|layer| (layer, Activation::Relu)).collect();
    if let Some((_, activation)) = layers.last_mut() {
        *activation = Activation::None;
    }
    layers
}

impl Adain {
    /// Creates both networks of this model for a kernel path, or returns `None` if the model is not AdaIN.
    ///
    /// # Errors
    /// A tensor is missing.
    pub(super) fn new(model: &Model, path: KernelPath) -> Result<Option<Self>> {
        let Some(form) = Form::of(model)? else { return Ok(None) };
        let conv = |layer: &Layer, activation| -> Result<Conv> {
            let (weight, bias) = model.weight_and_bias(&layer.name)?;
            Ok(Conv::new(path, shape_of(layer, activation), weight, Some(bias)))
        };
        let encoder = vgg19::encoder();
        let encoder = encoder.iter().map(|(layer, pooled)| Ok((conv(layer, Activation::Relu)?, *pooled)));
        let decoder = decoder();
        let decoder = decoder.iter().map(|(layer, activation)| Ok((conv(layer, *activation)?, around(layer))));
        Ok(Some(Self {
            path,
            form,
            encoder: encoder.collect::<Result<_>>()?,
            decoder: decoder.collect::<Result<_>>()?,
        }))
    }

    /// Returns the length of a style vector z.
    pub(super) fn dim(&self) -> usize {
        self.form.dim
    }

    /// Computes the style vector z of an image with `width` columns.
    pub(super) fn z(&self, image: Pixels, width: usize, z: &mut [f32], scratch: &mut LayerScratch) {
        let encoded = self.run_encoder(image, width, Pad::NONE, scratch);
        encoded.z(z);
        scratch.maps.put(encoded.map);
    }

    /// Encodes an image with `width` columns for T, and computes the image's z if requested. The encoder runs once for both, or
    /// twice if the pools would drop a last row or column.
    pub(super) fn encode(
        &self,
        image: Pixels,
        width: usize,
        z: Option<&mut [f32]>,
        scratch: &mut LayerScratch,
    ) -> Encoded {
        let more = self.form.beyond((image.len() / (3 * width), width));
        let encoded = self.run_encoder(image, width, more, scratch);
        match z {
            Some(z) if more == Pad::NONE => encoded.z(z),
            Some(z) => self.z(image, width, z, scratch),
            None => {}
        }
        encoded
    }

    /// Pads an image by `more` with reflection, and computes the feature map of relu4_1, with its channel means and deviations.
    fn run_encoder(&self, image: Pixels, width: usize, more: Pad, scratch: &mut LayerScratch) -> Encoded {
        let (isa, Form { border, pool, deviation, .. }) = (self.path.isa(), self.form);
        let mut x = AnyMap::Floats(self.image(image, width, more, scratch));
        for (conv, pooled) in &self.encoder {
            let pad = if *pooled { Pad::NONE } else { Pad::all(1) };
            let mut out = AnyMap::Floats(run_conv(conv, x.view(), pad, scratch));
            if *pooled {
                let (height, width) = pool.output_size(out.view());
                let mut small = AnyMap::Floats(scratch.maps.take(height, width, conv.shape().outputs, Pad::all(1)));
                pool.run(isa, out.view(), &mut small, 0);
                scratch.maps.put_any(std::mem::replace(&mut out, small));
                poll();
            }
            out.fill_border(border);
            scratch.maps.put_any(std::mem::replace(&mut x, out));
        }
        let AnyMap::Floats(map) = x else { unreachable!("all maps are allocated as float32") };
        scratch.norm.measure(isa, &map);
        let pixels = map.height() * map.width();
        Encoded {
            mean: scratch.norm.mean.clone(),
            deviation: scratch.norm.variance.iter().map(|&variance| deviation.of(variance, pixels)).collect(),
            map,
        }
    }

    /// Returns the image in [0, 1] as a map, padded by `more` with reflection. The map also has the padding of the first
    /// convolution, already filled.
    fn image(&self, image: Pixels, width: usize, more: Pad, scratch: &mut LayerScratch) -> FeatureMap {
        let height = image.len() / (3 * width);
        let (rows, columns) = (height + more.bottom, width + more.right);
        let mut whole = AnyMap::Floats(scratch.maps.take(height, width, 3, more));
        image.unpack(self.path.isa(), &mut whole);
        whole.fill_border(Border::Reflect);
        let AnyMap::Floats(whole) = whole else { unreachable!("it was allocated as float32") };
        let mut out = scratch.maps.take(rows, columns, 3, Pad::all(1));
        for (y, row) in whole.as_slice().chunks_exact(3 * columns).enumerate() {
            out.row_mut(y).copy_from_slice(row);
        }
        scratch.maps.put(whole);
        match &self.form.colour {
            Some(colour) => out.fill_border_with(Border::Zero, colour),
            None => out.fill_border(Border::Reflect),
        }
        out.set_range(Extent { low: 0.0, high: 1.0 });
        out
    }

    /// Computes T of an encoded image, and returns the encoding's memory to `scratch` for reuse.
    pub(super) fn decode(&self, content: Encoded, z: &[f32], scratch: &mut LayerScratch) -> Stylized {
        let isa = self.path.isa();
        let Encoded { map, mean, deviation } = content;
        let (means, deviations) = z.split_at(mean.len());
        let norm = &mut scratch.norm;
        norm.scale.clear();
        norm.scale.extend(deviations.iter().zip(&deviation).map(|(style, own)| style.max(0.0) / own));
        norm.shift.clear();
        norm.shift.extend(means.iter().zip(&mean).zip(&norm.scale).map(|((style, own), scale)| style - own * scale));
        let (pad, border) = self.decoder[0].1;
        let mut x = scratch.maps.take(map.height(), map.width(), map.channels(), pad);
        x.as_mut_slice().fill(0.0);
        affine_add(isa, &map, &mut scratch.norm, &mut x);
        x.fill_border(border);
        scratch.maps.put(map);
        for (i, (conv, _)) in self.decoder.iter().enumerate() {
            let (pad, border) = self.decoder.get(i + 1).map_or((Pad::NONE, Border::Zero), |(_, around)| *around);
            let mut out = run_conv(conv, Input::from(&x), pad, scratch);
            out.fill_border(border);
            scratch.maps.put(std::mem::replace(&mut x, out));
        }
        Stylized { map: x, scale: [1.0; 3], shift: [0.0; 3], end: Squash::Clamp }
    }
}
