//! The views of a batch of images on CUDA. Draws and arithmetic rules are those of the CPU.
use super::lowering::Lowering;
use super::regions::Region;
use super::view::{Action, Drawn, Step, View, ViewParams};
use super::views::Views;
use crate::error::{Error, Result};
use crate::image::{DeviceStep, Operation, Stage};
use crate::kernels::cuda::{At, DeviceImages, IMAGES, Number, PixelType, Plan, Space, Strides};
use crate::kernels::image::resample::cuda::{DeviceCrop, resample};
use crate::style::StyleParams;
use crate::style::cuda::{DeviceStylizer, StyleSource};

/// The largest number of values in a plane, limited by the kernels' counters.
const MOST: usize = 1 << 30;

/// A stylizer and the source of its styles.
type DeviceStyle<'a> = (&'a DeviceStylizer, StyleSource);

impl Views {
    /// Plans the computation of all views of a batch of uint8 images.
    ///
    /// `out` holds the location of each view in the output. `params` holds the draws of each image. `style` is required if a
    /// view is stylized.
    ///
    /// # Errors
    /// - The images are too large or too many for a launch, or their type is not uint8.
    /// - The parameters do not match the views' steps.
    /// - An operation has no CUDA kernels.
    /// - `style` is missing, or more than one style step has in-batch styles.
    pub fn plan(
        &self,
        images: &DeviceImages,
        params: &[Vec<ViewParams>],
        out: &[DeviceImages],
        style: Option<DeviceStyle>,
    ) -> Result<Plan> {
        if images.pixels != PixelType::U8 {
            return Err(Error::value("dtype", format!("{:?}", images.pixels), "must be uint8 for views"));
        }
        self.each_view(params, (images.height, images.width), out, style, |lowered, plan| {
            let at = plan.room.bytes(lowered.params.len() * 3 * lowered.view.size().0 * lowered.view.size().1);
            lowered.crop(images, at, plan)?;
            lowered.finish(at, plan)?;
            plan.room.give(at);
            Ok(())
        })
    }

    /// Plans the second half of the views of a batch: all steps after the crop.
    ///
    /// The crops are at [`Space::Images`] in the layout of [`Views::crops`], and are changed in place. The other arguments are
    /// those of [`Views::plan`].
    ///
    /// # Errors
    /// The same as [`Views::plan`].
    pub fn plan_finish(
        &self,
        params: &[Vec<ViewParams>],
        out: &[DeviceImages],
        style: Option<DeviceStyle>,
    ) -> Result<Plan> {
        let (begins, _) = self.crops(params.len());
        self.each_view(params, (1, 1), out, style, |lowered, plan| {
            let at = At { space: Space::Images, bytes: begins[lowered.which] };
            lowered.finish(at, plan)
        })
    }

    /// Plans all views of a batch of decoded images of any sizes, from their regions at [`Space::Images`].
    ///
    /// The other arguments are those of [`Views::plan`].
    ///
    /// # Errors
    /// Those of [`Views::plan`]; or the number of regions is not the number of images, a crop extends beyond its region, or a
    /// style precedes a crop.
    pub fn plan_regions(
        &self,
        regions: &[Region],
        params: &[Vec<ViewParams>],
        out: &[DeviceImages],
        style: Option<DeviceStyle>,
    ) -> Result<Plan> {
        self.check_regions()?;
        if regions.len() != params.len() {
            return Err(Error::shape(
                "regions",
                format!("must have length {}, one for each image", params.len()),
                regions.len(),
            ));
        }
        let side = |of: fn(&Region) -> usize| regions.iter().map(of).max().unwrap_or(1);
        let size = (side(|region| region.part.height), side(|region| region.part.width));
        let strides = [0, 0, 3, 1].into();
        let images =
            DeviceImages { at: Space::Images.into(), pixels: PixelType::U8, strides, height: size.0, width: size.1 };
        self.each_view(params, size, out, style, |lowered, plan| {
            let at = plan.room.bytes(lowered.params.len() * 3 * lowered.view.size().0 * lowered.view.size().1);
            lowered.crop_regions(&images, regions, at, plan)?;
            lowered.finish(at, plan)?;
            plan.room.give(at);
            Ok(())
        })
    }

