//! The transformer T, which maps an image and z to the stylized image (Ghiasi et al. 2017, arXiv 1705.06830; Magenta's
//! `nza_model`).
//!
//! T has four parts, applied in this order:
//!
//! - contract: convolution, ReLU;
//! - residual: `x + norm(conv(relu(norm(conv(x)))))`;
//! - expand: nearest x2 upsampling, convolution, norm, ReLU;
//! - head: convolution to three channels, norm, sigmoid.
//!
//! Gamma and beta of every norm are linear in z. If T halves the size n times, a side of the output has `2^n ceil(side / 2^n)`
//! pixels; the caller crops the output.
use super::layers::{Convolution, LayerScratch, StyleNorm, around, fit_plain, padded, run_conv, shape_of};
use crate::error::{Error, Result};
use crate::kernels::inference::any_map::{AnyMap, Input};
use crate::kernels::inference::convolution::Conv;
use crate::kernels::inference::feature_map::{Border, FeatureMap, Pad};
use crate::kernels::inference::instance_norm::{affine_add, affine_relu};
use crate::kernels::inference::layer_shape::{Activation, Shape};
use crate::kernels::inference::linear::Linear;
use crate::kernels::inference::pixel_interpolation::{Last, Squash};
use crate::kernels::inference::quantize::Grid;
use crate::kernels::inference::upsampling::{pixel_shuffle_weight, shifted_weight};
use crate::kernels::isa::KernelPath;
use crate::weights::Model;
use crate::weights::layers::{Layer, TransformerLayers};
use crate::weights::network::{self, AnyTransformer};

/// T with its weights.
#[derive(Clone, Debug)]
pub struct Transformer {
    path: KernelPath,
    contract: Vec<Conv>,
    /// True if each layer of `contract` is followed by a norm without parameters.
    contract_norm: bool,
    residual: Vec<[Site; 2]>,
    expand: Vec<Site>,
    head: Site,
    /// A direct path from the image to the head: a convolution, and the linear map from z to a gain per channel. The
    /// convolution's output is multiplied by the gains, and added to the output of the head's convolution.
    skip: Option<(Conv, Linear)>,
    /// The factor by which contract reduces the sides of an image.
    stride: usize,
    /// The factor by which expand and head enlarge the sides of a map.
    growth: usize,
    /// The paddings of contract's layers, the residual blocks, expand's layers and the head, in this order.
    pads: Vec<(Pad, Border)>,
}

/// Returns the description of a model's T, which must have conditional instance norms.
///
/// # Errors
/// The model has another kind of T.
pub(super) fn conditional(model: &Model) -> Result<&network::Transformer> {
    match &model.network.transformer {
        AnyTransformer::Conditional(transformer) => Ok(transformer),
        AnyTransformer::Adain(_) => Err(Error::weights(&model.name, "is AdaIN, whose T has no conditional norm")),
    }
}

/// A convolution with its conditional norm.
#[derive(Clone, Debug)]
struct Site {
    convolution: Convolution,
    norm: StyleNorm,
}

impl Site {
    fn new(model: &Model, path: KernelPath, layer: &Layer) -> Result<Self> {
        let norm = StyleNorm::new(model, path.isa(), &layer.name)?;
        Ok(Self { convolution: Convolution::new(model, path, layer)?, norm })
    }

    /// Creates a dense convolution with upsampling, as a single convolution without upsampling. Each output position of this
    /// convolution holds a 2x2 cell of pixels.
    fn shuffled(model: &Model, path: KernelPath, layer: &Layer) -> Result<Self> {
        let weight = model.numbers(&format!("{}.weight", layer.name))?;
        let (side, weight) = pixel_shuffle_weight(layer.outputs, layer.inputs, layer.side(), weight);
        let conv = Conv::new(path, Shape::plain(layer.inputs, 4 * layer.outputs, side), &weight, None);
        let norm = StyleNorm::new(model, path.isa(), &layer.name)?;
        Ok(Self { convolution: Convolution::Dense(conv), norm })
    }
}

/// Creates the i-th layer of the contracting part.
fn contract_conv(model: &Model, path: KernelPath, (i, layer): (usize, &Layer), normed: bool) -> Result<Conv> {
    let weight = model.numbers(&format!("{}.weight", layer.name))?;
    let (activation, bias) = match normed {
        true => (Activation::None, None),
        false => (Activation::Relu, Some(model.numbers(&format!("{}.bias", layer.name))?)),
    };
    let shape = shape_of(layer, activation);
    Ok(match i {
        // The first layer reads pixels, which are bytes.
        0 => Conv::new(path, shape, weight, bias),
        _ => Conv::in_words(path, shape, weight, bias),
    })
}

