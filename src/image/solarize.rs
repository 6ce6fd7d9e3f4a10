//! Solarization: inverts bright bytes.
use super::Planes;
use super::device::DeviceStep;
use super::operation::{Operation, Room, Size, Values, parsed};
use crate::error::Result;
use crate::kernels::image::color;
use crate::kernels::isa::Isa;
use crate::random::Generator;
use serde::Deserialize;
use std::sync::Arc;

/// The settings of the operation.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Solarize {
    /// The threshold. Bytes below it are unchanged. BYOL uses 128.
    pub threshold: u8,
}

pub(super) fn make(settings: serde_json::Value) -> Result<Arc<dyn Operation>> {
    Ok(Arc::new(parsed::<Solarize>("solarize", settings)?))
}

impl Operation for Solarize {
    fn sample(&self, _: &mut Generator, _: Size) -> Values {
        Values::default()
    }

    fn apply(&self, isa: Isa, planes: &mut Planes, values: &Values, _: &mut Room) -> Result<()> {
        let [] = values.get([])?;
        solarize(isa, planes.as_mut_slice(), self.threshold);
        Ok(())
    }

    fn device_steps(&self, values: &Values, _: Size) -> Result<Vec<DeviceStep>> {
        let [] = values.get([])?;
        Ok(vec![DeviceStep::Solarize(self.threshold)])
    }
}

/// Inverts all bytes >= `threshold`.
pub fn solarize(isa: Isa, bytes: &mut [u8], threshold: u8) {
    color::solarize(isa, threshold, bytes);
}
