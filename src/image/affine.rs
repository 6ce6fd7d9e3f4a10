//! Random affine transform about the centre: rotation, translation, scale and shear.
//!
//! The size of the image is unchanged, and uncovered pixels are black, like torchvision's `RandomAffine` on a PIL image with
//! nearest interpolation.
use super::Planes;
use super::device::DeviceStep;
use super::operation::{Operation, Room, Size, Values, parsed};
use crate::error::{Error, Result, checked_range};
use crate::kernels::image::rotation::cuda::Axes;
use crate::kernels::isa::Isa;
use crate::random::{Generator, uniform};
use serde::Deserialize;
use std::sync::Arc;

/// The settings of the operation: ranges of uniform draws.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Affine {
    /// Range of the rotation in degrees, clockwise.
    degrees: (f32, f32),
    /// The largest translations along x and y, as fractions of the width and of the height.
    translate: (f32, f32),
    scale: (f32, f32),
    /// Ranges of the shear in degrees: along x (low, high), then along y (low, high).
    shear: [f32; 4],
}

impl Affine {
    fn shears(&self) -> [(f32, f32); 2] {
        let [from_x, to_x, from_y, to_y] = self.shear;
        [(from_x, to_x), (from_y, to_y)]
    }
}

/// Names of the drawn values.
const NAMES: [&str; 6] = ["angle", "translate_x", "translate_y", "scale", "shear_x", "shear_y"];

pub(super) fn make(settings: serde_json::Value) -> Result<Arc<dyn Operation>> {
    let affine = parsed::<Affine>("affine", settings)?;
    let of_circle = "must be a range (low, high) in degrees with -360 <= low <= high <= 360";
    checked_range("degrees", affine.degrees, (-360.0, 360.0), of_circle)?;
    let (x, y) = affine.translate;
    if ![x, y].iter().all(|part| (0.0..=1.0).contains(part)) {
        return Err(Error::value(
            "translate",
            format!("({x}, {y})"),
            "must be two fractions of the view's sides in [0, 1]",
        ));
    }
    let positive = "must be a range (low, high) with 0 < low <= high";
    checked_range("scale", affine.scale, (f32::MIN_POSITIVE, f32::MAX), positive)?;
    for shear in affine.shears() {
        let requirement = "must be ranges (low, high) in degrees with -89 <= low <= high <= 89";
        checked_range("shear", shear, (-89.0, 89.0), requirement)?;
    }
    Ok(Arc::new(affine))
}

impl Operation for Affine {
    fn sample(&self, generator: &mut Generator, (height, width): Size) -> Values {
        let mut draw = |range| f64::from(uniform(generator, range));
        let angle = draw(self.degrees);
        let mut shift = |part: f32, side: usize| {
            let most = part * side as f32;
            draw((-most, most)).round_ties_even()
        };
        let (x, y) = (shift(self.translate.0, width), shift(self.translate.1, height));
        let values = [angle, x, y, draw(self.scale), draw(self.shears()[0]), draw(self.shears()[1])];
        Values(NAMES.into_iter().map(Into::into).zip(values).collect())
    }

    fn apply(&self, _: Isa, planes: &mut Planes, values: &Values, room: &mut Room) -> Result<()> {
        let (columns, rows) = axes(values, (planes.height(), planes.width()))?;
        planes.turn(columns, rows, &mut room.planes);
        Ok(())
    }

    fn device_steps(&self, values: &Values, size: Size) -> Result<Vec<DeviceStep>> {
        Ok(vec![DeviceStep::Turn(axes(values, size)?)])
    }
}

/// Returns the inverse of an affine transform, as torchvision's `_get_inverse_affine_matrix` does.
///
/// The transform first shears, scales and rotates about the centre, and then translates.
fn axes(values: &Values, (height, width): Size) -> Result<Axes> {
    let [angle, shift_x, shift_y, scale, shear_x, shear_y] = values.get(NAMES)?;
    if !values.0.iter().all(|(_, x)| x.is_finite()) || scale <= 0.0 {
        return Err(Error::value("affine", format!("{:?}", values.0), "must have finite values and a scale > 0"));
    }
    let [turn, shear_x, shear_y] = [angle, shear_x, shear_y].map(f64::to_radians);
    let (x, y) = (width as f64 * 0.5, height as f64 * 0.5);
    let a = (turn - shear_y).cos() / shear_y.cos();
    let b = -(turn - shear_y).cos() * shear_x.tan() / shear_y.cos() - turn.sin();
    let c = (turn - shear_y).sin() / shear_y.cos();
    let d = -(turn - shear_y).sin() * shear_x.tan() / shear_y.cos() + turn.cos();
    let of = |by_x: f64, by_y: f64, middle: f64| {
        let (by_x, by_y) = (by_x / scale, by_y / scale);
        [by_x, by_y, by_x * (-x - shift_x) + by_y * (-y - shift_y) + middle]
    };
    Ok((of(d, -b, x), of(-c, a, y)))
}
