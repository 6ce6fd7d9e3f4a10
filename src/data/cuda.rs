//! Two views of each image of a batch, on CUDA: the same draws as on the CPU, and the same arithmetic, a batch at a time.
use super::views::{Position, Styling, TwoViews, View, ViewParams, ViewsParams};
use crate::error::{Error, Result};
use crate::image::{BlurKernel, Crop, Factor, Normalize, rotation_axes, taps};
use crate::kernels::color::cuda::{Chain, Factor as Step, jitter};
use crate::kernels::cuda::{At, Number, Plan};
use crate::kernels::gaussian_blur::cuda::{box_blur, gaussian_blur};
use crate::kernels::interpolate::cuda::{Images, PixelType};
use crate::kernels::planes::cuda::{Finish, finish, turn};
use crate::kernels::resample::cuda::resample;
use crate::style::StyleParams;
use crate::style::cuda::{From, Stylizer};

/// Numbers of a plane, at most: what a kernel counts.
const MOST: usize = 1 << 30;

/// Images of a launch: a grid's third axis.
const LARGEST_BATCH: usize = 65_535;

impl TwoViews {
    /// Both views of a batch of bytes into `out`, a place for each; `style` is where styles come from, if there are any.
    ///
    /// # Errors
    /// Images that are no bytes or too large, parameters that do not fit them, styles of the batch for another view than the left.
    pub fn plan(
        &self,
        images: &Images,
        params: &[ViewsParams],
        out: [&Images; 2],
        style: Option<(&Stylizer, From)>,
    ) -> Result<Plan> {
        let (height, width) = self.size();
        if params.len() > LARGEST_BATCH {
            let remedy = format!("at most {LARGEST_BATCH} a batch on a GPU; give them in parts");
            return Err(Error::value("images", params.len(), remedy));
        }
        if images.pixels != PixelType::U8 {
            return Err(Error::value("dtype", format!("{:?}", images.pixels), "views are made of uint8 images"));
        }
        if (images.height * width).max(height * images.width).max(images.height * images.width) > MOST {
            let got = format!("{}x{}", images.height, images.width);
            return Err(Error::shape("images", "smaller ones for a GPU", got));
        }
        let mut plan = Plan::new(Number::F16);
        let views = plan.room.bytes(params.len() * 3 * height * width);
        for (which, out) in out.into_iter().enumerate() {
            let own: Vec<&ViewParams> = params.iter().map(|params| &params[which]).collect();
            let styles = match (self.styling(), style) {
                (Some(styling), Some(style)) if styling.styled[which] => {
                    if style.1 == From::Batch && which == 1 {
                        let remedy = "on a GPU the left view alone has styles of the batch; give a bank";
                        return Err(Error::value("styled_view", "of the right view", remedy));
                    }
                    Some((styling, style, drawn(&own)?))
                }
                _ => None,
            };
            self.push_crop(which, images, &own, views, styles.as_ref(), &mut plan)?;
            self.view(which).push_finish(&own, views, (height, width), out, self.output().normalize(), &mut plan);
        }
        Ok(plan)
    }

    /// Crop and style, in either order, into `views`.
    fn push_crop(
        &self,
        which: usize,
        images: &Images,
        params: &[&ViewParams],
        views: At,
        styles: Option<&(&Styling, (&Stylizer, From), Vec<StyleParams>)>,
        plan: &mut Plan,
    ) -> Result<()> {
        let (size, interpolation) = (self.size(), self.view(which).interpolation);
        let crops = params.iter().map(|params| part(params.crop, images)).collect::<Result<Vec<_>>>()?;
        let planar = |at: At, (height, width): (usize, usize)| {
            let (h, w) = (height as i64, width as i64);
            Images { at, pixels: PixelType::U8, strides: [3 * h * w, w, 1, h * w], height, width }
        };
        let Some((styling, (stylizer, from), params)) = styles else {
            resample(images, &crops, interpolation, views, size, plan);
            return Ok(());
        };
        match styling.position {
            Position::AfterCrop => {
                resample(images, &crops, interpolation, views, size, plan);
                let views = planar(views, size);
                stylizer.push(&views, params, *from, &views, plan)?;
            }
            Position::BeforeCrop => {
                let whole = (images.height, images.width);
                let styled = planar(plan.room.bytes(params.len() * 3 * whole.0 * whole.1), whole);
                stylizer.push(images, params, *from, &styled, plan)?;
                resample(&styled, &crops, interpolation, views, size, plan);
                plan.room.give(styled.at);
            }
        }
        Ok(())
    }
}

