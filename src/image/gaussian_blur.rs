//! A Gaussian blur with a probability: the taps of torchvision's `gaussian_blur`, or the boxes of Pillow's `GaussianBlur`.
use super::Planes;
use crate::error::{Error, Result, checked_probability, checked_range};
use crate::kernels::image::gaussian_blur;
use crate::kernels::isa::Isa;
use crate::random::{Generator, comes, uniform};

pub use gaussian_blur::BlurScratch;

/// The operation with its settings.
#[derive(Clone, Copy, Debug)]
pub struct GaussianBlur {
    p: f32,
    sigma: (f32, f32),
    kernel: BlurKernel,
}

/// What stands for the Gaussian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlurKernel {
    /// So many of its own values, an odd number.
    Taps(usize),
    /// Three boxes in each direction, as Pillow has it and so MoCo v2's code.
    Boxes,
}

impl GaussianBlur {
    /// With this probability; sigma evenly from a range. SimCLR and BYOL: 23 taps at 224x224, sigma from 0.1 to 2.
    ///
    /// # Errors
    /// A probability outside [0, 1], a sigma that is not above 0, an even number of taps.
    pub fn new(p: f32, sigma: (f32, f32), kernel: BlurKernel) -> Result<Self> {
        if let BlurKernel::Taps(taps) = kernel {
            checked_kernel_size(taps)?;
        }
        let sigma = checked_range(
            "sigmas",
            sigma,
            (f32::MIN_POSITIVE, MOST),
            "a range (low, high) with 0 < low <= high <= 1e4",
        )?;
        Ok(Self { p: checked_probability("gaussian_blur", p)?, sigma, kernel })
    }

    /// The sigma, if it is to be applied.
    pub fn sample(&self, generator: &mut Generator) -> Option<f32> {
        let (apply, sigma) = (comes(generator, self.p), uniform(generator, self.sigma));
        apply.then_some(sigma)
    }

    /// What stands for the Gaussian.
    pub fn kernel(&self) -> BlurKernel {
        self.kernel
    }

    /// Its taps, if it has them.
    pub fn taps(&self) -> Option<usize> {
        match self.kernel {
            BlurKernel::Taps(taps) => Some(taps),
            BlurKernel::Boxes => None,
        }
    }

    /// Blurs.
    ///
    /// # Errors
    /// See [`gaussian_blur()`] and [`box_blur`].
    pub fn apply(&self, isa: Isa, planes: &mut Planes, sigma: f32, scratch: &mut BlurScratch) -> Result<()> {
        match self.kernel {
            BlurKernel::Taps(taps) => gaussian_blur(isa, planes, taps, sigma, scratch),
            BlurKernel::Boxes => box_blur(isa, planes, sigma, scratch),
        }
    }
}

/// The largest sigma; an image is one colour long before.
const MOST: f32 = 1e4;

/// Blurs with this many taps of a Gaussian, edges reflected.
///
/// # Errors
/// An even number of taps, or more than the reflected image has; a sigma that is not above 0.
pub fn gaussian_blur(
    isa: Isa,
    planes: &mut Planes,
    kernel_size: usize,
    sigma: f32,
    scratch: &mut BlurScratch,
) -> Result<()> {
    checked_kernel_size(kernel_size)?;
    let side = planes.height().min(planes.width());
    if kernel_size / 2 >= side {
        let remedy = format!("at most {} taps for an image of {}x{}", 2 * side - 1, planes.height(), planes.width());
        return Err(Error::value("kernel_size", kernel_size, remedy));
    }
    checked_sigma(sigma)?;
    gaussian_blur::gaussian_blur(isa, &half_of_taps(kernel_size, sigma), planes, scratch);
    Ok(())
}

/// The middle of the taps and those on one side of it that a byte can feel.
pub(crate) fn half_of_taps(kernel_size: usize, sigma: f32) -> Vec<f32> {
    let tap = |k: usize| (-0.5 * (k as f32 / sigma).powi(2)).exp();
    let mut half: Vec<f32> = (0..=kernel_size / 2).map(tap).collect();
    let sum = half[0] + 2.0 * half[1..].iter().sum::<f32>();
    half.iter_mut().for_each(|tap| *tap /= sum);
    half.truncate(half.iter().rposition(|&tap| tap > 1e-7).unwrap_or(0) + 1);
    half
}

/// Blurs as Pillow's `ImageFilter.GaussianBlur(sigma)` does: with boxes, edges repeated.
///
/// # Errors
/// A sigma that is not above 0.
pub fn box_blur(isa: Isa, planes: &mut Planes, sigma: f32, scratch: &mut BlurScratch) -> Result<()> {
    checked_sigma(sigma)?;
    gaussian_blur::box_blur(isa, sigma, planes, scratch);
    Ok(())
}

fn checked_sigma(sigma: f32) -> Result<()> {
    match sigma > 0.0 && sigma <= MOST {
        true => Ok(()),
        false => Err(Error::value("sigma", sigma, "a number above 0, up to 1e4")),
    }
}

fn checked_kernel_size(kernel_size: usize) -> Result<()> {
    match kernel_size % 2 {
        1 => Ok(()),
        _ => Err(Error::value("kernel_size", kernel_size, "an odd number of taps")),
    }
}
