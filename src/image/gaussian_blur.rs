//! Random Gaussian blur, with the taps of torchvision's `gaussian_blur`, or the box blurs of Pillow's `GaussianBlur`.
use super::Planes;
use super::device::DeviceStep;
use super::operation::{Operation, Room, Size, Values, parsed};
use crate::error::{Error, Result, checked_range};
use crate::kernels::image::gaussian_blur;
use crate::kernels::isa::Isa;
use crate::random::{Generator, uniform};
use serde::Deserialize;
use std::sync::Arc;

pub use gaussian_blur::BlurScratch;

/// The settings of the operation.
#[derive(Clone, Copy, Debug)]
pub struct GaussianBlur {
    sigma: (f32, f32),
    kernel: BlurKernel,
}

/// The approximation of the Gaussian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlurKernel {
    /// A sampled Gaussian of this many taps, an odd number.
    Taps(usize),
    /// Three box blurs in each direction, as in Pillow and therefore in the code of MoCo v2.
    Boxes,
}

impl GaussianBlur {
    /// Creates the operation. Sigma is drawn uniformly from the range `sigma`.
    ///
    /// SimCLR and BYOL use 23 taps at 224x224, and a sigma from 0.1 to 2.
    ///
    /// # Errors
    /// The range of sigma is reversed or outside (0, 1e4], or the number of taps is even.
    pub fn new(sigma: (f32, f32), kernel: BlurKernel) -> Result<Self> {
        if let BlurKernel::Taps(taps) = kernel {
            checked_kernel_size(taps)?;
        }
        let sigma = checked_range(
            "sigma",
            sigma,
            (f32::MIN_POSITIVE, MOST),
            "must be a range (low, high) with 0 < low <= high <= 1e4",
        )?;
        Ok(Self { sigma, kernel })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    sigma: (f32, f32),
    /// The number of taps; `None` for Pillow's box blurs.
    kernel_size: Option<usize>,
}

pub(super) fn make(settings: serde_json::Value) -> Result<Arc<dyn Operation>> {
    let Settings { sigma, kernel_size } = parsed("gaussian_blur", settings)?;
    Ok(Arc::new(GaussianBlur::new(sigma, kernel_size.map_or(BlurKernel::Boxes, BlurKernel::Taps))?))
}

impl Operation for GaussianBlur {
    fn check(&self, (height, width): Size) -> Result<()> {
        match self.kernel {
            BlurKernel::Taps(taps) => check_taps(taps, (height, width)),
            BlurKernel::Boxes => Ok(()),
        }
    }

    fn sample(&self, generator: &mut Generator, _: Size) -> Values {
        Values::of([("sigma", uniform(generator, self.sigma).into())])
    }

    fn apply(&self, isa: Isa, planes: &mut Planes, values: &Values, room: &mut Room) -> Result<()> {
        let [sigma] = values.get(["sigma"])?;
        match self.kernel {
            BlurKernel::Taps(taps) => gaussian_blur(isa, planes, taps, sigma as f32, &mut room.blur),
            BlurKernel::Boxes => box_blur(isa, planes, sigma as f32, &mut room.blur),
        }
    }

    fn device_steps(&self, values: &Values, _: Size) -> Result<Vec<DeviceStep>> {
        let [sigma] = values.get(["sigma"])?.map(|sigma| sigma as f32);
        checked_sigma(sigma)?;
        Ok(vec![match self.kernel {
            BlurKernel::Taps(taps) => DeviceStep::Taps(taps, half_of_taps(taps, sigma)),
            BlurKernel::Boxes => DeviceStep::Boxes(sigma),
        }])
    }
}

/// The largest accepted sigma. Far smaller values already turn an image into a single colour.
const MOST: f32 = 1e4;

/// Blurs with `kernel_size` taps of a Gaussian, with reflected edges.
///
/// # Errors
/// The number of taps is even, or more than twice the shorter side of the image; or sigma is outside (0, 1e4].
pub fn gaussian_blur(
    isa: Isa,
    planes: &mut Planes,
    kernel_size: usize,
    sigma: f32,
    scratch: &mut BlurScratch,
) -> Result<()> {
    checked_kernel_size(kernel_size)?;
    check_taps(kernel_size, (planes.height(), planes.width()))?;
    checked_sigma(sigma)?;
    gaussian_blur::gaussian_blur(isa, &half_of_taps(kernel_size, sigma), planes, scratch);
    Ok(())
}

/// Returns the centre tap, and the taps on one side of it up to the last that can affect a byte.
pub(crate) fn half_of_taps(kernel_size: usize, sigma: f32) -> Vec<f32> {
    let tap = |k: usize| (-0.5 * (k as f32 / sigma).powi(2)).exp();
    let mut half: Vec<f32> = (0..=kernel_size / 2).map(tap).collect();
    let sum = half[0] + 2.0 * half[1..].iter().sum::<f32>();
    half.iter_mut().for_each(|tap| *tap /= sum);
    half.truncate(half.iter().rposition(|&tap| tap > 1e-7).unwrap_or(0) + 1);
    half
}

/// Blurs as Pillow's `ImageFilter.GaussianBlur(sigma)` does: with box blurs and repeated edges.
///
/// # Errors
/// Sigma is outside (0, 1e4].
pub fn box_blur(isa: Isa, planes: &mut Planes, sigma: f32, scratch: &mut BlurScratch) -> Result<()> {
    checked_sigma(sigma)?;
    gaussian_blur::box_blur(isa, sigma, planes, scratch);
    Ok(())
}

fn checked_sigma(sigma: f32) -> Result<()> {
    match sigma > 0.0 && sigma <= MOST {
        true => Ok(()),
        false => Err(Error::value("sigma", sigma, "must be > 0 and <= 1e4")),
    }
}

/// Checks that the image is large enough to be padded by reflection for a blur with this many taps.
fn check_taps(taps: usize, (height, width): Size) -> Result<()> {
    let side = height.min(width);
    match taps / 2 < side {
        true => Ok(()),
        false => {
            let requirement = format!("must be at most {} for an image of {height}x{width}", 2 * side - 1);
            Err(Error::value("kernel_size", taps, requirement))
        }
    }
}

fn checked_kernel_size(kernel_size: usize) -> Result<()> {
    match kernel_size % 2 {
        1 => Ok(()),
        _ => Err(Error::value("kernel_size", kernel_size, "must be odd")),
    }
}
