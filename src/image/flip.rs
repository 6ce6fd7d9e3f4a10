//! Horizontal and vertical flips.
use super::device::DeviceStep;
use super::operation::{Operation, Room, Size, Values, parsed};
use super::{Planes, RgbView};
use crate::error::Result;
use crate::kernels::image::flip;
use crate::kernels::isa::Isa;
use crate::random::Generator;
use serde::Deserialize;
use std::sync::Arc;

/// The direction of the flip.
#[derive(Clone, Copy, Debug)]
enum Flip {
    Horizontal,
    Vertical,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {}

pub(super) fn make_horizontal(settings: serde_json::Value) -> Result<Arc<dyn Operation>> {
    let Settings {} = parsed("horizontal_flip", settings)?;
    Ok(Arc::new(Flip::Horizontal))
}

pub(super) fn make_vertical(settings: serde_json::Value) -> Result<Arc<dyn Operation>> {
    let Settings {} = parsed("vertical_flip", settings)?;
    Ok(Arc::new(Flip::Vertical))
}

impl Operation for Flip {
    fn sample(&self, _: &mut Generator, _: Size) -> Values {
        Values::default()
    }

    fn apply(&self, _: Isa, planes: &mut Planes, values: &Values, _: &mut Room) -> Result<()> {
        let [] = values.get([])?;
        match self {
            Self::Horizontal => planes.flip_horizontally(),
            Self::Vertical => planes.flip_vertically(),
        }
        Ok(())
    }

    fn device_steps(&self, values: &Values, _: Size) -> Result<Vec<DeviceStep>> {
        let [] = values.get([])?;
        let horizontally = matches!(self, Self::Horizontal);
        Ok(vec![DeviceStep::Flip { horizontally, vertically: !horizontally }])
    }
}

/// Flips pixels horizontally.
///
/// # Panics
/// If there are no pixels, or their size is not `height x width x 3` bytes.
pub fn hflip(isa: Isa, pixels: RgbView) -> Vec<u8> {
    let mut out = vec![0; pixels.bytes.len()];
    flip::mirror(isa, pixels.width, pixels.bytes, &mut out);
    out
}
