//! T: image and z to stylized image (Ghiasi et al. 2017, arXiv 1705.06830; Magenta's `nza_model`).
//!
//! contract: convolution, ReLU -> residual: `x + norm(conv(relu(norm(conv(x)))))` -> expand: nearest x2, convolution, norm,
//! ReLU -> head: convolution to three colours, norm, sigmoid. Every norm takes its gamma and beta from z. The output is
//! `2^n ceil(size / 2^n)` pixels for a network that halves n times; the caller crops.
use super::layers::{Convolution, StyleNorm, padded, run_conv};
use crate::error::Result;
use crate::kernels::conv::{Activation, Conv, Shape, pixel_shuffle_weight};
use crate::kernels::instance_norm::{Then, affine};
use crate::kernels::interpolate::Last;
use crate::kernels::{Border, Isa, Map, Pad, Scratch};
use crate::weights::{Model, network};

/// T with its weights.
#[derive(Clone, Debug)]
pub struct Transformer {
    isa: Isa,
    contract: Vec<Conv>,
    residual: Vec<[Site; 2]>,
    expand: Vec<Site>,
    head: Site,
    skip: bool,
    /// The padding that contract's layers, the residual blocks, expand's layers and the head want, in this order.
    pads: Vec<(Pad, Border)>,
}

/// A convolution with its norm.
#[derive(Clone, Debug)]
struct Site {
    convolution: Convolution,
    norm: StyleNorm,
}

/// T's last map and the norm that its sigmoid still lacks.
#[derive(Debug)]
pub struct Stylized {
    map: Map,
    scale: [f32; 3],
    shift: [f32; 3],
}

impl Stylized {
    /// What [`crate::kernels::interpolate::interpolate`] reads.
    pub fn last(&self) -> Last<'_> {
        Last { map: &self.map, scale: self.scale, shift: self.shift }
    }

    /// Gives the memory back.
    pub fn recycle(self, scratch: &mut Scratch) {
        scratch.put(self.map);
    }
}

impl Transformer {
    /// T of this model for one path through the kernels.
    ///
    /// # Errors
    /// A tensor is missing.
    pub fn new(model: &Model, isa: Isa) -> Result<Self> {
        let network::Transformer { contract, residual, expand, head, .. } = &model.network.transformer;
        let mut channels = 3;
        let mut pads = vec![];
        let reflect = |kernel: usize| (Pad::all(kernel / 2), Border::Reflect);
        let edge = |kernel: usize| (Shape::upsample_pad(kernel), Border::Edge);
        let shape = |inputs, outputs, kernel, upsample| Shape {
            inputs,
            outputs,
            kernel,
            stride: 1,
            upsample,
            activation: Activation::None,
        };
        let site = |name: &str, shape: Shape, separable| -> Result<Site> {
            Ok(Site {
                convolution: Convolution::new(model, isa, name, shape, separable)?,
                norm: StyleNorm::new(model, name)?,
            })
        };

        let mut contracts = vec![];
        for (i, layer) in contract.iter().enumerate() {
            let name = format!("transformer.contract.{i}");
            let shape = Shape {
                stride: layer.stride,
                activation: Activation::Relu,
                ..shape(channels, layer.channels, layer.kernel, false)
            };
            let (weight, bias) = (model.tensor(&format!("{name}.weight"))?, model.tensor(&format!("{name}.bias"))?);
            contracts.push(Conv::new(isa, shape, &weight.data, Some(&bias.data)));
            pads.push(reflect(layer.kernel));
            channels = layer.channels;
        }

        let mut blocks = vec![];
        for i in 0..residual.blocks {
            let conv = |n: usize| {
                let name = format!("transformer.residual.{i}.conv{n}");
                site(&name, shape(channels, channels, 3, false), residual.separable)
            };
            blocks.push([conv(1)?, conv(2)?]);
        }
        pads.push(reflect(3));

        let mut expands = vec![];
        for (i, layer) in expand.iter().enumerate() {
            let shape = shape(channels, layer.channels, layer.kernel, true);
            expands.push(site(&format!("transformer.expand.{i}"), shape, layer.separable)?);
            pads.push(edge(layer.kernel));
            channels = layer.channels;
        }

        pads.push(if head.upsample { edge(head.kernel) } else { reflect(head.kernel) });
        let name = "transformer.head";
        let head_site = if head.separable {
            site(name, shape(channels, 3, head.kernel, head.upsample), true)?
        } else {
            let weight = &model.tensor(&format!("{name}.weight"))?.data;
            let skip = match head.skip {
                true => Some(model.tensor(&format!("{name}.skip.weight"))?.data.as_slice()),
                false => None,
            };
            let (shape, weight) = if head.upsample {
                let (kernel, weight) = pixel_shuffle_weight(3, channels, head.kernel, weight, skip);
                (shape(channels + if head.skip { 12 } else { 0 }, 12, kernel, false), weight)
            } else {
                let weight = match skip {
                    Some(skip) => stack_inputs(weight, skip),
                    None => weight.clone(),
                };
                (shape(channels + if head.skip { 3 } else { 0 }, 3, head.kernel, false), weight)
            };
            Site {
                convolution: Convolution::Dense(Conv::new(isa, shape, &weight, None)),
                norm: StyleNorm::new(model, name)?,
            }
        };
        Ok(Self { isa, contract: contracts, residual: blocks, expand: expands, head: head_site, skip: head.skip, pads })
    }

