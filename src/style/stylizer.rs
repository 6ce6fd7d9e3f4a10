//! The style predictor F and the transformer T of one model, applied to batches of images on several threads.
use super::adain::Adain;
use super::blend::blend;
use super::images::{Images, split};
use super::layers::LayerScratch;
use super::predictor::{Predictor, PredictorScratch};
use super::transformer::{Stylized, Transformer};
use crate::error::{Error, Result};
use crate::kernels::inference::feature_map::Border;
use crate::kernels::inference::pixel_interpolation::{InterpolationScratch, interpolate};
use crate::kernels::inference::pixels::{Pixels, PixelsMut};
use crate::kernels::isa::KernelPath;
use crate::kernels::threads::idle::{Idle, Reusable};
use crate::kernels::threads::pool;
use crate::memory;
use crate::weights::Model;

/// A style predictor F and a transformer T, ready to run. All methods are thread-safe.
#[derive(Debug)]
pub struct Stylizer {
    path: KernelPath,
    name: String,
    space: String,
    licence: String,
    provenance: String,
    networks: Networks,
    smallest: usize,
    idle: Idle<Workspace>,
}

/// F and T.
#[derive(Debug)]
enum Networks {
    /// F and T are separate networks; T has conditional instance norms.
    Conditional(Box<(Predictor, Transformer)>),
    /// F and T share an encoder.
    Adain(Adain),
}

/// The source of the z passed to T.
#[derive(Clone, Copy)]
enum Given<'a> {
    /// This vector, unchanged.
    Z(&'a [f32]),
    /// The content's z, blended with the z of a style. If `content` is `None`, F computes the content's z.
    Blended { content: Option<&'a [f32]>, style: &'a [f32], alpha: f32 },
}

/// Scratch memory of one thread for one image.
#[derive(Debug, Default)]
struct Workspace {
    z: Vec<f32>,
    predictor: PredictorScratch,
    interpolation: InterpolationScratch,
    layers: LayerScratch,
}

/// The inputs of Algorithm 1 other than the content.
#[derive(Clone, Copy, Debug)]
pub struct Style<'a> {
    /// z_s: one vector per image, or one for all images.
    pub z: &'a [f32],
    /// z_c, if already computed: one vector per image, or one for all images.
    pub z_content: Option<&'a [f32]>,
    /// The weight of feature blending.
    pub alpha: Strength<'a>,
    /// The weight of pixel interpolation.
    pub beta: Strength<'a>,
    /// For each image, true if it is to be stylized; other images are copied unchanged. `None` stylizes all images.
    pub apply: Option<&'a [bool]>,
}

/// alpha or beta of a batch: one value for all images, or one per image.
#[derive(Clone, Copy, Debug)]
pub enum Strength<'a> {
    /// The same value for all images.
    All(f32),
    /// One value per image.
    Each(&'a [f32]),
}

impl Stylizer {
    /// Creates F and T of a model for a kernel path.
    ///
    /// # Errors
    /// A tensor is missing.
    pub fn new(model: &Model, path: KernelPath) -> Result<Self> {
        Ok(Self {
            path,
            name: model.name.clone(),
            space: model.space.clone(),
            licence: model.licence.clone(),
            provenance: model.provenance.clone(),
            networks: match Adain::new(model, path)? {
                Some(adain) => Networks::Adain(adain),
                None => Networks::Conditional(Box::new((Predictor::new(model, path)?, Transformer::new(model, path)?))),
            },
            smallest: model.network.predictor.smallest(),
            idle: Idle::default(),
        })
    }

    /// Returns the model's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the id of the model's style space.
    pub fn space(&self) -> &str {
        &self.space
    }

    /// Returns the licence of the model's weights.
    pub fn licence(&self) -> &str {
        &self.licence
    }

    /// Returns the origin of the model's weights.
    pub fn provenance(&self) -> &str {
        &self.provenance
    }

    /// Returns the length of a style vector.
    pub fn dim(&self) -> usize {
        match &self.networks {
            Networks::Conditional(networks) => networks.0.dim(),
            Networks::Adain(adain) => adain.dim(),
        }
    }

