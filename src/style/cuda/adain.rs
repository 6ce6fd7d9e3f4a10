//! AdaIN on CUDA. `style/adain.rs` describes the method.
use super::Plan;
use super::layers::{Around, biased, forget, run_conv, run_measured};
use crate::error::Result;
use crate::kernels::cuda::{At, DeviceImages, Map, Number, Weights};
use crate::kernels::inference::convolution::cuda::{Conv, Source};
use crate::kernels::inference::feature_map::{Border, Pad};
use crate::kernels::inference::instance_norm::cuda::{Affine, affine, features, restyle};
use crate::kernels::inference::layer_shape::Activation;
use crate::kernels::inference::pixel_interpolation::{Squash, cuda::Last};
use crate::kernels::inference::pixels::cuda::{Frame, framed};
use crate::style::adain::{Form, decoder};
use crate::style::layers::around;
use crate::weights::Model;
use crate::weights::layers::Layer;
use crate::weights::vgg19::{self, CHANNELS};

/// F and T with their weights on the device.
#[derive(Clone, Debug)]
pub(super) struct Adain {
    form: Form,
    /// The encoder's convolutions, each with a flag for a following pool; the last one has no pool.
    encoder: Vec<(Conv, bool)>,
    decoder: Vec<(Conv, Around)>,
}

/// The encoder's output for images.
#[derive(Clone, Copy, Debug)]
pub(super) struct Encoded {
    map: Map,
    /// The channel means and standard deviations of the map, `[images][dim]`.
    own: At,
    /// The images' style vectors z, if requested. The vectors differ from `own` if the images were padded for T.
    pub(super) z: At,
}

impl Adain {
    /// Creates both networks of this model, or returns `None` if the model is not AdaIN.
    pub(super) fn new(model: &Model, number: Number, weights: &mut Weights) -> Result<Option<Self>> {
        let Some(form) = Form::of(model)? else { return Ok(None) };
        let mut conv = |layer: &Layer, activation| biased(model, number, layer, activation, weights);
        let encoder = vgg19::encoder();
        let encoder = encoder.iter().map(|(layer, pooled)| Ok((conv(layer, Activation::Relu)?, *pooled)));
        let encoder = encoder.collect::<Result<_>>()?;
        let decoder = decoder();
        let decoder = decoder.iter().map(|(layer, activation)| Ok((conv(layer, *activation)?, around(layer))));
        Ok(Some(Self { form, encoder, decoder: decoder.collect::<Result<_>>()? }))
    }

    /// Returns the length of a style vector z.
    pub(super) fn dim(&self) -> usize {
        self.form.dim
    }

    /// Plans the computation of the style vectors of `count` images, written to `z` as `[count][dim]`. `rows` holds the indices
    /// of the images.
    pub(super) fn z(&self, images: &DeviceImages, rows: At, count: usize, z: At, plan: &mut Plan) {
        let map = self.run_encoder(images, (rows, count), Pad::NONE, z, plan);
        plan.room.give(map.at);
    }

    /// Plans the encoding of images for T, and the images' z if requested. The encoder runs once for both, or twice if the
    /// pools would drop a last row or column.
    pub(super) fn encode(
        &self,
        images: &DeviceImages,
        (rows, count): (At, usize),
        wants_z: bool,
        plan: &mut Plan,
    ) -> Encoded {
        let more = self.form.beyond((images.height, images.width));
        let own = plan.room.take(count * self.dim());
        let map = self.run_encoder(images, (rows, count), more, own, plan);
        if !wants_z || more == Pad::NONE {
            return Encoded { map, own, z: own };
        }
        let z = plan.room.take(count * self.dim());
        self.z(images, rows, count, z, plan);
        Encoded { map, own, z }
    }

    /// Plans the feature map of relu4_1 for images padded by `more` with reflection. The channel means and standard deviations
    /// of the map are written to `z`.
    fn run_encoder(&self, images: &DeviceImages, (rows, count): (At, usize), more: Pad, z: At, plan: &mut Plan) -> Map {
        let frame = self.form.colour.map_or(Frame::Reflect, Frame::Colour);
        let size = (images.height + more.bottom + 2, images.width + more.right + 2);
        let mut x = plan.room.stored(plan.number, count, size, 3);
        plan.launches.push(framed(plan.number, images, rows, frame, &x));
        // The image already includes the padding of the first convolution.
        let mut around = (Pad::NONE, Border::Zero);
        let ((last, _), before) = self.encoder.split_last().expect("VGG-19 has layers");
        for (conv, pooled) in before {
            let y = run_conv(conv, Source::Map(&x, None), around, plan);
            plan.room.give(x.at);
            x = if *pooled { self.pooled(y, plan) } else { y };
            around = (Pad::all(1), self.form.border);
        }
        let (y, moments) = run_measured(last, Source::Map(&x, None), around, plan);
        plan.launches.push(features(&moments, CHANNELS, (z, self.dim()), 0, Some(self.form.deviation)));
        [x.at, moments.at].into_iter().for_each(|at| plan.room.give(at));
        y
    }

    /// Plans a max pool of `x`, and frees the memory of `x`.
    fn pooled(&self, x: Map, plan: &mut Plan) -> Map {
        let pool = self.form.pool;
        let size = (pool.windows(x.height), pool.windows(x.width));
        let y = plan.room.stored(plan.number, x.images, size, x.channels);
        plan.launches.push(pool.launch(plan.number, &x, &y, 0));
        plan.room.give(x.at);
        y
    }

    /// Plans T for encoded images, and frees the memory of the encodings. `z` holds the style vectors, `[images][dim]`.
    pub(super) fn decode(&self, content: Encoded, z: At, plan: &mut Plan) -> Last {
        let map = content.map;
        let [scale, shift] = [0; 2].map(|_: i32| plan.room.take(map.images * CHANNELS));
        let by = Affine { scale, shift };
        plan.launches.push(restyle(content.own, z, CHANNELS, map.images, by));
        plan.launches.push(affine(plan.number, &map, by, Activation::None));
        forget(by, plan);
        [content.own, content.z].into_iter().for_each(|at| plan.room.give(at));
        let mut x = map;
        for (conv, around) in &self.decoder {
            let y = run_conv(conv, Source::Map(&x, None), *around, plan);
            plan.room.give(x.at);
            x = y;
        }
        Last { map: x, norm: None, end: Squash::Clamp }
    }
}
