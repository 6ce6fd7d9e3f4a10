//! Random rotation about the centre with black corners, like torchvision's `RandomRotation` on a PIL image with nearest
//! interpolation.
use super::Planes;
use super::device::DeviceStep;
use super::operation::{Operation, Room, Size, Values, parsed};
use crate::error::{Error, Result, checked_range};
use crate::kernels::isa::Isa;
use crate::random::{Generator, uniform};
use serde::Deserialize;
use std::sync::Arc;

/// The settings of the operation.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rotation {
    /// Range of the angle in degrees, counter-clockwise. The angle is drawn uniformly.
    degrees: (f32, f32),
}

pub(super) fn make(settings: serde_json::Value) -> Result<Arc<dyn Operation>> {
    let rotation = parsed::<Rotation>("rotation", settings)?;
    let requirement = "must be a range (low, high) in degrees with -360 <= low <= high <= 360";
    checked_range("degrees", rotation.degrees, (-360.0, 360.0), requirement)?;
    Ok(Arc::new(rotation))
}

impl Operation for Rotation {
    fn sample(&self, generator: &mut Generator, _: Size) -> Values {
        Values::of([("degrees", uniform(generator, self.degrees).into())])
    }

    fn apply(&self, _: Isa, planes: &mut Planes, values: &Values, room: &mut Room) -> Result<()> {
        let [degrees] = values.get(["degrees"])?;
        rotate(planes, degrees, &mut room.planes)
    }

    fn device_steps(&self, values: &Values, (height, width): Size) -> Result<Vec<DeviceStep>> {
        let [degrees] = values.get(["degrees"])?;
        checked_degrees(degrees)?;
        Ok(vec![DeviceStep::Turn(rotation_axes(degrees, height, width))])
    }
}

/// Rotates counter-clockwise without changing the size of the image. `room` is scratch memory for another image.
///
/// # Errors
/// The angle is not finite.
pub fn rotate(planes: &mut Planes, degrees: f64, room: &mut Planes) -> Result<()> {
    checked_degrees(degrees)?;
    let (columns, rows) = rotation_axes(degrees, planes.height(), planes.width());
    planes.turn(columns, rows, room);
    Ok(())
}

fn checked_degrees(degrees: f64) -> Result<()> {
    match degrees.is_finite() {
        true => Ok(()),
        false => Err(Error::value("angle", degrees, "must be a finite number of degrees")),
    }
}

/// Returns two affine maps, in the form that [`Planes::turn`] takes. They map a pixel of the rotated image to its source column
/// and to its source row.
pub(crate) fn rotation_axes(degrees: f64, height: usize, width: usize) -> ([f64; 3], [f64; 3]) {
    let angle = -degrees.rem_euclid(360.0).to_radians();
    // Rounded as in Pillow's `Image.rotate`, so that right angles are exact.
    let rounded = |x: f64| (x * 1e15).round_ties_even() / 1e15;
    let (cos, sin) = (rounded(angle.cos()), rounded(angle.sin()));
    let (x, y) = (width as f64 / 2.0, height as f64 / 2.0);
    let columns = [cos, sin, cos * -x + sin * -y + x];
    let rows = [-sin, cos, -sin * -x + cos * -y + y];
    (columns, rows)
}
