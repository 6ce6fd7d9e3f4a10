//! Clears the lowest bits of each byte, like torchvision's `RandomPosterize` and Pillow's `ImageOps.posterize`.
use super::Planes;
use super::device::DeviceStep;
use super::operation::{Operation, Room, Size, Values, parsed};
use crate::error::{Error, Result};
use crate::kernels::image::color::cuda::{DeviceFactor, FactorKind};
use crate::kernels::image::color::posterize;
use crate::kernels::isa::Isa;
use crate::random::Generator;
use serde::Deserialize;
use std::sync::Arc;

/// The settings of the operation.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Posterize {
    /// The number of bits to keep. The highest bits are kept.
    bits: u8,
}

impl Posterize {
    fn mask(self) -> u8 {
        u8::MAX.checked_shl(8 - u32::from(self.bits)).unwrap_or(0)
    }
}

pub(super) fn make(settings: serde_json::Value) -> Result<Arc<dyn Operation>> {
    let posterize = parsed::<Posterize>("posterize", settings)?;
    match posterize.bits {
        1..=8 => Ok(Arc::new(posterize)),
        bits => Err(Error::value("bits", bits, "must be an integer in [1, 8]")),
    }
}

impl Operation for Posterize {
    fn sample(&self, _: &mut Generator, _: Size) -> Values {
        Values::default()
    }

    fn apply(&self, isa: Isa, planes: &mut Planes, values: &Values, _: &mut Room) -> Result<()> {
        let [] = values.get([])?;
        posterize(isa, self.mask(), planes.as_mut_slice());
        Ok(())
    }

    fn device_steps(&self, values: &Values, _: Size) -> Result<Vec<DeviceStep>> {
        let [] = values.get([])?;
        Ok(vec![DeviceStep::Factor(DeviceFactor::new(FactorKind::Posterize, self.mask().into()))])
    }
}
