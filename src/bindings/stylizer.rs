//! `Stylizer`: the style predictor F and the transformer T.
use super::arrays::{HeldImages, floats, into_array, vectors};
use super::run::{checked_threads, run_on, threads};
use crate::error::{Error, Result};
use crate::kernels::isa::{KernelPath, Precision};
use crate::memory::zeros;
use crate::style;
use crate::style::{Strength, Style};
use crate::weights::Model;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A style predictor F and a transformer T that share a style space (Ghiasi et al. 2017, arXiv 1705.06830).
///
/// Args:
///     model: "lite", the network that ships with the package, or the path of a model file (.safetensors), as written by the
///         command `sassl convert`.
///     threads: number of images computed at a time; None: the environment variable SASSL_THREADS, else one in a DataLoader
///         worker, else all cores. The number has no effect on the results.
///     precision: "exact" computes convolutions in float32. "fast" computes them in integers of 8 and 16 bits if the CPU has
///         AVX2 or AVX-512 VNNI. For photographs stylized by "lite" with alpha = beta = 0.3, the PSNR between the two results
///         is 61 dB on average and 52 dB at worst. None: "exact" if F is InceptionV3 or VGG-19, else "fast"; the effect of
///         "fast" on InceptionV3 and VGG-19 has not been measured with trained weights.
///     space: the id of the style space that the model must have; None accepts any.
///
/// Raises:
///     ValueError: an unknown model or precision, a file that is not a model, or a model whose style space is not `space`.
///     OSError: the file cannot be read.
///
/// A stylizer is immutable. Threads may share a stylizer, it survives fork, and it is pickled as its name or path.
#[pyclass(frozen, module = "sassl._sassl")]
pub(super) struct Stylizer {
    pub(super) core: Arc<style::Stylizer>,
    /// "lite" or the file's path.
    #[pyo3(get)]
    source: OsString,
    /// The argument `threads`: a number, or None.
    #[pyo3(get)]
    pub(super) threads: Option<usize>,
    precision: Precision,
}

#[pymethods]
impl Stylizer {
    #[new]
    #[pyo3(signature = (model: "str | os.PathLike[str]" = PathBuf::from("lite"), *, threads: "int | None" = None, precision: "str | None" = None, space: "str | None" = None))]
    fn new(
        py: Python<'_>,
        model: PathBuf,
        threads: Option<isize>,
        precision: Option<&str>,
        space: Option<String>,
    ) -> PyResult<Self> {
        let threads = checked_threads(threads)?;
        let asked = precision.map(Precision::named).transpose()?;
        let (core, precision) = run_on(py, model.display(), || {
            let weights = named(&model)?;
            if let Some(expected) = space.filter(|space| *space != weights.space) {
                return Err(Error::Space { what: model.display().to_string(), found: weights.space, expected });
            }
            let precision = asked.unwrap_or_else(|| style::usual_precision(&weights));
            Ok((style::Stylizer::new(&weights, KernelPath::detect(precision)?)?, precision))
        })?;
        Ok(Self { core: Arc::new(core), source: model.into_os_string(), threads, precision })
    }

    /// The precision in use, "exact" or "fast".
    #[getter]
    pub(super) fn precision(&self) -> &str {
        self.precision.name()
    }

    /// The model's name.
    #[getter]
    fn name(&self) -> &str {
        self.core.name()
    }

    /// Length of a style vector z.
    #[getter]
    fn dim(&self) -> usize {
        self.core.dim()
    }

    /// Id of the style space. The stylizer accepts only style vectors of this space.
    #[getter]
    fn space(&self) -> &str {
        self.core.space()
    }

    /// The licence of the weights.
    #[getter]
    fn licence(&self) -> &str {
        self.core.licence()
    }

    /// The origin of the weights.
    #[getter]
    fn provenance(&self) -> &str {
        self.core.provenance()
    }