    /// Computes F: one style vector per image, `[count, dim]`.
    ///
    /// # Errors
    /// Images are too small for F, or there is not enough memory.
    pub fn encode(&self, images: Images, threads: usize) -> Result<Vec<f32>> {
        self.check_size(images)?;
        let dim = self.dim();
        let mut out = memory::zeros("images", memory::count("images", &[images.count(), dim])?)?;
        let jobs = out.chunks_exact_mut(dim).enumerate().collect();
        self.for_each(jobs, threads, |(i, z), workspace| {
            let Workspace { predictor, layers, .. } = workspace;
            let (image, width) = (images.get(i), images.size().1);
            match &self.networks {
                Networks::Conditional(networks) => networks.0.run(image, width, z, predictor, layers),
                Networks::Adain(adain) => adain.z(image, width, z, layers),
            }
        })?;
        Ok(out)
    }

    /// Computes only T. `out` must have the shape of the images; `z` holds one vector per image, or one for all images.
    ///
    /// # Errors
    /// `z` or `out` has the wrong shape, or `z` is not finite. If F and T share an encoder, images may also be too small for F.
    pub fn transfer(&self, images: Images, z: &[f32], out: &mut [f32], threads: usize) -> Result<()> {
        if let Networks::Adain(_) = self.networks {
            self.check_size(images)?;
        }
        let z = self.vectors("z", z, images.count())?;
        let jobs = self.jobs(images, PixelsMut::F32(out))?;
        self.for_each(jobs, threads, |(i, out), workspace| {
            self.finish((images, i), Given::Z(z[i]), 1.0, out, workspace)
        })
    }

    /// Runs Algorithm 1. `out` must have the shape and dtype of the images.
    ///
    /// # Errors
    /// An argument has the wrong shape, images are too small for F, a style vector is not finite, or alpha or beta is outside
    /// [0, 1].
    pub fn stylize(&self, images: Images, style: &Style, out: PixelsMut, threads: usize) -> Result<()> {
        self.check_size(images)?;
        let n = images.count();
        let z_style = self.vectors("z_style", style.z, n)?;
        let z_content = style.z_content.map(|z| self.vectors("z_content", z, n)).transpose()?;
        style.alpha.check("alpha", n)?;
        style.beta.check("beta", n)?;
        if let Some(apply) = style.apply.filter(|apply| apply.len() != n) {
            return Err(Error::shape("apply", format!("must have length {n}, one for each image"), apply.len()));
        }
        let (chosen, others): (Vec<_>, Vec<_>) =
            self.jobs(images, out)?.into_iter().partition(|(i, _)| style.apply.is_none_or(|apply| apply[*i]));
        for (i, out) in others {
            images.get(i).copy(out);
        }
        self.for_each(chosen, threads, |(i, out), workspace| {
            let content = z_content.as_ref().map(|known| known[i]);
            let z = Given::Blended { content, style: z_style[i], alpha: style.alpha.of(i) };
            self.finish((images, i), z, style.beta.of(i), out, workspace);
        })
    }

    /// Computes `(1 - beta) content + beta T(content, z)` for image `i`.
    fn finish(&self, (images, i): (Images, usize), given: Given, beta: f32, out: PixelsMut, workspace: &mut Workspace) {
        let (content, (height, width)) = (images.get(i), images.size());
        let Workspace { z, predictor, interpolation, layers } = workspace;
        z.resize(self.dim(), 0.0);
        let stylized = match &self.networks {
            Networks::Conditional(networks) => {
                let (encoder, transformer) = &**networks;
                given.write(z, |z| encoder.run(content, width, z, predictor, layers));
                self.transform(transformer, content, (height, width), z, layers)
            }
            Networks::Adain(adain) => {
                let own = given.wants_content().then_some(&mut z[..]);
                let encoded = adain.encode(content, width, own, layers);
                given.write(z, |_| {});
                adain.decode(encoded, z, layers)
            }
        };
        interpolate(self.path.isa(), stylized.last(), beta, content, width, out, interpolation);
        stylized.recycle(layers);
    }

