//! SASSL's style augmentation (arXiv 2312.01187, Algorithm 1). The middle column shows where each line is implemented:
//!
//! ```text
//! z_c = F(i_c), z_s = F(i_s)                     predictor.rs, bank.rs, gaussian.rs
//! z   = (1 - alpha) z_c + alpha z_s              blend.rs            alpha ~ U(0.1, 0.3)
//! i'  = T(i_c, z)                                transformer.rs
//! i   = (1 - beta) i_c + beta i'                 pixel_interpolation beta ~ U(0.1, 0.3)
//! ```
//!
//! Each image is stylized with probability p = 0.8. [`Sassl::sample`] draws all random values; [`Sassl::apply`] is a pure
//! function of its arguments.
mod adain;
pub mod bank;
mod blend;
pub mod cuda;
mod eigen;
mod gaussian;
mod images;
mod inception_v3;
mod layers;
mod predictor;
mod stylizer;
mod transformer;

pub use bank::Bank;
pub use gaussian::Gaussian;
pub use images::{Images, MIN_SIZE};
pub use predictor::Predictor;
pub use stylizer::{Strength, Style, Stylizer};
pub use transformer::{Stylized, Transformer};

use crate::error::{Error, Result, checked_probability, checked_range};
use crate::kernels::inference::pixels::PixelsMut;
use crate::kernels::isa::Precision;
use crate::random::{Generator, Key, comes, uniform};
use crate::weights::Model;
use crate::weights::network;
use crate::weights::safetensors::File;
use rand::Rng;
use std::path::Path;
use std::sync::Arc;

/// Returns the default precision of a model. It is fast for the kinds of predictor whose trained weights were tested with fast
/// arithmetic, and exact for all other kinds.
pub fn usual_precision(model: &Model) -> Precision {
    match model.network.predictor {
        network::Predictor::Cnn { .. } | network::Predictor::MobilenetV2 { .. } => Precision::Fast,
        network::Predictor::InceptionV3 { .. } | network::Predictor::Vgg19 { .. } => Precision::Exact,
    }
}

/// Probability of stylizing an image (paper, section 4.1).
pub const P: f32 = 0.8;

/// Range of alpha and of beta (paper, section 4.1).
pub const RANGE: (f32, f32) = (0.1, 0.3);

/// The source of styles.
#[derive(Clone, Debug)]
pub enum Styles {
    /// A vector of a bank, drawn uniformly.
    Bank(Arc<Bank>),
    /// A vector drawn from a Gaussian fitted to a bank.
    Gaussian(Arc<Gaussian>),
    /// Another image of the same batch, drawn uniformly. In a batch of one, the image is its own style.
    Batch,
}

impl Styles {
    /// Reads a bank file or a Gaussian file.
    ///
    /// # Errors
    /// The file cannot be read, or is neither a bank nor a Gaussian.
    pub fn load(path: &Path) -> Result<Self> {
        let file = File::open(path)?;
        if file.metadata().get("format").is_some_and(|format| format == gaussian::FORMAT) {
            return Ok(Self::Gaussian(Arc::new(Gaussian::from_file(&file)?)));
        }
        Ok(Self::Bank(Arc::new(Bank::from_file(file)?)))
    }
}

/// The style drawn for an image.
#[derive(Clone, Debug, PartialEq)]
pub enum Drawn {
    /// The index of a vector in the bank, or of an image in the batch.
    Index(usize),
    /// A style vector.
    Vector(Vec<f32>),
}

/// The parameters drawn for one image.
#[derive(Clone, Debug, PartialEq)]
pub struct StyleParams {
    /// True if the image is to be stylized; the other parameters are drawn in either case.
    pub apply: bool,
    /// The weight of feature blending: 0 gives the content's z, 1 the style's z.
    pub alpha: f32,
    /// The weight of pixel interpolation: 0 gives the image itself, 1 T's output.
    pub beta: f32,
    /// The style: an index or a vector.
    pub style: Drawn,
}

impl StyleParams {
    /// Returns the index of the style in the bank or batch; `None` if the style is a vector.
    pub fn index(&self) -> Option<usize> {
        match self.style {
            Drawn::Index(index) => Some(index),
            Drawn::Vector(_) => None,
        }
    }
}

/// Algorithm 1 with its settings.
#[derive(Clone, Debug)]
pub struct Sassl {
    p: f32,
    alpha: (f32, f32),
    beta: (f32, f32),
    styles: Styles,
}

impl Sassl {
    /// Creates the augmentation with these settings.
    ///
    /// # Errors
    /// `p`, `alpha` or `beta` is outside [0, 1], or a range is reversed.
    pub fn new(p: f32, alpha: (f32, f32), beta: (f32, f32), styles: Styles) -> Result<Self> {
        checked_probability("p", p)?;
        for (name, range) in [("alpha", alpha), ("beta", beta)] {
            let requirement = "must be a range (low, high) with 0 <= low <= high <= 1; the paper's is (0.1, 0.3)";
            checked_range(name, range, (0.0, 1.0), requirement)?;
        }
        Ok(Self { p, alpha, beta, styles })
    }

