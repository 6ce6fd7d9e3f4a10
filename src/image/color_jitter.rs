//! Colour jitter: changes brightness, contrast, saturation and hue by random factors in random order, like torchvision's
//! `ColorJitter` or BYOL's variant of it.
use super::Planes;
use super::device::DeviceStep;
use super::operation::{Operation, Room, Size, Values, parsed};
use crate::error::{Error, Result};
use crate::kernels::image::color;
use crate::kernels::image::color::Base;
use crate::kernels::image::color::cuda::{DeviceFactor, FactorKind};
use crate::kernels::isa::Isa;
use crate::random::{Generator, uniform};
use rand::seq::SliceRandom;
use serde::Deserialize;
use std::sync::Arc;

/// An adjustment with its strength. A colour jitter has four: brightness, contrast, saturation and hue.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Factor {
    /// Scales brightness: 0 is black, 1 the image itself.
    Brightness(f32),
    /// Scales contrast around the mean luma: 0 is uniform gray, 1 the image itself.
    Contrast(f32),
    /// Scales saturation around each pixel's luma: 0 is a grayscale image, 1 the image itself.
    Saturation(f32),
    /// Shifts the hue by a fraction of the hue circle, from -0.5 to 0.5.
    Hue(f32),
    /// BYOL's brightness: adds a fraction of the full range of values.
    Shift(f32),
    /// BYOL's contrast: scales each channel around its mean.
    ColorContrast(f32),
    /// BYOL's saturation: multiplies the saturation in HSV.
    HsvSaturation(f32),
}

/// The arithmetic of a [`ColorJitter`].
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum JitterForm {
    /// torchvision's, on a PIL image.
    #[default]
    Torchvision,
    /// BYOL's, from `byol/utils/augmentations.py` in deepmind-research. Brightness is added, contrast is scaled per channel,
    /// and saturation is that of HSV.
    Byol,
}

/// The drawn factors, in the order in which they are applied.
pub type ColorFactors = [Factor; 4];

/// The settings of the operation.
#[derive(Clone, Copy, Debug)]
pub struct ColorJitter {
    brightness: (f32, f32),
    contrast: (f32, f32),
    saturation: (f32, f32),
    hue: (f32, f32),
    form: JitterForm,
}

impl ColorJitter {
    /// Creates the operation from strengths as in torchvision.
    ///
    /// With strength x, the hue shift is drawn from -x to x, and any other factor from `max(0, 1 - x)` to `1 + x`. BYOL's
    /// brightness shift is the drawn brightness factor minus 1.
    ///
    /// # Errors
    /// A strength is negative or not finite, or `hue` is above 0.5.
    pub fn new(brightness: f32, contrast: f32, saturation: f32, hue: f32, form: JitterForm) -> Result<Self> {
        let range = |name: &str, x: f32| match x >= 0.0 && x.is_finite() {
            true => Ok(((1.0 - x).max(0.0), 1.0 + x)),
            false => Err(Error::value(name, x, "must be a finite number >= 0")),
        };
        if !(0.0..=0.5).contains(&hue) {
            return Err(Error::value("hue", hue, "must be in [0, 0.5]"));
        }
        Ok(Self {
            brightness: range("brightness", brightness)?,
            contrast: range("contrast", contrast)?,
            saturation: range("saturation", saturation)?,
            hue: (-hue, hue),
            form,
        })
    }

    /// Draws the factors and their order.
    pub fn factors(&self, generator: &mut Generator) -> ColorFactors {
        let mut draw = |range| uniform(generator, range);
        let (brightness, contrast, saturation, hue) =
            (draw(self.brightness), draw(self.contrast), draw(self.saturation), draw(self.hue));
        let mut factors = match self.form {
            JitterForm::Torchvision => [
                Factor::Brightness(brightness),
                Factor::Contrast(contrast),
                Factor::Saturation(saturation),
                Factor::Hue(hue),
            ],
            JitterForm::Byol => [
                Factor::Shift(brightness - 1.0),
                Factor::ColorContrast(contrast),
                Factor::HsvSaturation(saturation),
                Factor::Hue(hue),
            ],
        };
        factors.shuffle(generator);
        factors
    }
}

/// Converts drawn values to factors, in order. Factors that leave the image unchanged are left out.
fn factors_of(values: &Values) -> Result<Vec<Factor>> {
    values
        .0
        .iter()
        .map(|(name, x)| Factor::named(name, *x as f32))
        .filter(|factor| !factor.as_ref().is_ok_and(|f| f.is_none()))
        .collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    brightness: f32,
    contrast: f32,
    saturation: f32,
    hue: f32,
    form: JitterForm,
}

pub(super) fn make(settings: serde_json::Value) -> Result<Arc<dyn Operation>> {
    let Settings { brightness, contrast, saturation, hue, form } = parsed("color_jitter", settings)?;
    Ok(Arc::new(ColorJitter::new(brightness, contrast, saturation, hue, form)?))
}

