//! Images as a caller has them, checked and put into one tensor of candle's.
use crate::encoders::Backbone;
use crate::error::{Error, Result};
use crate::memory;
use candle_core::{Device, Tensor};

/// Images of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// Images, rows, columns, channels.
    pub shape: [usize; 4],
    /// As many numbers.
    pub numbers: &'a [f32],
    /// How these stand.
    pub order: ChannelOrder,
}

/// Where the channels of an image stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelOrder {
    /// `[n][3][height][width]`, as PyTorch's.
    First,
    /// `[n][height][width][3]`.
    Last,
}

/// Images of batches of one shape, by the name that errors call each: `[n, height, width, 3]`. This is the one copy of them.
pub(super) fn tensor<const N: usize>(batches: [(&str, Batch); N]) -> Result<Tensor> {
    let mut numbers = memory::room("images", batches.iter().map(|(_, batch)| batch.numbers.len()).sum())?;
    let mut images = 0;
    for (name, batch) in &batches {
        check(name, batch)?;
        batch.append(&mut numbers);
        images += batch.shape[0];
    }
    let [_, height, width, channels] = batches[0].1.shape;
    Ok(Tensor::from_vec(numbers, (images, height, width, channels), &Device::Cpu)?)
}

impl Batch<'_> {
    /// Checks that the images are large enough for a backbone.
    ///
    /// # Errors
    /// They are not.
    pub(super) fn check_sides(&self, encoder: &dyn Backbone) -> Result<()> {
        let ([_, height, width, _], least) = (self.shape, encoder.least_side());
        match height.min(width) < least {
            true => {
                let remedy = format!("at least {least} for this backbone");
                Err(Error::value("input_size", format!("{height}x{width}"), remedy))
            }
            false => Ok(()),
        }
    }

    /// Its numbers, channels last.
    fn append(&self, to: &mut Vec<f32>) {
        let [_, height, width, _] = self.shape;
        let size = height * width;
        if self.order == ChannelOrder::Last {
            return to.extend_from_slice(self.numbers);
        }
        for image in self.numbers.chunks_exact(3 * size) {
            let (red, others) = image.split_at(size);
            let (green, blue) = others.split_at(size);
            for ((&r, &g), &b) in red.iter().zip(green).zip(blue) {
                to.extend([r, g, b]);
            }
        }
    }
}

/// Norms would remember numbers that are none.
fn check(name: &str, batch: &Batch) -> Result<()> {
    let [n, height, width, channels] = batch.shape;
    if n * height * width == 0 || channels != 3 {
        return Err(Error::shape("images", "(N, H, W, 3) with at least one pixel", format!("{:?}", batch.shape)));
    }
    // Without a way out early, vectors of them are looked at.
    let is_finite = |part: &[f32]| part.iter().fold(true, |all, x| all & x.is_finite());
    match batch.numbers.chunks(1 << 12).all(is_finite) {
        true => Ok(()),
        false => {
            let at = batch.numbers.iter().position(|x| !x.is_finite()).unwrap_or(0);
            let image = at / (batch.numbers.len() / n);
            Err(Error::value(format!("image {image} of the {name}"), batch.numbers[at], "finite numbers"))
        }
    }
}