    /// Returns the source of styles.
    pub fn styles(&self) -> &Styles {
        &self.styles
    }

    /// Draws the parameters for a batch of `n` images. Image `i` uses the stream of `key` with the index `key.index + i`.
    pub fn sample(&self, key: Key, n: usize) -> Vec<StyleParams> {
        let key = |i| Key { index: key.index.wrapping_add(i as u64), ..key };
        (0..n).map(|i| self.sample_one(self.p, &mut key(i).generator(), i, n)).collect()
    }

    /// Draws the parameters for image `i` of a batch of `n`; the image is stylized with probability `p`.
    pub fn sample_one(&self, p: f32, generator: &mut Generator, i: usize, n: usize) -> StyleParams {
        let apply = comes(generator, p);
        let alpha = uniform(generator, self.alpha);
        let beta = uniform(generator, self.beta);
        let style = match &self.styles {
            Styles::Bank(bank) => Drawn::Index(generator.random_range(0..bank.len() as u64) as usize),
            Styles::Gaussian(gaussian) => Drawn::Vector(gaussian.sample(generator)),
            Styles::Batch if n == 1 => Drawn::Index(0),
            // One of the other n - 1 images.
            Styles::Batch => {
                let other = generator.random_range(0..n as u64 - 1) as usize;
                Drawn::Index(other + usize::from(other >= i))
            }
        };
        StyleParams { apply, alpha, beta, style }
    }

    /// Returns the style vector z_s of each image, `[n, dim]`. `z_content` holds the images' own z, and is only used for
    /// [`Styles::Batch`].
    ///
    /// # Errors
    /// An index is outside the bank or the batch, or is used with a Gaussian, which has no indices; a vector does not have the
    /// length `dim`; or `z_content` is missing for styles of the batch.
    pub fn vectors(&self, params: &[StyleParams], dim: usize, z_content: Option<&[f32]>) -> Result<Vec<f32>> {
        let mut z = vec![0.0; params.len() * dim];
        for (i, (z, params)) in z.chunks_exact_mut(dim).zip(params).enumerate() {
            match (&params.style, &self.styles) {
                (Drawn::Vector(vector), _) if vector.len() == dim => z.copy_from_slice(vector),
                (Drawn::Vector(vector), _) => {
                    return Err(Error::shape(format!("style[{i}]"), format!("must have length {dim}"), vector.len()));
                }
                (&Drawn::Index(index), Styles::Bank(bank)) => bank.copy(index, z)?,
                (&Drawn::Index(index), Styles::Batch) => {
                    let missing =
                        || Error::value("z_content", "None", "must hold F of the images for styles of the batch");
                    let batch = z_content.ok_or_else(missing)?;
                    let vector = batch.chunks_exact(dim).nth(index).ok_or_else(|| {
                        let requirement = format!("must be in [0, {}), the range of the batch", batch.len() / dim);
                        Error::value(format!("style[{i}]"), index, requirement)
                    })?;
                    z.copy_from_slice(vector);
                }
                (Drawn::Index(index), Styles::Gaussian(_)) => {
                    let requirement = format!("must be a vector of length {dim}; a Gaussian has no numbered styles");
                    return Err(Error::value(format!("style[{i}]"), index, requirement));
                }
            }
        }
        Ok(z)
    }

    /// Applies Algorithm 1 to a batch. `out` must have the shape and dtype of the images. Images that are not to be stylized
    /// are copied unchanged.
    ///
    /// # Errors
    /// The length of `params` is not the number of images. Also returns the errors of [`Sassl::vectors`] and
    /// [`Stylizer::stylize`].
    pub fn apply(
        &self,
        stylizer: &Stylizer,
        images: Images,
        params: &[StyleParams],
        out: PixelsMut,
        threads: usize,
    ) -> Result<()> {
        if params.len() != images.count() {
            return Err(Error::shape(
                "params",
                format!("must have length {}, one for each image", images.count()),
                params.len(),
            ));
        }
        let z_content = matches!(self.styles, Styles::Batch).then(|| stylizer.encode(images, threads)).transpose()?;
        let z = self.vectors(params, stylizer.dim(), z_content.as_deref())?;
        let each = |of: fn(&StyleParams) -> f32| -> Vec<f32> { params.iter().map(of).collect() };
        let (alpha, beta) = (each(|params| params.alpha), each(|params| params.beta));
        let apply: Vec<bool> = params.iter().map(|params| params.apply).collect();
        let style = Style {
            z: &z,
            z_content: z_content.as_deref(),
            alpha: Strength::Each(&alpha),
            beta: Strength::Each(&beta),
            apply: Some(&apply),
        };
        stylizer.stylize(images, &style, out, threads)
    }
}
