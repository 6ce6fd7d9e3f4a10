//! The caller's images, checked and copied into one candle tensor.
use crate::encoders::Backbone;
use crate::error::{Error, Result, tuple};
use crate::memory;
use candle_core::{Device, Tensor};

/// The images of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// Number of images, rows, columns and channels. This sequence is the same for both values of `order`.
    pub shape: [usize; 4],
    /// The values, in the order that `order` states.
    pub numbers: &'a [f32],
    /// The position of the channels in memory.
    pub order: ChannelOrder,
}

/// The position of an image's channels in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelOrder {
    /// `[n][3][height][width]`, as in PyTorch.
    First,
    /// `[n][height][width][3]`.
    Last,
}

/// Checks batches of the same shape, and copies them into one tensor `[n, height, width, 3]`. Each batch has a name, which
/// appears in errors.
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
    /// Checks that the images are large enough for the backbone.
    ///
    /// # Errors
    /// The images are too small.
    pub(super) fn check_sides(&self, encoder: &dyn Backbone) -> Result<()> {
        let ([_, height, width, _], least) = (self.shape, encoder.least_side());
        match height.min(width) < least {
            true => {
                let requirement = format!("must be at least {least}x{least} for this backbone");
                Err(Error::value("input_size", format!("{height}x{width}"), requirement))
            }
            false => Ok(()),
        }
    }

    /// Appends the values to `to`, channels last.
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

/// Rejects NaN and infinity, which would poison the running statistics. Also rejects batches without pixels, and images that do
/// not have 3 channels.
fn check(name: &str, batch: &Batch) -> Result<()> {
    let [n, height, width, channels] = batch.shape;
    if n * height * width == 0 || channels != 3 {
        return Err(Error::shape(
            "images",
            "must have shape (N, H, W, 3) with at least one pixel",
            tuple(&batch.shape),
        ));
    }
    // Without an early exit, the loop vectorizes.
    let is_finite = |part: &[f32]| part.iter().fold(true, |all, x| all & x.is_finite());
    match batch.numbers.chunks(1 << 12).all(is_finite) {
        true => Ok(()),
        false => {
            let at = batch.numbers.iter().position(|x| !x.is_finite()).unwrap_or(0);
            let image = at / (batch.numbers.len() / n);
            Err(Error::value(format!("image {image} of the {name}"), batch.numbers[at], "must have finite values"))
        }
    }
}
