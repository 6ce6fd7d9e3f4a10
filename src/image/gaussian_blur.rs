//! A Gaussian blur with a probability: the taps of torchvision's `gaussian_blur`.
use super::Planes;
use crate::error::{Error, Result, checked_probability, checked_range};
use crate::kernels::{Isa, gaussian_blur as kernel};
use crate::random::{Generator, comes, uniform};

pub use kernel::Scratch as BlurScratch;

/// The operation with its settings.
#[derive(Clone, Copy, Debug)]
pub struct GaussianBlur {
    p: f32,
    sigma: (f32, f32),
    /// Taps, an odd number.
    pub kernel_size: usize,
}

impl GaussianBlur {
    /// With this probability; sigma evenly from a range. SimCLR and BYOL: 23 taps at 224x224, sigma from 0.1 to 2.
    ///
    /// # Errors
    /// A probability outside [0, 1], a sigma that is not above 0, an even number of taps.
    pub fn new(p: f32, sigma: (f32, f32), kernel_size: usize) -> Result<Self> {
        checked_kernel_size(kernel_size)?;
        let sigma =
            checked_range("sigmas", sigma, (f32::MIN_POSITIVE, f32::MAX), "a range (low, high) with 0 < low <= high")?;
        Ok(Self { p: checked_probability("gaussian_blur", p)?, sigma, kernel_size })
    }

    /// The sigma, if it is to be applied.
    pub fn sample(&self, generator: &mut Generator) -> Option<f32> {
        let (apply, sigma) = (comes(generator, self.p), uniform(generator, self.sigma));
        apply.then_some(sigma)
    }
}

/// Blurs with this many taps of a Gaussian, edges reflected.
///
/// # Errors
/// An even number of taps, or more than the reflected picture has; a sigma that is not above 0.
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
        let remedy = format!("at most {} taps for a picture of {}x{}", 2 * side - 1, planes.height(), planes.width());
        return Err(Error::value("kernel_size", kernel_size, remedy));
    }
    if !(sigma > 0.0 && sigma.is_finite()) {
        return Err(Error::value("sigma", sigma, "a number above 0"));
    }
    let tap = |k: usize| (-0.5 * (k as f32 / sigma).powi(2)).exp();
    let mut half: Vec<f32> = (0..=kernel_size / 2).map(tap).collect();
    let sum = half[0] + 2.0 * half[1..].iter().sum::<f32>();
    half.iter_mut().for_each(|tap| *tap /= sum);
    // What no byte can feel.
    let felt = half.iter().rposition(|&tap| tap > 1e-7).unwrap_or(0);
    kernel::gaussian_blur(isa, &half[..=felt], planes, scratch);
    Ok(())
}

fn checked_kernel_size(kernel_size: usize) -> Result<()> {
    match kernel_size % 2 {
        1 => Ok(()),
        _ => Err(Error::value("kernel_size", kernel_size, "an odd number of taps")),
    }
}