    /// The padding with which T wants its image, filled with [`Border::Reflect`].
    pub fn image_pad(&self) -> Pad {
        self.pads[0].0
    }

    /// Runs T up to the norm of its last layer. `image` is of three channels in [0, 1], padded as [`Transformer::image_pad`]
    /// says.
    pub fn run(&self, image: &Map, z: &[f32], scratch: &mut Scratch) -> Stylized {
        let mut pads = self.pads.iter().copied();
        let mut next = || pads.next().unwrap_or((Pad::NONE, Border::Zero));
        let mut input = next();
        let mut x = None;
        for conv in &self.contract {
            let from = x.as_ref().unwrap_or(image);
            let after = next();
            let mut out = run_conv(conv, from, after.0, scratch);
            out.fill_border(after.1);
            if let Some(done) = x.replace(out) {
                scratch.put(done);
            }
            input = after;
        }
        // A network has a contracting layer; its description is checked.
        let mut x = x.unwrap_or_else(|| image.clone());

        for [first, second] in &self.residual {
            let h = self.styled(first, &x, z, input.0, scratch);
            let h = padded(h, input, scratch);
            let raw = second.convolution.run(&h, scratch);
            let norm = second.norm.affine(self.isa, &raw, z);
            affine(self.isa, &raw, &norm.scale, &norm.shift, Then::Add, &mut x);
            x.fill_border(input.1);
            scratch.put(h);
            scratch.put(raw);
        }

        for site in &self.expand {
            let after = next();
            x = padded(x, after, scratch);
            let out = self.styled(site, &x, z, after.0, scratch);
            scratch.put(std::mem::replace(&mut x, out));
        }

        x = padded(x, next(), scratch);
        if self.skip {
            let cells = stacked(&x, image, scratch);
            scratch.put(std::mem::replace(&mut x, cells));
        }
        let map = self.head.convolution.run(&x, scratch);
        let norm = self.head.norm.affine(self.isa, &map, z);
        scratch.put(x);
        let colours = |of: &[f32]| [of[0], of[1], of[2]];
        Stylized { map, scale: colours(&norm.scale), shift: colours(&norm.shift) }
    }

    /// `relu(norm(conv(x)))` with room for padding.
    fn styled(&self, site: &Site, x: &Map, z: &[f32], pad: Pad, scratch: &mut Scratch) -> Map {
        let raw = site.convolution.run(x, scratch);
        let norm = site.norm.affine(self.isa, &raw, z);
        let mut out = scratch.take(raw.height(), raw.width(), raw.channels(), pad);
        affine(self.isa, &raw, &norm.scale, &norm.shift, Then::Relu, &mut out);
        scratch.put(raw);
        out
    }
}

/// The channels of `x` and, after them, those of the image under each of its pixels, `[row][column][rgb]`; the image is
/// continued by reflection where `x`, with its padding, reaches beyond it.
fn stacked(x: &Map, image: &Map, scratch: &mut Scratch) -> Map {
    let scale = image.width().div_ceil(x.width());
    let (pad, c) = (x.pad(), x.channels());
    let mut out = scratch.take(x.height(), x.width(), c + 3 * scale * scale, pad);
    let (to, from, row) = (out.channels(), x.stride(), out.stride());
    let reflected = |i: usize, pad: usize, sub: usize, n: usize| {
        let at = (i * scale + sub) as isize - (pad * scale) as isize;
        Border::Reflect.index(at, n).unwrap_or_default()
    };
    let rows = pad.top + x.height() + pad.bottom;
    let columns = pad.left + x.width() + pad.right;
    for y in 0..rows {
        let out = &mut out.as_mut_slice()[y * row..(y + 1) * row];
        for (pixel, x) in out.chunks_exact_mut(to).zip(x.as_slice()[y * from..(y + 1) * from].chunks_exact(c)) {
            pixel[..c].copy_from_slice(x);
        }
        for sub in 0..scale * scale {
            let colours = image.row(reflected(y, pad.top, sub / scale, image.height()));
            let inside = pad.left..pad.left + image.width() / scale;
            for x in 0..columns {
                let column = match inside.contains(&x) {
                    true => (x - pad.left) * scale + sub % scale,
                    false => reflected(x, pad.left, sub % scale, image.width()),
                };
                out[x * to + c + 3 * sub..][..3].copy_from_slice(&colours[3 * column..][..3]);
            }
        }
    }
    out
}

/// Two `[3, inputs, kernel, kernel]` weights, one after the other along the inputs.
fn stack_inputs(one: &[f32], other: &[f32]) -> Vec<f32> {
    let rows = one.chunks_exact(one.len() / 3).zip(other.chunks_exact(other.len() / 3));
    rows.flat_map(|(one, other)| one.iter().chain(other)).copied().collect()
}