impl View {
    /// All that comes after the crop and the style.
    fn push_finish(
        &self,
        params: &[&ViewParams],
        views: At,
        size: (usize, usize),
        out: &Images,
        normalize: Normalize,
        plan: &mut Plan,
    ) {
        let each = |of: &dyn Fn(&ViewParams) -> bool| -> Vec<usize> {
            params.iter().enumerate().filter(|(_, params)| of(params)).map(|(i, _)| i).collect()
        };
        let turned = each(&|params| params.rotation.is_some());
        let angle = |i: &usize| f64::from(params[*i].rotation.unwrap_or(0.0));
        let turns: Vec<_> = turned.iter().map(|i| (*i, rotation_axes(angle(i), size.0, size.1))).collect();
        turn(views, size, &turns, plan);
        let coloured = each(&|params| params.jitter.is_some() || params.grayscale);
        let chains: Vec<_> = coloured.into_iter().map(|i| (i, chain(params[i]))).collect();
        jitter(views, size.0 * size.1, &chains, plan);
        let sigmas: Vec<_> = params.iter().enumerate().filter_map(|(i, params)| Some((i, params.sigma?))).collect();
        match self.blur.kernel() {
            BlurKernel::Taps(n) => {
                let halves: Vec<_> = sigmas.into_iter().map(|(i, sigma)| (i, taps(n, sigma))).collect();
                gaussian_blur(views, size, n / 2 + 1, &halves, plan);
            }
            BlurKernel::Boxes => box_blur(views, size, &sigmas, plan),
        }
        let last = |params: &&ViewParams| Finish {
            solarize: params.solarize.then_some(self.solarize.threshold),
            flip: params.flip,
        };
        let finishes: Vec<_> = params.iter().map(last).collect();
        finish(views, out, &finishes, (normalize.mean, normalize.std), plan);
    }
}

/// Each image's style; one that has none is not to be stylized.
fn drawn(params: &[&ViewParams]) -> Result<Vec<StyleParams>> {
    let missing = || Error::value("params.style", "None", "this view is stylized; draw its parameters with its recipe");
    params.iter().map(|params| params.style.clone().ok_or_else(missing)).collect()
}

fn part(crop: Crop, images: &Images) -> Result<[usize; 4]> {
    let Crop { top, left, height, width } = crop;
    let fits = |from: usize, n: usize, all: usize| n > 0 && from.checked_add(n).is_some_and(|end| end <= all);
    if !fits(top, height, images.height) || !fits(left, width, images.width) {
        let remedy = format!("a part of images of {}x{}", images.height, images.width);
        return Err(Error::value("crop", format!("{height}x{width} at ({top}, {left})"), remedy));
    }
    Ok([top, left, height, width])
}

/// What is known of a view's colours, as the kernel takes it.
fn chain(params: &ViewParams) -> Chain {
    let mut chain = Chain { gray: params.grayscale, ..Chain::default() };
    for (step, factor) in chain.factors.iter_mut().zip(params.jitter.iter().flatten()) {
        let (kind, by) = match *factor {
            Factor::Brightness(by) => (1, by),
            Factor::Contrast(by) => (2, by),
            Factor::Saturation(by) => (3, by),
            Factor::Hue(by) => (4, by),
            Factor::Shift(by) => (5, by),
            Factor::ColorContrast(by) => (6, by),
            Factor::HsvSaturation(by) => (7, by),
        };
        if !factor.is_none() {
            *step = Step { kind, by };
        }
    }
    chain
}