/// Creates the direct path from the image to the head. If `fours`, the path computes four pixels at a time, as a head with
/// upsampling does.
fn skip_conv(model: &Model, path: KernelPath, skip: &Layer, fours: bool) -> Result<(Conv, Linear)> {
    let weight = model.numbers(&format!("{}.weight", skip.name))?;
    let shape = shape_of(skip, Activation::None);
    let conv = if fours {
        let (side, weight) = shifted_weight(skip.outputs, skip.inputs, skip.side(), weight);
        Conv::new(path, Shape { stride: 2, ..Shape::plain(skip.inputs, 4 * skip.outputs, side) }, &weight, None)
    } else {
        Conv::new(path, shape, weight, None)
    };
    let (weight, bias) = model.weight_and_bias(&format!("{}.gain", skip.name))?;
    Ok((conv, Linear::new(path.isa(), weight, bias)))
}

/// T's last feature map, with the norm and the output function that are still to be applied to it.
#[derive(Debug)]
pub struct Stylized {
    pub(super) map: FeatureMap,
    pub(super) scale: [f32; 3],
    pub(super) shift: [f32; 3],
    pub(super) end: Squash,
}

impl Stylized {
    /// Returns the input of [`crate::kernels::inference::pixel_interpolation::interpolate`].
    pub fn last(&self) -> Last<'_> {
        Last { map: &self.map, scale: self.scale, shift: self.shift, end: self.end }
    }

    /// Returns the memory to `scratch` for reuse.
    pub fn recycle(self, scratch: &mut LayerScratch) {
        scratch.maps.put(self.map);
    }
}

impl Transformer {
    /// Creates the model's transformer T for a kernel path.
    ///
    /// # Errors
    /// The model is AdaIN, or a tensor is missing.
    pub fn new(model: &Model, path: KernelPath) -> Result<Self> {
        let TransformerLayers { contract, contract_norm, residual, expand, head, skip } = conditional(model)?.layers();
        let site = |layer: &Layer| Site::new(model, path, layer);
        let contracting = contract.iter().map(|layer| layer.stride).product();
        // All residual blocks need the padding of their 3x3 kernels.
        let trunk = (Pad::all(1), Border::Reflect);
        let pads = contract.iter().map(around).chain([trunk]).chain(expand.iter().chain([&head]).map(around));
        Ok(Self {
            path,
            pads: pads.collect(),
            contract: contract
                .iter()
                .enumerate()
                .map(|at| contract_conv(model, path, at, contract_norm))
                .collect::<Result<_>>()?,
            contract_norm,
            residual: residual.iter().map(|[a, b]| Ok([site(a)?, site(b)?])).collect::<Result<_>>()?,
            expand: expand.iter().map(site).collect::<Result<_>>()?,
            stride: contracting,
            growth: 1 << (expand.len() + usize::from(head.upsample)),
            skip: skip.map(|skip| skip_conv(model, path, &skip, head.upsample)).transpose()?,
            head: if head.upsample && !head.separable { Site::shuffled(model, path, &head)? } else { site(&head)? },
        })
    }

    /// Returns the padding that T needs around an image of this size; the caller fills it with [`Border::Reflect`].
    pub fn image_pad(&self, height: usize, width: usize) -> Pad {
        let first = self.pads[0].0;
        let Some(skip) = self.skip_pad(height, width) else { return first };
        Pad {
            top: first.top.max(skip.top),
            left: first.left.max(skip.left),
            bottom: first.bottom.max(skip.bottom),
            right: first.right.max(skip.right),
        }
    }

    /// Returns the padding that the skip's convolution needs around the image; `None` without a skip. The padding extends the
    /// image to the size of the output, plus half a kernel on all sides.
    fn skip_pad(&self, height: usize, width: usize) -> Option<Pad> {
        let skip = self.skip.as_ref()?.0.shape();
        let reach = (skip.side() - skip.stride) / 2;
        let beyond = |n: usize| n.div_ceil(self.stride) * self.growth - n + reach;
        Some(Pad { top: reach, left: reach, bottom: beyond(height), right: beyond(width) })
    }

    /// Computes T of an image of a single colour, without running the layers. All feature maps of this image are constant. Each
    /// norm therefore outputs its beta, and the last norm determines the result. If the layers were run, each norm could
    /// amplify rounding errors by up to `1 / sqrt(1e-5)`.
    pub fn run_flat(&self, height: usize, width: usize, z: &[f32], scratch: &mut LayerScratch) -> Stylized {
        let size = |n: usize| n.div_ceil(self.stride) * self.growth;
        let mut map = scratch.maps.take(size(height), size(width), 3, Pad::NONE);
        map.as_mut_slice().fill(0.0);
        let mut shift = [0.0; 3];
        self.head.norm.beta(z, &mut shift);
        Stylized { map, scale: [0.0; 3], shift, end: Squash::Sigmoid }
    }