impl Operation for ColorJitter {
    fn sample(&self, generator: &mut Generator, _: Size) -> Values {
        let named = self.factors(generator).map(|factor| (factor.name().into(), factor.strength().into()));
        Values(named.into())
    }

    fn apply(&self, isa: Isa, planes: &mut Planes, values: &Values, room: &mut Room) -> Result<()> {
        factors_of(values)?.into_iter().for_each(|factor| factor.apply(isa, planes, &mut room.gray));
        Ok(())
    }

    fn device_steps(&self, values: &Values, _: Size) -> Result<Vec<DeviceStep>> {
        let step = |factor: Factor| DeviceStep::Factor(DeviceFactor::new(factor.kind(), factor.strength()));
        Ok(factors_of(values)?.into_iter().map(step).collect())
    }
}

impl Factor {
    /// Returns the factor with this name and strength.
    ///
    /// # Errors
    /// The name is unknown.
    pub fn named(name: &str, x: f32) -> Result<Self> {
        let all = [
            Self::Brightness(x),
            Self::Contrast(x),
            Self::Saturation(x),
            Self::Hue(x),
            Self::Shift(x),
            Self::ColorContrast(x),
            Self::HsvSaturation(x),
        ];
        all.into_iter().find(|factor| factor.name() == name).ok_or_else(|| {
            let names = all.map(Self::name).join(", ");
            Error::value("color_jitter", format!("{name:?}"), format!("must be one of {names}"))
        })
    }

    /// Returns the factor's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Brightness(_) => "brightness",
            Self::Contrast(_) => "contrast",
            Self::Saturation(_) => "saturation",
            Self::Hue(_) => "hue",
            Self::Shift(_) => "shift",
            Self::ColorContrast(_) => "color_contrast",
            Self::HsvSaturation(_) => "hsv_saturation",
        }
    }

    /// Returns the factor's strength.
    pub fn strength(self) -> f32 {
        match self {
            Self::Brightness(x) | Self::Contrast(x) | Self::Saturation(x) | Self::Hue(x) => x,
            Self::Shift(x) | Self::ColorContrast(x) | Self::HsvSaturation(x) => x,
        }
    }

    /// Returns the kind of the factor in the GPU kernels.
    fn kind(self) -> FactorKind {
        match self {
            Self::Brightness(_) => FactorKind::Brightness,
            Self::Contrast(_) => FactorKind::Contrast,
            Self::Saturation(_) => FactorKind::Saturation,
            Self::Hue(_) => FactorKind::Hue,
            Self::Shift(_) => FactorKind::Shift,
            Self::ColorContrast(_) => FactorKind::ColorContrast,
            Self::HsvSaturation(_) => FactorKind::HsvSaturation,
        }
    }

    /// Returns `true` if the factor leaves an image unchanged. It is then skipped, as in torchvision for a strength of 0. (If a
    /// hue shift of 0 were applied, it could still change values by rounding.)
    pub fn is_none(self) -> bool {
        match self {
            Self::Brightness(x) | Self::Contrast(x) | Self::Saturation(x) => x == 1.0,
            Self::ColorContrast(x) | Self::HsvSaturation(x) => x == 1.0,
            Self::Hue(x) | Self::Shift(x) => x == 0.0,
        }
    }

    /// Applies the factor to an image. `gray` is scratch memory for one channel.
    pub fn apply(self, isa: Isa, planes: &mut Planes, gray: &mut Vec<u8>) {
        gray.resize(planes.height() * planes.width(), 0);
        match self {
            Self::Brightness(factor) => brighten(isa, planes.as_mut_slice(), factor),
            Self::Contrast(factor) => {
                color::gray(isa, planes, gray);
                let sum: u64 = gray.iter().map(|&x| u64::from(x)).sum();
                let mean = (sum as f64 / gray.len().max(1) as f64 + 0.5) as u8;
                color::blend(isa, Base::Level(mean), factor, planes.as_mut_slice());
            }
            Self::Saturation(factor) => {
                color::gray(isa, planes, gray);
                color::blend(isa, Base::Each(gray), factor, planes.as_mut_slice());
            }
            Self::Shift(part) => color::scale(isa, 1.0, part * 255.0, planes.as_mut_slice()),
            Self::ColorContrast(factor) => {
                for color in planes.colors_mut() {
                    let sum: u64 = color.iter().map(|&x| u64::from(x)).sum();
                    let mean = (sum as f64 / color.len().max(1) as f64) as f32;
                    color::scale(isa, factor, (1.0 - factor) * mean, color);
                }
            }
            Self::HsvSaturation(factor) => color::saturate(isa, factor, planes),
            // The shift is, like torchvision's, truncated to an integer and wraps around.
            Self::Hue(factor) => color::turn_hue(isa, (f64::from(factor) * 255.0) as i32 as u8, planes),
        }
    }
}

/// Scales the brightness of bytes in any layout.
pub fn brighten(isa: Isa, bytes: &mut [u8], factor: f32) {
    color::blend(isa, Base::Level(0), factor, bytes);
}
