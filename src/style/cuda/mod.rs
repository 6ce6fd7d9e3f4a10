//! Algorithm 1 on CUDA: a batch becomes a [`Plan`], the launches that compute it one after the other.
//!
//! Images that were drawn are read where they lie, computed a part of the batch at a time, so that the workspace is bounded, and
//! written to their place in the output.
mod inception_v3;
mod layers;
mod predictor;
mod transformer;

use super::{Drawn, StyleParams};
use crate::error::{Error, Result};
use crate::kernels::cuda::{At, DeviceImages, IMAGES, Number, Plan, Row, Space, Weights, blend};
use crate::kernels::inference::pixel_interpolation::cuda::{copy, interpolate};
use crate::weights::Model;
use predictor::Predictor;
use transformer::Transformer;

/// F and T of a model, as kernels for CUDA.
#[derive(Clone, Debug)]
pub struct DeviceStylizer {
    number: Number,
    predictor: Predictor,
    transformer: Transformer,
    weights: Weights,
}

/// Where the styles of a batch come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StyleSource {
    /// Vectors at [`Space::Styles`], so many of them.
    Bank(usize),
    /// The batch's own images.
    Batch,
}

/// Bytes that the maps of a part of the batch may take, if it is of more than one image: a large part has few launches, each of
/// many blocks, even where maps are small.
const PART: usize = 512 << 20;

impl DeviceStylizer {
    /// The kernels' weights; `exact` is float32 throughout.
    ///
    /// # Errors
    /// A tensor is missing.
    pub fn new(model: &Model, exact: bool) -> Result<Self> {
        let number = if exact { Number::F32 } else { Number::F16 };
        let mut weights = Weights::default();
        let predictor = Predictor::new(model, number, &mut weights)?;
        let transformer = Transformer::new(model, number, &mut weights)?;
        Ok(Self { number, predictor, transformer, weights })
    }

    /// What has to lie at [`Space::Weights`].
    pub fn weights(&self) -> &[u8] {
        &self.weights.bytes
    }

    /// Length of z.
    pub fn dim(&self) -> usize {
        self.predictor.dim()
    }

    /// F of `count` images into [`Space::Out`], `[count][dim]` float32.
    ///
    /// # Errors
    /// Images beyond what a kernel counts.
    pub fn encode(&self, images: &DeviceImages, count: usize) -> Result<Plan> {
        check(images, count)?;
        let mut plan = Plan::new(self.number);
        let all: Vec<u32> = (0..count as u32).collect();
        let rows = plan.put(&all);
        self.run_predictor(images, rows, count, Space::Out.into(), &mut plan);
        Ok(plan.finish())
    }

    /// Algorithm 1 on a batch of `params.len()` images; those that were not drawn are copied.
    ///
    /// # Errors
    /// Images beyond what a kernel counts; a style that is not there.
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

