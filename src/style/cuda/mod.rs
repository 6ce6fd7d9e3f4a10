//! Algorithm 1 on CUDA: a batch is lowered to a [`Plan`], a sequence of kernel launches.
//!
//! Kernels read the images to be stylized directly from the batch, without gathering them first. Each result is written to the
//! image's position in the output. The images are processed in parts, to bound the size of the workspace.
mod adain;
mod chosen;
mod inception_v3;
mod layers;
mod predictor;
mod transformer;

use super::{MIN_SIZE, StyleParams};
use crate::error::{Error, Result};
use crate::kernels::cuda::{At, DeviceImages, IMAGES, Number, Plan, Space, Weights};
use crate::kernels::inference::pixel_interpolation::cuda::{Last, copy, interpolate};
use crate::weights::Model;
use adain::Adain;
use chosen::Chosen;
use predictor::Predictor;
use transformer::Transformer;

/// The style predictor F and the transformer T of a model, as CUDA kernels.
#[derive(Clone, Debug)]
pub struct DeviceStylizer {
    number: Number,
    networks: Networks,
    weights: Weights,
    /// The smallest height and width that F accepts.
    smallest: usize,
}

/// F and T.
#[derive(Clone, Debug)]
enum Networks {
    /// F and T are separate networks; T has conditional instance norms.
    Conditional(Box<(Predictor, Transformer)>),
    /// F and T share an encoder.
    Adain(Adain),
}

/// The source of the styles of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StyleSource {
    /// A bank of this many vectors, at [`Space::Styles`].
    Bank(usize),
    /// The batch's own images.
    Batch,
}

/// Maximum size in bytes of the workspace for a part of the batch; only a part that consists of a single image may exceed it.
/// The limit is large, so that there are few launches with many blocks each, even for small maps.
const PART: usize = 512 << 20;

impl DeviceStylizer {
    /// Converts the weights for the kernels. With `exact`, everything is computed in float32.
    ///
    /// # Errors
    /// A tensor is missing.
    pub fn new(model: &Model, exact: bool) -> Result<Self> {
        let number = if exact { Number::F32 } else { Number::F16 };
        let mut weights = Weights::default();
        let networks = match Adain::new(model, number, &mut weights)? {
            Some(adain) => Networks::Adain(adain),
            None => {
                let predictor = Predictor::new(model, number, &mut weights)?;
                Networks::Conditional(Box::new((predictor, Transformer::new(model, number, &mut weights)?)))
            }
        };
        let smallest = MIN_SIZE.max(model.network.predictor.smallest());
        Ok(Self { number, networks, weights, smallest })
    }

    /// Returns the bytes to be copied to [`Space::Weights`].
    pub fn weights(&self) -> &[u8] {
        &self.weights.bytes
    }

    /// Returns the length of a style vector z.
    pub fn dim(&self) -> usize {
        match &self.networks {
            Networks::Conditional(networks) => networks.0.dim(),
            Networks::Adain(adain) => adain.dim(),
        }
    }

    /// Plans the computation of the style vectors of `count` images, written to [`Space::Out`] as `[count][dim]` float32.
    ///
    /// # Errors
    /// Images are too small for F or exceed the limits of the kernels.
    pub fn encode(&self, images: &DeviceImages, count: usize) -> Result<Plan> {
        self.check(images, count)?;
        let mut plan = Plan::new(self.number);
        let all: Vec<u32> = (0..count as u32).collect();
        let rows = plan.put(&all);
        self.run_predictor(images, (rows, count), Space::Out.into(), &mut plan);
        Ok(plan.finish())
    }

    /// Plans Algorithm 1 for a batch of `params.len()` images. Images that are not to be stylized are copied unchanged.
    ///
    /// # Errors
    /// Images are too small for F or exceed the limits of the kernels; the index of a style is out of range; a style vector has
    /// the wrong length; or the styles mix indices and vectors.
    pub fn apply(
        &self,
        images: &DeviceImages,
        params: &[StyleParams],
        from: StyleSource,
        out: &DeviceImages,
    ) -> Result<Plan> {
        let mut plan = Plan::new(self.number);
        self.push(images, params, from, out, &mut plan)?;
        Ok(plan.finish())
    }

