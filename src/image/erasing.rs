//! Random erasing (Zhong et al. 2017, arXiv 1708.04896): fills a rectangle of the finished view with one colour, as
//! torchvision's `RandomErasing` does.
use super::device::DeviceStep;
use super::operation::{Operation, Room, Size, Stage, Values, parsed};
use super::output::NumbersMut;
use super::{Crop, Planes};
use crate::error::{Error, Result, checked_range};
use crate::kernels::isa::Isa;
use crate::random::{Generator, uniform};
use rand::Rng;
use serde::Deserialize;
use std::sync::Arc;

/// The settings of the operation.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Erasing {
    /// Range of the rectangle's area, as a fraction of the view's area.
    scale: (f32, f32),
    /// Range of the rectangle's aspect ratio, height over width. The logarithm of the ratio is drawn uniformly.
    ratio: (f32, f32),
    /// The fill value of each channel.
    value: [f32; 3],
}

pub(super) fn make(settings: serde_json::Value) -> Result<Arc<dyn Operation>> {
    let erasing = parsed::<Erasing>("erasing", settings)?;
    checked_range("scale", erasing.scale, (0.0, 1.0), "must be a range (low, high) with 0 <= low <= high <= 1")?;
    let positive = "must be a range (low, high) with 0 < low <= high";
    checked_range("ratio", erasing.ratio, (f32::MIN_POSITIVE, f32::MAX), positive)?;
    Ok(Arc::new(erasing))
}

impl Operation for Erasing {
    fn stage(&self) -> Stage {
        Stage::Numbers
    }

    /// Draws a rectangle. It is drawn again unless it is smaller than the view in both directions. After ten attempts, nothing
    /// is filled.
    fn sample(&self, generator: &mut Generator, (rows, columns): Size) -> Values {
        let (low, high) = (f64::from(self.ratio.0).ln(), f64::from(self.ratio.1).ln());
        let mut found = [0; 4];
        for _ in 0..10 {
            let area = (rows * columns) as f64 * f64::from(uniform(generator, self.scale));
            let ratio = (low + (high - low) * generator.random::<f64>()).exp();
            let side = |square: f64| square.sqrt().round_ties_even() as usize;
            let (height, width) = (side(area * ratio), side(area / ratio));
            if height < rows && width < columns {
                let mut place = |most: usize| generator.random_range(0..=most as u64) as usize;
                found = [place(rows - height), place(columns - width), height, width];
                break;
            }
        }
        let [top, left, height, width] = found;
        Crop { top, left, height, width }.into()
    }

    fn apply(&self, _: Isa, _: &mut Planes, _: &Values, _: &mut Room) -> Result<()> {
        Ok(())
    }

    fn apply_to_numbers(&self, view: &mut NumbersMut, values: &Values) -> Result<()> {
        let part = Crop::try_from(values)?;
        if part.height > 0 && part.width > 0 {
            part.check(view.size.0, view.size.1)?;
            view.fill(part, self.value);
        }
        Ok(())
    }

    fn device_steps(&self, _: &Values, _: Size) -> Result<Vec<DeviceStep>> {
        Err(Error::invalid("erasing has no GPU kernel; apply torchvision's RandomErasing to the batch"))
    }
}