    /// [`DeviceStylizer::apply`] as a part of a plan. Where `out` is `images`, nothing is copied.
    ///
    /// # Errors
    /// The same.
    pub fn push(
        &self,
        images: &DeviceImages,
        params: &[StyleParams],
        from: StyleSource,
        out: &DeviceImages,
        plan: &mut Plan,
    ) -> Result<()> {
        check(images, params.len())?;
        plan.number = self.number;
        let (chosen, others): (Vec<_>, Vec<_>) = (0..params.len()).partition(|&i| params[i].apply);
        let rows = plan.put(&chosen.iter().map(|&i| i as u32).collect::<Vec<_>>());
        let m = chosen.len();
        if m > 0 {
            let z = self.blended(images, params, &chosen, rows, from, plan)?;
            let beta: Vec<u32> = chosen.iter().map(|&i| params[i].beta.to_bits()).collect();
            let beta = plan.put(&beta);
            let part = self.part(images, |stylizer, images, plan| {
                stylizer.run_transformer(images, (rows, beta, z), 1, out, plan);
            });
            for first in (0..m).step_by(part) {
                let of = (rows.plus(first), beta.plus(first), z.plus(first * self.dim()));
                self.run_transformer(images, of, part.min(m - first), out, plan);
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

    /// The z of each chosen image, `[m][dim]`.
    fn blended(
        &self,
        images: &DeviceImages,
        params: &[StyleParams],
        chosen: &[usize],
        rows: At,
        from: StyleSource,
        plan: &mut Plan,
    ) -> Result<At> {
        let (dim, m) = (self.dim(), chosen.len());
        let count = |n: usize| (0..n as u32).collect::<Vec<_>>();
        let mut given: Vec<u32> = vec![];
        let styles: Vec<u32> = chosen
            .iter()
            .map(|&i| match (&params[i].style, from) {
                (Drawn::Vector(z), _) if z.len() == dim => {
                    given.extend(z.iter().map(|x| x.to_bits()));
                    Ok((given.len() / dim - 1) as u32)
                }
                (Drawn::Vector(z), _) => {
                    Err(Error::shape(format!("style[{i}]"), format!("a vector of {dim}"), z.len()))
                }
                (&Drawn::Index(index), StyleSource::Bank(n)) if index < n => Ok(index as u32),
                (&Drawn::Index(index), StyleSource::Batch) if index < params.len() => Ok(index as u32),
                (&Drawn::Index(index), from) => {
                    let n = if let StyleSource::Bank(n) = from { n } else { params.len() };
                    Err(Error::value(format!("style[{i}]"), index, format!("there are {n}, counted from 0")))
                }
            })
            .collect::<Result<_>>()?;
        if !given.is_empty() && given.len() != m * dim {
            return Err(Error::value("style", "a mixture", "all of them indices, or all of them vectors"));
        }
        let of_batch = from == StyleSource::Batch && given.is_empty();
        let encoded = if of_batch { params.len() } else { m };
        let contents = plan.room.take(encoded * dim);
        let content = if of_batch {
            let all = plan.put(&count(encoded));
            self.run_predictor(images, all, encoded, contents, plan);
            Row { vectors: contents, of: rows }
        } else {
            self.run_predictor(images, rows, encoded, contents, plan);
            Row { vectors: contents, of: plan.put(&count(m)) }
        };
        let vectors = match (given.is_empty(), of_batch) {
            (false, _) => plan.put(&given),
            (true, true) => contents,
            (true, false) => Space::Styles.into(),
        };
        let style = Row { vectors, of: plan.put(&styles) };
        let alpha: Vec<u32> = chosen.iter().map(|&i| params[i].alpha.to_bits()).collect();
        let (alpha, z) = (plan.put(&alpha), plan.room.take(m * dim));
        for first in (0..m).step_by(IMAGES) {
            let from = |row: Row| Row { of: row.of.plus(first), ..row };
            let to = z.plus(first * dim);
            plan.launches.push(blend(from(content), from(style), alpha.plus(first), to, dim, IMAGES.min(m - first)));
        }
        Ok(z)
    }

    fn run_predictor(&self, images: &DeviceImages, rows: At, count: usize, z: At, plan: &mut Plan) {
        let part = self.part(images, |stylizer, images, plan| {
            stylizer.predictor.run(images, rows, 1, z, plan);
        });
        for first in (0..count).step_by(part) {
            let (rows, z) = (rows.plus(first), z.plus(first * self.dim()));
            self.predictor.run(images, rows, part.min(count - first), z, plan);
        }
    }

    fn run_transformer(
        &self,
        images: &DeviceImages,
        (rows, beta, z): (At, At, At),
        count: usize,
        out: &DeviceImages,
        plan: &mut Plan,
    ) {
        let last = self.transformer.run(images, rows, count, z, plan);
        plan.launches.push(interpolate(plan.number, &last, beta, rows, images, out));
        layers::forget(last.norm, plan);
        plan.room.give(last.map.at);
    }

    /// How many images are computed at a time, by the memory that one takes.
    fn part(&self, images: &DeviceImages, one: impl Fn(&Self, &DeviceImages, &mut Plan)) -> usize {
        let mut plan = Plan::new(self.number);
        one(self, images, &mut plan);
        (PART / plan.workspace().max(1)).clamp(1, IMAGES)
    }
}

/// Whether `int`s count these images and a grid their pixels.
fn check(images: &DeviceImages, count: usize) -> Result<()> {
    let (height, width) = (images.height, images.width);
    if height < super::MIN_SIZE || width < super::MIN_SIZE {
        let remedy = format!("images from {0}x{0} up", super::MIN_SIZE);
        return Err(Error::shape("images", remedy, format!("{height}x{width}")));
    }
    if height.saturating_mul(width) > 1 << 28 || count > i32::MAX as usize {
        let remedy = "at most 2^28 pixels an image and 2^31 - 1 images on a GPU";
        return Err(Error::shape("images", remedy, format!("{count} of {height}x{width}")));
    }
    Ok(())
}