    /// Returns a plan of all views; `push` adds the launches of one view. `largest` is the (maximum
    /// height, maximum width) of the input images or regions.
    fn each_view(
        &self,
        params: &[Vec<ViewParams>],
        largest: (usize, usize),
        out: &[DeviceImages],
        style: Option<DeviceStyle>,
        push: impl Fn(&Lowered, &mut Plan) -> Result<()>,
    ) -> Result<Plan> {
        if params.len() > IMAGES {
            let requirement = format!("must be at most {IMAGES} per batch on a GPU; split the batch");
            return Err(Error::value("images", params.len(), requirement));
        }
        let mut plan = Plan::new(Number::F16);
        for (which, (view, out)) in self.views().iter().zip(out).enumerate() {
            let (height, width) = view.size();
            if largest.0.max(height) * largest.1.max(width).next_multiple_of(4) > MOST {
                let got = format!("{}x{}", largest.0, largest.1);
                return Err(Error::shape("images", format!("must have at most {MOST} pixels on a GPU"), got));
            }
            let of_view = |params: &'_ Vec<ViewParams>| params.get(which).cloned();
            let own: Option<Vec<ViewParams>> = params.iter().map(of_view).collect();
            let own = own.ok_or_else(|| Error::shape("params", "must have those of each view", which))?;
            own.iter().try_for_each(|params| view.check(params))?;
            let of_batch = self.encoded();
            push(&Lowered { which, view, params: &own, out, style, of_batch }, &mut plan)?;
        }
        Ok(plan.finish())
    }
}

/// One view of each image of a batch.
struct Lowered<'a> {
    which: usize,
    view: &'a View,
    params: &'a [ViewParams],
    out: &'a DeviceImages,
    style: Option<DeviceStyle<'a>>,
    /// The first step with in-batch styles, if any: (index of the view, index of the step in the view).
    of_batch: Option<(usize, usize)>,
}

impl Lowered<'_> {
    /// Plans the first half of the view: from images to crops at `at`.
    fn crop(&self, images: &DeviceImages, at: At, plan: &mut Plan) -> Result<()> {
        let (steps, mut whole) = (self.view.steps(), None);
        if self.view.styles_whole_image() {
            let size = (images.height, images.width);
            let to = planar(plan.room.bytes(self.params.len() * 3 * size.0 * size.1), size);
            self.stylize(0, images, whole.insert(to), plan)?;
        }
        let crop = &steps[self.view.crop_at()];
        if let Action::Crop(_, interpolation) = crop.action {
            let from = whole.as_ref().unwrap_or(images);
            let crops = crops_of(crop, from, self.params)?;
            resample(from, &crops, interpolation, at, self.view.size(), plan);
        }
        whole.into_iter().for_each(|whole| plan.room.give(whole.at));
        Ok(())
    }

    /// Plans the first half of the view from regions of images, as in [`Views::plan_regions`].
    fn crop_regions(&self, images: &DeviceImages, regions: &[Region], at: At, plan: &mut Plan) -> Result<()> {
        let crop = &self.view.steps()[self.view.crop_at()];
        if let Action::Crop(_, interpolation) = crop.action {
            let crops = crops_of_regions(crop, regions, self.params)?;
            resample(images, &crops, interpolation, at, self.view.size(), plan);
        }
        Ok(())
    }

    /// Plans the second half of the view, from crops at `at`.
    fn finish(&self, at: At, plan: &mut Plan) -> Result<()> {
        let size = self.view.size();
        let mut lowering = Lowering::new(at, size, self.params.len());
        for (i, step) in self.view.steps().iter().enumerate().skip(self.view.crop_at() + 1) {
            match &step.action {
                Action::Style(_) => {
                    lowering.settle(plan);
                    self.stylize(i, &planar(at, size), &planar(at, size), plan)?;
                }
                Action::Image(operation, _) => {
                    lowering.push(device_steps(step, &**operation, size, self.params)?, plan);
                }
                // A view has one crop, before these steps.
                Action::Crop(..) => {}
            }
        }
        let normalize = self.view.output().normalize();
        lowering.finish(self.out, (normalize.mean, normalize.std), plan);
        Ok(())
    }

    /// Plans step `i`, a style step.
    fn stylize(&self, i: usize, from: &DeviceImages, to: &DeviceImages, plan: &mut Plan) -> Result<()> {
        let step = &self.view.steps()[i];
        let Some((stylizer, source)) = self.style else {
            return Err(Error::value("style", "none", "must be given for views with a SASSL; pass its stylizer"));
        };
        if source == StyleSource::Batch && self.of_batch != Some((self.which, i)) {
            return Err(Error::invalid(format!(
                "views: {:?} takes styles of the batch, which only the first style step can on a GPU; give a bank",
                step.name
            )));
        }
        let drawn = self.params.iter().map(|params| style_of(step, params)).collect::<Result<Vec<_>>>()?;
        stylizer.push(from, &drawn, source, to, plan)
    }
}