    /// Runs T with conditional instance norm.
    fn transform(
        &self,
        transformer: &Transformer,
        content: Pixels,
        (height, width): (usize, usize),
        z: &[f32],
        layers: &mut LayerScratch,
    ) -> Stylized {
        if content.is_flat() {
            return transformer.run_flat(height, width, z, layers);
        }
        let pad = transformer.image_pad(height, width);
        let mut image = layers.maps.take_any(self.path, height, width, 3, pad);
        content.unpack(self.path.isa(), &mut image);
        image.fill_border(Border::Reflect);
        let stylized = transformer.run(&image, z, layers);
        layers.maps.put_any(image);
        stylized
    }

    /// Refuses images that are too small for F.
    fn check_size(&self, images: Images) -> Result<()> {
        let (height, width) = images.size();
        if images.count() == 0 || height.min(width) >= self.smallest {
            return Ok(());
        }
        let requirement =
            format!("must be at least {0}x{0}, the smallest input of F of {1}; resize them", self.smallest, self.name);
        Err(Error::shape("images", requirement, format!("{height}x{width}")))
    }

    /// Returns one vector per image. `z` holds one vector per image, or one for all `n` images.
    fn vectors<'a>(&self, what: &str, z: &'a [f32], n: usize) -> Result<Vec<&'a [f32]>> {
        let dim = self.dim();
        if let Some(at) = z.iter().position(|x| !x.is_finite()) {
            let name = format!("{what}[{}][{}]", at / dim, at % dim);
            return Err(Error::value(name, z[at], "must be finite"));
        }
        match z.len() {
            len if len == n * dim => Ok(z.chunks_exact(dim).collect()),
            len if len == dim => Ok(vec![z; n]),
            len => {
                let requirement = format!("must have shape ({n}, {dim}), or ({dim},) for all images");
                Err(Error::shape(what, requirement, format!("{len} values")))
            }
        }
    }

    fn jobs<'a>(&self, images: Images, out: PixelsMut<'a>) -> Result<Vec<(usize, PixelsMut<'a>)>> {
        let parts = split(out, images.floats());
        if parts.len() != images.count() {
            return Err(Error::shape("out", format!("must have room for {} images", images.count()), parts.len()));
        }
        Ok(parts.into_iter().enumerate().collect())
    }

    /// Runs the jobs on several threads. Each job runs on a single thread, so that results do not depend on the number of
    /// threads.
    fn for_each<J: Send>(&self, jobs: Vec<J>, threads: usize, job: impl Fn(J, &mut Workspace) + Sync) -> Result<()> {
        let threads = threads.min(jobs.len());
        let own = || self.idle.take();
        memory::fallible(|| pool::each_with(threads, jobs.into_iter(), own, |workspace, next| job(next, workspace)))
    }
}

impl Given<'_> {
    /// Returns `true` if the content's z is needed and has yet to be computed.
    fn wants_content(self) -> bool {
        matches!(self, Self::Blended { content: None, .. })
    }

    /// Writes the vector for T to `z`. If the content's z is needed and not given, `encode` computes it.
    fn write(self, z: &mut [f32], encode: impl FnOnce(&mut [f32])) {
        match self {
            Self::Z(given) => z.copy_from_slice(given),
            Self::Blended { content, style, alpha } => {
                match content {
                    Some(known) => z.copy_from_slice(known),
                    None => encode(z),
                }
                blend(z, style, alpha);
            }
        }
    }
}

impl Reusable for Workspace {
    fn bytes(&self) -> usize {
        self.layers.bytes()
    }
}

impl Strength<'_> {
    fn of(self, i: usize) -> f32 {
        match self {
            Self::All(x) => x,
            Self::Each(all) => all[i],
        }
    }

    fn check(self, name: &str, n: usize) -> Result<()> {
        let all = match &self {
            Self::All(x) => std::slice::from_ref(x),
            Self::Each(all) if all.len() == n => all,
            Self::Each(all) => {
                return Err(Error::shape(name, format!("must be one value, or one for each of {n} images"), all.len()));
            }
        };
        match all.iter().position(|x| !(0.0..=1.0).contains(x)) {
            None => Ok(()),
            Some(at) => {
                let name = if let Self::All(_) = self { name.to_owned() } else { format!("{name}[{at}]") };
                Err(Error::value(name, all[at], "must be in [0, 1], from the content to the style"))
            }
        }
    }
}
