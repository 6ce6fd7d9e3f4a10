//! Conversion to grayscale: all three channels become the luma (ITU-R 601-2).
use super::Planes;
use super::device::DeviceStep;
use super::operation::{Operation, Room, Size, Values, parsed};
use crate::error::Result;
use crate::kernels::image::color;
use crate::kernels::isa::Isa;
use crate::random::Generator;
use serde::Deserialize;
use std::sync::Arc;

/// The operation, which has no settings.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grayscale {}

pub(super) fn make(settings: serde_json::Value) -> Result<Arc<dyn Operation>> {
    Ok(Arc::new(parsed::<Grayscale>("grayscale", settings)?))
}

impl Operation for Grayscale {
    fn sample(&self, _: &mut Generator, _: Size) -> Values {
        Values::default()
    }

    fn apply(&self, isa: Isa, planes: &mut Planes, values: &Values, room: &mut Room) -> Result<()> {
        let [] = values.get([])?;
        grayscale(isa, planes, &mut room.gray);
        Ok(())
    }

    fn device_steps(&self, values: &Values, _: Size) -> Result<Vec<DeviceStep>> {
        let [] = values.get([])?;
        Ok(vec![DeviceStep::Gray])
    }
}

/// Converts to grayscale. `gray` is scratch memory for one channel.
pub fn grayscale(isa: Isa, planes: &mut Planes, gray: &mut Vec<u8>) {
    gray.resize(planes.height() * planes.width(), 0);
    color::gray(isa, planes, gray);
    planes.colors_mut().into_iter().for_each(|color| color.copy_from_slice(gray));
}