/// Returns the device steps of an operation for each image.
fn device_steps(
    step: &Step,
    operation: &dyn Operation,
    size: (usize, usize),
    params: &[ViewParams],
) -> Result<Vec<Vec<DeviceStep>>> {
    let name = &step.name;
    if operation.stage() == Stage::Numbers {
        return Err(Error::invalid(format!(
            "views: {name:?} changes the finished view, for which there are no GPU kernels; apply torchvision's to the batch"
        )));
    }
    let steps = |params: &ViewParams| match params.of(&step.name) {
        Some(Drawn::Values(Some(values))) => {
            operation.device_steps(values, size).map_err(|error| Error::invalid(format!("views: {name:?}: {error}")))
        }
        _ => Ok(vec![]),
    };
    params.iter().map(steps).collect()
}

fn planar(at: At, (height, width): (usize, usize)) -> DeviceImages {
    let (h, w) = (height as i64, width as i64);
    DeviceImages { at, pixels: PixelType::U8, strides: [3 * h * w, w, 1, h * w].into(), height, width }
}

/// Returns the crop of each image for a step, from images of equal size.
fn crops_of(step: &Step, images: &DeviceImages, params: &[ViewParams]) -> Result<Vec<DeviceCrop>> {
    let Strides { image, row, column, .. } = images.strides;
    let crop = |(i, params): (usize, &ViewParams)| {
        let crop = View::crop_of(step, params)?;
        crop.check(images.height, images.width)?;
        let begin = i as i64 * image + crop.top as i64 * row + crop.left as i64 * column;
        Ok(DeviceCrop::new(begin, row, (crop.height, crop.width)))
    };
    params.iter().enumerate().map(crop).collect()
}

/// Returns the crop of each image for a step, located in the pixels of the image's region.
fn crops_of_regions(step: &Step, regions: &[Region], params: &[ViewParams]) -> Result<Vec<DeviceCrop>> {
    let crop = |(region, params): (&Region, &ViewParams)| {
        let crop = region.within(View::crop_of(step, params)?)?;
        let begin = region.begin + 3 * (crop.top * region.part.width + crop.left);
        Ok(DeviceCrop::new(begin as i64, 3 * region.part.width as i64, (crop.height, crop.width)))
    };
    regions.iter().zip(params).map(crop).collect()
}

/// Returns the style parameters of an image for a step, or an error if there are none.
fn style_of(step: &Step, params: &ViewParams) -> Result<StyleParams> {
    match params.of(&step.name) {
        Some(Drawn::Style(style)) => Ok(style.clone()),
        _ => Err(Error::invalid(format!(
            "params lack {:?}, a style of this view; draw its parameters with its recipe",
            step.name
        ))),
    }
}