    /// Runs T up to the norm of its last layer. `image` has three channels in [0, 1], and the padding that
    /// [`Transformer::image_pad`] returns.
    pub fn run(&self, image: &AnyMap, z: &[f32], scratch: &mut LayerScratch) -> Stylized {
        let (height, width, _) = image.shape();
        let mut pads = self.pads.iter().copied();
        let mut next = || pads.next().unwrap_or((Pad::NONE, Border::Zero));
        let mut input = next();
        let mut x: Option<FeatureMap> = None;
        for conv in &self.contract {
            let from = x.as_ref().map_or_else(|| image.view().trimmed(input.0), Input::from);
            input = next();
            let mut out = if self.contract_norm {
                self.run_normed(conv, from, input.0, scratch)
            } else {
                run_conv(conv, from, input.0, scratch)
            };
            out.fill_border(input.1);
            if let Some(done) = x.replace(out) {
                scratch.maps.put(done);
            }
        }
        // Every network has a contracting layer, as its description has been checked.
        let mut x = x.unwrap_or_default();

        for [first, second] in &self.residual {
            let h = self.styled(first, Input::from(&x), z, (input, &second.convolution), scratch);
            let raw = second.convolution.run(&h, scratch);
            second.norm.fit(self.path.isa(), &raw, z, &mut scratch.norm);
            affine_add(self.path.isa(), &raw, &mut scratch.norm, &mut x);
            x.fill_border(input.1);
            scratch.maps.put_any(h);
            scratch.maps.put(raw);
        }

        input = next();
        let mut x = AnyMap::Floats(padded(x, input, scratch));
        let followers = self.expand.iter().skip(1).chain([&self.head]);
        for (site, follower) in self.expand.iter().zip(followers) {
            input = next();
            let out = self.styled(site, x.view(), z, (input, &follower.convolution), scratch);
            scratch.maps.put_any(std::mem::replace(&mut x, out));
        }

        let mut map = self.head.convolution.run(&x, scratch);
        if let (Some((skip, gain)), Some(pad)) = (&self.skip, self.skip_pad(height, width)) {
            let mut of_colours = [0.0; 3];
            gain.run(z, &mut of_colours);
            skip.add(image.view().trimmed(pad), &of_colours, &mut map, &mut scratch.quantize);
        }
        self.head.norm.fit(self.path.isa(), &map, z, &mut scratch.norm);
        scratch.maps.put_any(x);
        let colours = |of: &[f32]| [of[0], of[1], of[2]];
        let (scale, shift) = (colours(&scratch.norm.scale), colours(&scratch.norm.shift));
        Stylized { map, scale, shift, end: Squash::Sigmoid }
    }

    /// Computes `relu(norm(conv(x)))` with a norm without parameters, in a map with room for this padding.
    fn run_normed(&self, conv: &Conv, x: Input, pad: Pad, scratch: &mut LayerScratch) -> FeatureMap {
        let raw = run_conv(conv, x, Pad::NONE, scratch);
        fit_plain(self.path.isa(), &raw, &mut scratch.norm);
        let out = scratch.maps.take(raw.height(), raw.width(), raw.channels(), pad);
        let mut out = AnyMap::Floats(out);
        affine_relu(self.path.isa(), &raw, &mut scratch.norm, Grid::Map, &mut out);
        scratch.maps.put(raw);
        match out {
            AnyMap::Floats(out) => out,
            AnyMap::Bytes(_) => unreachable!("it was allocated as float32"),
        }
    }

    /// Computes `relu(norm(conv(x)))` with its padding filled, for the next layer.
    fn styled(
        &self,
        site: &Site,
        x: Input,
        z: &[f32],
        ((pad, border), follower): ((Pad, Border), &Convolution),
        scratch: &mut LayerScratch,
    ) -> AnyMap {
        let raw = site.convolution.run(x, scratch);
        site.norm.fit(self.path.isa(), &raw, z, &mut scratch.norm);
        let (height, width, channels) = (raw.height(), raw.width(), raw.channels());
        let mut out = match follower.wants_floats((height, width)) {
            true => AnyMap::Floats(scratch.maps.take(height, width, channels, pad)),
            false => scratch.maps.take_any(self.path, height, width, channels, pad),
        };
        affine_relu(self.path.isa(), &raw, &mut scratch.norm, follower.grid(), &mut out);
        out.fill_border(border);
        scratch.maps.put(raw);
        out
    }
}
