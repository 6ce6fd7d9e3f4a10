//! Two views of each image of a batch, on CUDA: the same draws as on the CPU, and the same arithmetic, a batch at a time.
use super::views::{Position, TwoViews, View, ViewParams, ViewsParams};
use crate::error::{Error, Result};
use crate::image::{BlurKernel, Crop, Factor, Normalize, half_of_taps, rotation_axes};
use crate::kernels::cuda::{At, DeviceImages, IMAGES, Number, PixelType, Plan};
use crate::kernels::image::color::cuda::{Chain, DeviceFactor, FactorKind, jitter};
use crate::kernels::image::finish::cuda::{Finish, finish};
use crate::kernels::image::gaussian_blur::cuda::{box_blur, gaussian_blur};
use crate::kernels::image::resample::cuda::resample;
use crate::kernels::image::rotation::cuda::turn;
use crate::style::StyleParams;
use crate::style::cuda::{DeviceStylizer, StyleSource};

/// Numbers of a plane, at most: what a kernel counts.
const MOST: usize = 1 << 30;

/// A view's style: what is stylized, by what, and the draws.
struct Styled<'a> {
    position: Position,
    stylizer: &'a DeviceStylizer,
    from: StyleSource,
    params: Vec<StyleParams>,
}

impl TwoViews {
    /// Both views of a batch of bytes into `out`, a place for each; `style` is where styles come from, if there are any.
    ///
    /// # Errors
    /// Images that are no bytes or too large, parameters that do not fit them, styles of the batch for another view than the left.
    pub fn plan(
        &self,
        images: &DeviceImages,
        params: &[ViewsParams],
        out: [&DeviceImages; 2],
        style: Option<(&DeviceStylizer, StyleSource)>,
    ) -> Result<Plan> {
        let (height, width) = self.size();
        if params.len() > IMAGES {
            let remedy = format!("at most {IMAGES} a batch on a GPU; give them in parts");
            return Err(Error::value("images", params.len(), remedy));
        }
        if images.pixels != PixelType::U8 {
            return Err(Error::value("dtype", format!("{:?}", images.pixels), "views are made of uint8 images"));
        }
        let largest = images.height.max(height) * images.width.max(width).next_multiple_of(4);
        if largest > MOST {
            let got = format!("{}x{}", images.height, images.width);
            return Err(Error::shape("images", "smaller ones for a GPU", got));
        }
        let mut plan = Plan::new(Number::F16);
        let views = plan.room.bytes(params.len() * 3 * height * width);
        for (which, out) in out.into_iter().enumerate() {
            let own: Vec<&ViewParams> = params.iter().map(|params| &params[which]).collect();
            let styled = match (self.styling(), style) {
                (Some(styling), Some(style)) if styling.styled[which] => {
                    if style.1 == StyleSource::Batch && which == 1 {
                        let remedy = "on a GPU the left view alone has styles of the batch; give a bank";
                        return Err(Error::value("styled_view", "of the right view", remedy));
                    }
                    Some(Styled { position: styling.position, stylizer: style.0, from: style.1, params: drawn(&own)? })
                }
                _ => None,
            };
            self.push_crop(which, images, &own, views, styled.as_ref(), &mut plan)?;
            self.view(which).push_finish(&own, views, (height, width), out, self.output().normalize(), &mut plan);
        }
        Ok(plan.finish())
    }