    /// Appends the launches of [`DeviceStylizer::apply`] to a plan. If `out` and `images` share their memory, images that are
    /// not stylized need no copy.
    ///
    /// # Errors
    /// The same as in [`DeviceStylizer::apply`].
    pub fn push(
        &self,
        images: &DeviceImages,
        params: &[StyleParams],
        from: StyleSource,
        out: &DeviceImages,
        plan: &mut Plan,
    ) -> Result<()> {
        self.check(images, params.len())?;
        plan.number = self.number;
        let (chosen, others): (Vec<_>, Vec<_>) = (0..params.len()).partition(|&i| params[i].apply);
        if !chosen.is_empty() {
            let encode = |plan: &mut Plan| {
                let all = plan.put(&(0..params.len() as u32).collect::<Vec<_>>());
                self.contents(images, (all, params.len()), plan)
            };
            let chosen = Chosen::new(params, &chosen, from, self.dim(), encode, plan)?;
            match &self.networks {
                Networks::Conditional(networks) => self.run_conditional(&networks.1, images, &chosen, out, plan),
                Networks::Adain(adain) => self.run_adain(adain, images, &chosen, out, plan),
            }
        }
        if images.at != out.at && !others.is_empty() {
            let rows = plan.put(&others.iter().map(|&i| i as u32).collect::<Vec<_>>());
            for first in (0..others.len()).step_by(IMAGES) {
                plan.launches.push(copy(rows.plus(first), IMAGES.min(others.len() - first), images, out));
            }
        }
        Ok(())
    }

    /// Plans the style vectors of `count` images, in new memory. `rows` holds the indices of the images.
    fn contents(&self, images: &DeviceImages, (rows, count): (At, usize), plan: &mut Plan) -> At {
        let z = plan.room.take(count * self.dim());
        self.run_predictor(images, (rows, count), z, plan);
        z
    }

    fn run_predictor(&self, images: &DeviceImages, (rows, count): (At, usize), z: At, plan: &mut Plan) {
        let run = |rows, count, z, plan: &mut Plan| match &self.networks {
            Networks::Conditional(networks) => networks.0.run(images, rows, count, z, plan),
            Networks::Adain(adain) => adain.z(images, rows, count, z, plan),
        };
        let part = self.part(|plan| run(rows, 1, z, plan));
        for first in (0..count).step_by(part) {
            run(rows.plus(first), part.min(count - first), z.plus(first * self.dim()), plan);
        }
    }

    /// Plans the style predictor F for all chosen images, then the transformer T.
    fn run_conditional(
        &self,
        transformer: &Transformer,
        images: &DeviceImages,
        chosen: &Chosen,
        out: &DeviceImages,
        plan: &mut Plan,
    ) {
        let encode = |plan: &mut Plan| self.contents(images, (chosen.rows, chosen.count), plan);
        let z = chosen.blended(self.dim(), encode, plan);
        let run = |chosen: &Chosen, z: At, plan: &mut Plan| {
            let last = transformer.run(images, chosen.rows, chosen.count, z, plan);
            finish(&last, images, chosen, out, plan);
        };
        let part = self.part(|plan| run(&chosen.part(0, 1), z, plan));
        for first in (0..chosen.count).step_by(part) {
            run(&chosen.part(first, part), z.plus(first * self.dim()), plan);
        }
    }

    /// Plans F and T for one part of the images at a time. If possible, an image is encoded once for both networks.
    fn run_adain(&self, adain: &Adain, images: &DeviceImages, chosen: &Chosen, out: &DeviceImages, plan: &mut Plan) {
        let run = |chosen: &Chosen, plan: &mut Plan| {
            let encoded = adain.encode(images, (chosen.rows, chosen.count), chosen.content.is_none(), plan);
            let z = chosen.blended(self.dim(), |_| encoded.z, plan);
            let last = adain.decode(encoded, z, plan);
            plan.room.give(z);
            finish(&last, images, chosen, out, plan);
        };
        let part = self.part(|plan| run(&chosen.part(0, 1), plan));
        for first in (0..chosen.count).step_by(part) {
            run(&chosen.part(first, part), plan);
        }
    }

    /// Returns the number of images per part, computed from the workspace for one image. `one` plans this image.
    fn part(&self, one: impl FnOnce(&mut Plan)) -> usize {
        let mut plan = Plan::new(self.number);
        one(&mut plan);
        (PART / plan.workspace().max(1)).clamp(1, IMAGES)
    }

    /// Checks that the images are large enough for F, and that the size and the number of images are within the limits of `int`
    /// and of a launch grid.
    fn check(&self, images: &DeviceImages, count: usize) -> Result<()> {
        let (height, width) = (images.height, images.width);
        if height.min(width) < self.smallest {
            let requirement = format!("must be at least {0}x{0}", self.smallest);
            return Err(Error::shape("images", requirement, format!("{height}x{width}")));
        }
        if height.saturating_mul(width) > 1 << 28 || count > i32::MAX as usize {
            let requirement = "must have at most 2^28 pixels each and number at most 2^31 - 1 on a GPU";
            return Err(Error::shape("images", requirement, format!("{count} of {height}x{width}")));
        }
        Ok(())
    }
}

/// Plans the conversion of T's last map to the output, and frees the memory of the map.
fn finish(last: &Last, images: &DeviceImages, chosen: &Chosen, out: &DeviceImages, plan: &mut Plan) {
    plan.launches.push(interpolate(plan.number, last, chosen.beta, chosen.rows, images, out));
    if let Some(norm) = last.norm {
        layers::forget(norm, plan);
    }
    plan.room.give(last.map.at);
}
