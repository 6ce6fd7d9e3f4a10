//! Regions of decoded images: for each image of a batch, the part that its views need. The sizes of the images may differ. The
//! views are computed from the regions later, on a GPU or with [`Views::crop_regions`].
use super::halves::collected;
use super::view::{Drawn, View, ViewParams};
use super::views::Views;
use crate::error::{Error, Result};
use crate::image::{Crop, RgbImage, RgbView};
use crate::memory::{room, zeros};

/// A part of an image, with the location of its pixels in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Byte offset of the pixels, which are `[height][width][3]`.
    pub begin: usize,
    /// The part of the image.
    pub part: Crop,
}

impl Region {
    /// Converts a crop of the image to coordinates of the region.
    ///
    /// # Errors
    /// The crop reaches beyond the region.
    pub fn within(&self, crop: Crop) -> Result<Crop> {
        let Crop { top, left, height, width } = self.part;
        let moved = Crop { top: crop.top.wrapping_sub(top), left: crop.left.wrapping_sub(left), ..crop };
        moved.check(height, width)?;
        Ok(moved)
    }

    /// Returns the size of the region's pixels in bytes.
    pub fn bytes(&self) -> usize {
        3 * self.part.height * self.part.width
    }

    /// Converts the parameters of a view from coordinates of the image to coordinates of the region.
    fn params(&self, view: &View, params: &ViewParams) -> Result<ViewParams> {
        let step = &view.steps()[view.crop_at()];
        let crop = self.within(View::crop_of(step, params)?)?;
        let moved = |(name, drawn): &(String, Drawn)| match *name == step.name {
            true => (name.clone(), Drawn::Values(Some(crop.into()))),
            false => (name.clone(), drawn.clone()),
        };
        Ok(ViewParams(params.0.iter().map(moved).collect()))
    }
}

/// Cuts a part out of an image. If the part is the whole image, nothing is copied.
///
/// # Errors
/// There is not enough memory.
pub(super) fn cut(image: RgbImage, part: Crop) -> Result<RgbImage> {
    let Crop { top, left, height, width } = part;
    if (height, width) == (image.height, image.width) {
        return Ok(image);
    }
    let mut bytes = room("image", 3 * height * width)?;
    for row in image.bytes.chunks_exact(3 * image.width).skip(top).take(height) {
        bytes.extend_from_slice(&row[3 * left..][..3 * width]);
    }
    Ok(RgbImage { height, width, bytes })
}

impl Views {
    /// Checks that all views can be computed from regions of decoded images.
    ///
    /// # Errors
    /// A style precedes a crop. A GPU could only stylize whole images of equal size.
    pub fn check_regions(&self) -> Result<()> {
        match self.views().iter().any(View::styles_whole_image) {
            false => Ok(()),
            true => {
                let reason = "views have a style before the crop, but a GPU can only stylize images of one size; decode and crop \
                              on threads, or put the style after the crop";
                Err(Error::invalid(reason))
            }
        }
    }

    /// Computes the crops of all views of a batch, in the layout of [`Views::crops`], from its regions.
    ///
    /// # Errors
    /// Those of [`Views::check_regions`] and [`Views::crop`]; or the number of regions is not the number of images, or a region
    /// is outside `pixels`.
    pub fn crop_regions(
        &self,
        pixels: &[u8],
        regions: &[Region],
        params: &[Vec<ViewParams>],
        threads: usize,
    ) -> Result<Vec<u8>> {
        self.check_regions()?;
        if regions.len() != params.len() {
            return Err(Error::shape(
                "regions",
                format!("must have length {}, one for each image", params.len()),
                regions.len(),
            ));
        }
        let (begins, bytes) = self.crops(params.len());
        let mut crops = zeros("crops", bytes)?;
        let mut rows: Vec<Vec<&mut [u8]>> = params.iter().map(|_| vec![]).collect();
        let (mut rest, mut end) = (&mut crops[..], 0);
        for (view, begin) in self.views().iter().zip(begins) {
            let each = 3 * view.size().0 * view.size().1;
            let (own, others) = std::mem::take(&mut rest)[begin - end..].split_at_mut(params.len() * each);
            rows.iter_mut().zip(own.chunks_exact_mut(each)).for_each(|(row, crop)| row.push(crop));
            (rest, end) = (others, begin + params.len() * each);
        }
        let crop = |(out, (region, params)): (Vec<&mut [u8]>, (&Region, &Vec<ViewParams>))| {
            let Crop { height, width, .. } = region.part;
            let bytes = pixels.get(region.begin..).and_then(|pixels| pixels.get(..region.bytes()));
            let bytes = bytes
                .ok_or_else(|| Error::shape("pixels", "must hold all regions", format!("{} bytes", pixels.len())))?;
            let own = self.views().iter().zip(params).map(|(view, params)| region.params(view, params));
            self.crop(RgbView { height, width, bytes }, &own.collect::<Result<Vec<_>>>()?, None, out)
        };
        collected(threads, rows.into_iter().zip(regions.iter().zip(params)), crop)?;
        Ok(crops)
    }
}