    /// Compute F: the style vector of each image.
    ///
    /// Args:
    ///     images: (N, H, W, 3) uint8, or float32 in [0, 1]; H and W at least 8. Or one image (H, W, 3). The images are resized
    ///         to F's input size.
    ///
    /// Returns:
    ///     (N, dim) float32; (dim,) for a single image.
    #[pyo3(signature = (images: "numpy.typing.NDArray[typing.Any]") -> "numpy.typing.NDArray[numpy.float32]")]
    fn encode<'py>(&self, py: Python<'py>, images: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let held = HeldImages::new(images)?;
        let (images, threads) = (held.images()?, threads(py, self.threads)?);
        let z = run_on(py, "images", || self.core.encode(images, threads))?;
        let shape = [images.count(), self.core.dim()];
        into_array(py, z, if held.shape().len() == 3 { &shape[1..] } else { &shape })
    }

    /// Compute T: the images rendered in the style `z`, without pixel interpolation.
    ///
    /// Args:
    ///     images: (N, H, W, 3) uint8, or float32 in [0, 1]; H and W at least 8. Or one image (H, W, 3).
    ///     z: (N, dim), or (dim,) for all images.
    ///
    /// Returns:
    ///     An array of the shape of the images, float32 in [0, 1].
    #[pyo3(signature = (images: "numpy.typing.NDArray[typing.Any]", z: "numpy.typing.ArrayLike") -> "numpy.typing.NDArray[numpy.float32]")]
    fn transfer<'py>(
        &self,
        py: Python<'py>,
        images: &Bound<'py, PyAny>,
        z: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let held = HeldImages::new(images)?;
        let (images, threads) = (held.images()?, threads(py, self.threads)?);
        let z = vectors("z", z, self.core.dim())?;
        let z = z.slice()?;
        let mut out = zeros("images", images.count() * images.floats())?;
        run_on(py, "images", || self.core.transfer(images, z, &mut out, threads))?;
        into_array(py, out, held.shape())
    }

    /// Apply Algorithm 1 of the paper: (1 - beta) i_c + beta T(i_c, (1 - alpha) F(i_c) + alpha z_style).
    ///
    /// Args:
    ///     images: the content i_c, (N, H, W, 3) uint8, or float32 in [0, 1]; H and W at least 8. Or one image (H, W, 3).
    ///     z_style: (N, dim), or (dim,) for all images.
    ///     alpha: feature blending in [0, 1], a scalar or (N,); None: 0.2, the middle of the paper's range.
    ///     beta: pixel interpolation in [0, 1], a scalar or (N,); None: 0.2, also the middle of the paper's range.
    ///
    /// Returns:
    ///     An array of the shape and dtype of the images; uint8 values are rounded to nearest, halves up.
    #[pyo3(signature = (
        images: "numpy.typing.NDArray[typing.Any]",
        z_style: "numpy.typing.ArrayLike",
        alpha: "numpy.typing.ArrayLike | None" = None,
        beta: "numpy.typing.ArrayLike | None" = None,
    ) -> "numpy.typing.NDArray[typing.Any]")]
    fn stylize<'py>(
        &self,
        py: Python<'py>,
        images: &Bound<'py, PyAny>,
        z_style: &Bound<'py, PyAny>,
        alpha: Option<&Bound<'py, PyAny>>,
        beta: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        /// The middle of the paper's range of alpha and beta.
        const DEFAULT: f32 = 0.2;
        let held = HeldImages::new(images)?;
        let (images, threads) = (held.images()?, threads(py, self.threads)?);
        let z = vectors("z_style", z_style, self.core.dim())?;
        let alpha = alpha.map(|alpha| floats("alpha", alpha)).transpose()?;
        let beta = beta.map(|beta| floats("beta", beta)).transpose()?;
        let strength = |given: &'_ Option<super::arrays::Held<'py, f32>>| -> PyResult<(bool, Vec<f32>)> {
            match given {
                None => Ok((true, vec![DEFAULT])),
                Some(numbers) => Ok((numbers.shape().is_empty(), numbers.slice()?.to_vec())),
            }
        };
        let (alpha, beta) = (strength(&alpha)?, strength(&beta)?);
        fn of((scalar, numbers): &(bool, Vec<f32>)) -> Strength<'_> {
            if *scalar { Strength::All(numbers[0]) } else { Strength::Each(numbers) }
        }
        let style = Style { z: z.slice()?, z_content: None, alpha: of(&alpha), beta: of(&beta), apply: None };
        let mut out = held.room()?;
        run_on(py, "images", || self.core.stylize(images, &style, out.pixels(), threads))?;
        out.into_array(py, held.shape())
    }

    fn __repr__(&self) -> String {
        format!(
            "Stylizer({:?}, dim={}, space={:?}, precision={:?})",
            self.source,
            self.dim(),
            self.space(),
            self.precision()
        )
    }

    #[pyo3(signature = () -> "tuple[tuple[str], dict[str, typing.Any]]")]
    fn __getnewargs_ex__<'py>(&self, py: Python<'py>) -> PyResult<((OsString,), Bound<'py, PyDict>)> {
        let keywords = PyDict::new(py);
        keywords.set_item("threads", self.threads)?;
        keywords.set_item("precision", self.precision())?;
        keywords.set_item("space", self.space())?;
        Ok(((self.source.clone(),), keywords))
    }
}

/// Loads the model with this name or from this file.
fn named(model: &Path) -> Result<Model> {
    match model.to_str() {
        Some(name) if !name.contains(['/', '\\', '.']) => Model::embedded(name),
        _ => Model::load(model),
    }
}

#[cfg(feature = "cuda")]
impl Stylizer {
    /// Loads the model again, because the stylizer does not keep its weights in their original form.
    pub(super) fn model(&self) -> Result<Model> {
        let model = named(Path::new(&self.source))?;
        check_space(&self.source.to_string_lossy(), &model.space, &self.core)?;
        Ok(model)
    }
}

/// Checks that style vectors of the style space `found` can be used with the stylizer.
pub(super) fn check_space(what: &str, found: &str, stylizer: &style::Stylizer) -> Result<()> {
    let expected = stylizer.space();
    if found == expected {
        return Ok(());
    }
    Err(Error::Space { what: what.into(), found: found.into(), expected: expected.into() })
}