    /// Crop and style, in either order, into `views`.
    fn push_crop(
        &self,
        which: usize,
        images: &DeviceImages,
        params: &[&ViewParams],
        views: At,
        styled: Option<&Styled>,
        plan: &mut Plan,
    ) -> Result<()> {
        let (size, interpolation) = (self.size(), self.view(which).interpolation);
        let crop = |params: &&ViewParams| {
            params.crop.check(images.height, images.width)?;
            let Crop { top, left, height, width } = params.crop;
            Ok([top, left, height, width])
        };
        let crops = params.iter().map(crop).collect::<Result<Vec<_>>>()?;
        let planar = |at: At, (height, width): (usize, usize)| {
            let (h, w) = (height as i64, width as i64);
            DeviceImages { at, pixels: PixelType::U8, strides: [3 * h * w, w, 1, h * w].into(), height, width }
        };
        let Some(Styled { position, stylizer, from, params }) = styled else {
            resample(images, &crops, interpolation, views, size, plan);
            return Ok(());
        };
        match position {
            Position::AfterCrop => {
                resample(images, &crops, interpolation, views, size, plan);
                let views = planar(views, size);
                stylizer.push(&views, params, *from, &views, plan)?;
            }
            Position::BeforeCrop => {
                let whole = (images.height, images.width);
                let whole_ones = planar(plan.room.bytes(params.len() * 3 * whole.0 * whole.1), whole);
                stylizer.push(images, params, *from, &whole_ones, plan)?;
                resample(&whole_ones, &crops, interpolation, views, size, plan);
                plan.room.give(whole_ones.at);
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
        out: &DeviceImages,
        normalize: Normalize,
        plan: &mut Plan,
    ) {
        let of_each = || params.iter().enumerate();
        let turns: Vec<_> = of_each()
            .filter_map(|(i, params)| Some((i, rotation_axes(params.rotation?.into(), size.0, size.1))))
            .collect();
        turn(views, size, &turns, plan);
        let coloured = |params: &ViewParams| params.jitter.is_some() || params.grayscale;
        let chains: Vec<_> =
            of_each().filter(|(_, params)| coloured(params)).map(|(i, params)| (i, chain(params))).collect();
        jitter(views, size.0 * size.1, &chains, plan);
        let sigmas: Vec<_> = of_each().filter_map(|(i, params)| Some((i, params.sigma?))).collect();
        let mut of_blurred = vec![None; params.len()];
        let blurred = match self.blur.kernel() {
            BlurKernel::Taps(n) => {
                sigmas.iter().enumerate().for_each(|(which, &(i, _))| of_blurred[i] = Some(which));
                let halves: Vec<_> = sigmas.into_iter().map(|(i, sigma)| (i, half_of_taps(n, sigma))).collect();
                Some(gaussian_blur(views, size, n / 2 + 1, &halves, plan))
            }
            BlurKernel::Boxes => {
                box_blur(views, size, &sigmas, plan);
                None
            }
        };
        let last = |(params, blurred): (&&ViewParams, Option<usize>)| {
            Finish::new(params.solarize.then_some(self.solarize.threshold), params.flip, blurred)
        };
        let finishes: Vec<_> = params.iter().zip(of_blurred).map(last).collect();
        finish((views, blurred.unwrap_or(views)), out, &finishes, (normalize.mean, normalize.std), plan);
        blurred.into_iter().for_each(|blurred| plan.room.give(blurred));
    }
}

/// Each image's style; one that has none is not to be stylized.
fn drawn(params: &[&ViewParams]) -> Result<Vec<StyleParams>> {
    let missing = || Error::value("params.style", "None", "this view is stylized; draw its parameters with its recipe");
    params.iter().map(|params| params.style.clone().ok_or_else(missing)).collect()
}

/// What is known of a view's colours, as the kernel takes it.
fn chain(params: &ViewParams) -> Chain {
    let mut factors = [None; 4];
    for (to, factor) in factors.iter_mut().zip(params.jitter.iter().flatten()) {
        let (kind, by) = match *factor {
            Factor::Brightness(by) => (FactorKind::Brightness, by),
            Factor::Contrast(by) => (FactorKind::Contrast, by),
            Factor::Saturation(by) => (FactorKind::Saturation, by),
            Factor::Hue(by) => (FactorKind::Hue, by),
            Factor::Shift(by) => (FactorKind::Shift, by),
            Factor::ColorContrast(by) => (FactorKind::ColorContrast, by),
            Factor::HsvSaturation(by) => (FactorKind::HsvSaturation, by),
        };
        *to = (!factor.is_none()).then(|| DeviceFactor::new(kind, by));
    }
    Chain::new(factors, params.grayscale)
}
