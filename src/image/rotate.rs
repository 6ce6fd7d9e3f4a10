//! A turn about the middle with a probability, corners black: torchvision's `RandomRotation` of a PIL image, nearest pixels.
use super::Planes;
use crate::error::{Error, Result, checked_probability, checked_range};
use crate::random::{Generator, comes, uniform};

/// The operation with its settings.
#[derive(Clone, Copy, Debug)]
pub struct RandomRotation {
    p: f32,
    degrees: (f32, f32),
}

impl RandomRotation {
    /// With this probability; degrees counter-clockwise, evenly from a range.
    ///
    /// # Errors
    /// A probability outside [0, 1], a reversed range, or one beyond a circle.
    pub fn new(p: f32, degrees: (f32, f32)) -> Result<Self> {
        let remedy = "a range (low, high) in degrees with -360 <= low <= high <= 360";
        let degrees = checked_range("rr_degrees", degrees, (-360.0, 360.0), remedy)?;
        Ok(Self { p: checked_probability("rr_prob", p)?, degrees })
    }

    /// The degrees, if it is to be applied.
    pub fn sample(&self, generator: &mut Generator) -> Option<f32> {
        let (apply, degrees) = (comes(generator, self.p), uniform(generator, self.degrees));
        apply.then_some(degrees)
    }
}

/// Turns counter-clockwise, in the same frame. `room` is for another image.
///
/// # Errors
/// Degrees that are no finite number.
pub fn rotate(planes: &mut Planes, degrees: f64, room: &mut Planes) -> Result<()> {
    if !degrees.is_finite() {
        return Err(Error::value("angle", degrees, "a finite number of degrees"));
    }
    let (columns, rows) = rotation_axes(degrees, planes.height(), planes.width());
    planes.turn(columns, rows, room);
    Ok(())
}

/// Where a turned pixel comes from, as [`Planes::turn`] takes it: columns, rows.
pub(crate) fn rotation_axes(degrees: f64, height: usize, width: usize) -> ([f64; 3], [f64; 3]) {
    let angle = -degrees.rem_euclid(360.0).to_radians();
    // As Pillow's `Image.rotate` rounds them, so that right angles are.
    let rounded = |x: f64| (x * 1e15).round_ties_even() / 1e15;
    let (cos, sin) = (rounded(angle.cos()), rounded(angle.sin()));
    let (x, y) = (width as f64 / 2.0, height as f64 / 2.0);
    let columns = [cos, sin, cos * -x + sin * -y + x];
    let rows = [-sin, cos, -sin * -x + cos * -y + y];
    (columns, rows)
}
