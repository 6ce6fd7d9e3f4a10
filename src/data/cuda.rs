//! The views of each image of a batch, on CUDA: the same draws as on the CPU, and the same arithmetic, a batch at a time.
use super::lowering::Lowering;
use super::view::{Action, Drawn, Step, View, ViewParams};
use super::views::Views;
use crate::error::{Error, Result};
use crate::image::{Crop, DeviceStep, Interpolation, Operation, Stage};
use crate::kernels::cuda::{At, DeviceImages, IMAGES, Number, PixelType, Plan};
use crate::kernels::image::resample::cuda::resample;
use crate::style::StyleParams;
use crate::style::cuda::{DeviceStylizer, StyleSource};

/// Numbers of a plane, at most: what a kernel counts.
const MOST: usize = 1 << 30;

/// What stylizes, and where styles come from.
type DeviceStyle<'a> = (&'a DeviceStylizer, StyleSource);

impl Views {
    /// All views of a batch of bytes into `out`, a place for each view; `params` are of each image. `style` is where styles come from,
    /// if there are any.
    ///
    /// # Errors
    /// Images that are no bytes or too large, parameters that do not fit them, an operation without kernels, styles of the batch
    /// for another step than the first.
    pub fn plan(
        &self,
        images: &DeviceImages,
        params: &[Vec<ViewParams>],
        out: &[DeviceImages],
        style: Option<DeviceStyle>,
    ) -> Result<Plan> {
        if params.len() > IMAGES {
            let remedy = format!("at most {IMAGES} a batch on a GPU; give them in parts");
            return Err(Error::value("images", params.len(), remedy));
        }
        if images.pixels != PixelType::U8 {
            return Err(Error::value("dtype", format!("{:?}", images.pixels), "views are made of uint8 images"));
        }
        let mut plan = Plan::new(Number::F16);
        for (which, (view, out)) in self.views().iter().zip(out).enumerate() {
            let (height, width) = view.size();
            let largest = images.height.max(height) * images.width.max(width).next_multiple_of(4);
            if largest > MOST {
                let got = format!("{}x{}", images.height, images.width);
                return Err(Error::shape("images", "smaller ones for a GPU", got));
            }
            let of_view = |params: &'_ Vec<ViewParams>| params.get(which).cloned();
            let own: Option<Vec<ViewParams>> = params.iter().map(of_view).collect();
            let own = own.ok_or_else(|| Error::shape("params", "those of each view", which))?;
            own.iter().try_for_each(|params| view.check(params))?;
            self.push(which, view, images, &own, out, style, &mut plan)?;
        }
        Ok(plan.finish())
    }

    #[expect(clippy::too_many_arguments, reason = "the view, the batch, and where it goes")]
    fn push(
        &self,
        which: usize,
        view: &View,
        images: &DeviceImages,
        params: &[ViewParams],
        out: &DeviceImages,
        style: Option<DeviceStyle>,
        plan: &mut Plan,
    ) -> Result<()> {
        let size = view.size();
        let at = plan.room.bytes(params.len() * 3 * size.0 * size.1);
        let mut lowering = Lowering::new(at, size, params.len());
        let mut whole = None;
        for (i, step) in view.steps().iter().enumerate() {
            match &step.action {
                Action::Crop(_, interpolation) => {
                    let from = whole.as_ref().unwrap_or(images);
                    push_crop(step, from, params, *interpolation, (at, size), plan)?;
                }
                Action::Style(_) => {
                    let Some((stylizer, source)) = style else {
                        return Err(Error::value("style", "none", "these views have a style; give its stylizer"));
                    };
                    if source == StyleSource::Batch && self.encoded() != Some((which, i)) {
                        let remedy = "on a GPU one step alone, the first, has styles of the batch; give a bank";
                        return Err(Error::value("views", format!("{:?}", step.name), remedy));
                    }
                    let drawn = params.iter().map(|params| style_of(step, params)).collect::<Result<Vec<_>>>()?;
                    let (from, to) = match i {
                        0 => {
                            let size = (images.height, images.width);
                            let at = plan.room.bytes(params.len() * 3 * size.0 * size.1);
                            (*images, *whole.insert(planar(at, size)))
                        }
                        _ => {
                            lowering.settle(plan);
                            (planar(at, size), planar(at, size))
                        }
                    };
                    stylizer.push(&from, &drawn, source, &to, plan)?;
                }
                Action::Image(operation, _) => {
                    lowering.push(device_steps(step, &**operation, size, params)?, plan);
                }
            }
        }
        whole.into_iter().for_each(|whole| plan.room.give(whole.at));
        let normalize = view.output().normalize();
        lowering.finish(out, (normalize.mean, normalize.std), plan);
        plan.room.give(at);
        Ok(())
    }
}

/// What an operation is for each image.
fn device_steps(
    step: &Step,
    operation: &dyn Operation,
    size: (usize, usize),
    params: &[ViewParams],
) -> Result<Vec<Vec<DeviceStep>>> {
    let wrong = |reason: String| Error::value("views", format!("{:?}", step.name), reason);
    if operation.stage() == Stage::Numbers {
        let remedy = "it changes what leaves, for which a GPU has no kernels; apply torchvision's to the batch";
        return Err(wrong(remedy.to_owned()));
    }
    let steps = |params: &ViewParams| match params.of(&step.name) {
        Some(Drawn::Values(Some(values))) => {
            operation.device_steps(values, size).map_err(|error| wrong(error.to_string()))
        }
        _ => Ok(vec![]),
    };
    params.iter().map(steps).collect()
}

fn planar(at: At, (height, width): (usize, usize)) -> DeviceImages {
    let (h, w) = (height as i64, width as i64);
    DeviceImages { at, pixels: PixelType::U8, strides: [3 * h * w, w, 1, h * w].into(), height, width }
}

fn push_crop(
    step: &Step,
    images: &DeviceImages,
    params: &[ViewParams],
    interpolation: Interpolation,
    (at, size): (At, (usize, usize)),
    plan: &mut Plan,
) -> Result<()> {
    let crop = |params: &ViewParams| {
        let crop = View::crop_of(step, params)?;
        crop.check(images.height, images.width)?;
        let Crop { top, left, height, width } = crop;
        Ok([top, left, height, width])
    };
    let crops = params.iter().map(crop).collect::<Result<Vec<_>>>()?;
    resample(images, &crops, interpolation, at, size, plan);
    Ok(())
}

/// An image's style; one that has none is not to be stylized.
fn style_of(step: &Step, params: &ViewParams) -> Result<StyleParams> {
    match params.of(&step.name) {
        Some(Drawn::Style(style)) => Ok(style.clone()),
        _ => Err(Error::value(
            "params",
            format!("no {:?}", step.name),
            "this view is stylized; draw its parameters with its recipe",
        )),
    }
}
