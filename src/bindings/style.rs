//! `StyleParams` and `Block`: the style parameters drawn for a batch, and Algorithm 1.
use super::arrays::{HeldImages, floats, into_array, vectors};
use super::bank::{Bank, Gaussian};
use super::run::{caught, run_on, threads};
use super::stylizer::{Stylizer, check_space};
use crate::error::{Error, tuple};
use crate::memory;
use crate::random::Key;
use crate::style;
use crate::style::{Drawn, Sassl, Styles};
use numpy::{PyArrayDyn, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// The style parameters drawn for a batch of n images: a plain value to inspect, store and replay.
///
/// Args:
///     apply: (n,) bool, True for images that are to be stylized.
///     alpha: (n,) float32 in [0, 1], the weights of feature blending.
///     beta: (n,) float32 in [0, 1], the weights of pixel interpolation.
///     style: (n,) integers, indices into the bank or the batch; or (n, dim) float32, style vectors.
#[pyclass(frozen, eq, module = "sassl._sassl")]
#[derive(Clone, PartialEq)]
pub(super) struct StyleParams(pub(super) Vec<style::StyleParams>);

#[pymethods]
impl StyleParams {
    #[new]
    #[pyo3(signature = (
        apply: "numpy.typing.ArrayLike", alpha: "numpy.typing.ArrayLike", beta: "numpy.typing.ArrayLike",
        style: "numpy.typing.ArrayLike",
    ))]
    fn new(
        apply: &Bound<'_, PyAny>,
        alpha: &Bound<'_, PyAny>,
        beta: &Bound<'_, PyAny>,
        style: &Bound<'_, PyAny>,
    ) -> PyResult<Self> {
        let (apply, alpha, beta) = (floats("apply", apply)?, floats("alpha", alpha)?, floats("beta", beta)?);
        let style = style.py().import("numpy")?.call_method1("asarray", (style,))?;
        let kind: String = style.getattr("dtype")?.getattr("kind")?.extract()?;
        let styles: Vec<Drawn> = if matches!(kind.as_str(), "i" | "u") {
            let indices = style.call_method1("astype", ("int64",))?.cast_into::<PyArrayDyn<i64>>()?;
            if indices.ndim() != 1 {
                return Err(Error::shape("style", "must have shape (n,) for indices", tuple(indices.shape())).into());
            }
            let index = |&i: &i64| usize::try_from(i).map(Drawn::Index);
            let drawn = indices.try_readonly()?.as_array().iter().map(index).collect::<Result<_, _>>();
            drawn.map_err(|_| Error::value("style", &style, "must hold indices >= 0"))?
        } else {
            let vectors = floats("style", &style)?;
            let dim = match vectors.shape() {
                &[_, dim] if dim > 0 => dim,
                other => {
                    let got = format!("shape {} of kind {kind:?}", tuple(other));
                    return Err(Error::shape("style", "must be (n,) integers or (n, dim) floats", got).into());
                }
            };
            vectors.slice()?.chunks_exact(dim).map(|z| Drawn::Vector(z.to_vec())).collect()
        };
        let n = styles.len();
        for (name, array) in [("apply", &apply), ("alpha", &alpha), ("beta", &beta)] {
            if array.shape() != [n] {
                let requirement = format!("must have shape ({n},), one value for each style");
                return Err(Error::shape(name, requirement, tuple(array.shape())).into());
            }
        }
        let (apply, alpha, beta) = (apply.slice()?, alpha.slice()?, beta.slice()?);
        let one = |(i, style)| style::StyleParams { apply: apply[i] != 0.0, alpha: alpha[i], beta: beta[i], style };
        Ok(Self(styles.into_iter().enumerate().map(one).collect()))
    }

    /// True for images that are to be stylized, (n,) bool.
    #[getter]
    fn apply<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        into_array(py, self.0.iter().map(|params| params.apply).collect(), &[self.0.len()])
    }

    /// The weights of feature blending, (n,) float32.
    #[getter]
    fn alpha<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        into_array(py, self.0.iter().map(|params| params.alpha).collect(), &[self.0.len()])
    }

    /// The weights of pixel interpolation, (n,) float32.
    #[getter]
    fn beta<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        into_array(py, self.0.iter().map(|params| params.beta).collect(), &[self.0.len()])
    }

    /// The styles: (n,) int64 indices into the bank or the batch, or (n, dim) float32 vectors.
    #[getter]
    fn style<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let n = self.0.len();
        let indices = self.0.iter().map(|params| match params.style {
            Drawn::Index(index) => i64::try_from(index).ok(),
            Drawn::Vector(_) => None,
        });
        if let Some(indices) = indices.collect::<Option<Vec<i64>>>() {
            return into_array(py, indices, &[n]);
        }
        let vectors: Vec<&[f32]> = self
            .0
            .iter()
            .map(|params| match &params.style {
                Drawn::Index(_) => [].as_slice(),
                Drawn::Vector(vector) => vector,
            })
            .collect();
        into_array(py, vectors.concat(), &[n, vectors[0].len()])
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }

    fn __repr__(&self) -> String {
        let one = |params: &style::StyleParams| {
            let style = match &params.style {
                Drawn::Index(index) => index.to_string(),
                Drawn::Vector(z) => format!("vector({})", z.len()),
            };
            let style::StyleParams { apply, alpha, beta, .. } = params;
            format!(
                "(apply={}, alpha={alpha:.3}, beta={beta:.3}, style={style})",
                if *apply { "True" } else { "False" }
            )
        };
        match self.0.as_slice() {
            all if all.len() <= 4 => format!("StyleParams{}", all.iter().map(one).collect::<Vec<_>>().join(", ")),
            all => format!("StyleParams[{} images: {}, ...]", all.len(), one(&all[0])),
        }
    }

    #[pyo3(signature = () -> "tuple[typing.Any, ...]")]
    fn __getnewargs__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, [self.apply(py)?, self.alpha(py)?, self.beta(py)?, self.style(py)?])
    }
}

/// Algorithm 1 of the paper with its settings. `sassl.transforms.SASSL` wraps this class.
///
/// Args:
///     stylizer: the networks F and T.
///     styles: a `Bank`, a `Gaussian`, or None for the other images of the batch.
///     p: probability of stylizing an image.
///     alpha: range (low, high) from which the weight of feature blending is drawn.
///     beta: range (low, high) from which the weight of pixel interpolation is drawn.
///
/// Raises:
///     ValueError: a value outside [0, 1], a reversed range, or styles and stylizer of different style spaces.
#[pyclass(frozen, module = "sassl._sassl")]
pub(super) struct Block {
    pub(super) stylizer: Py<Stylizer>,
    pub(super) sassl: Sassl,
}

#[pymethods]
impl Block {
    #[new]
    #[pyo3(signature = (
        stylizer, styles: "Bank | Gaussian | None" = None, p = style::P, alpha = style::RANGE, beta = style::RANGE
    ))]
    fn new(
        stylizer: Py<Stylizer>,
        styles: Option<&Bound<'_, PyAny>>,
        p: f32,
        alpha: (f32, f32),
        beta: (f32, f32),
    ) -> PyResult<Self> {
        let core = &stylizer.get().core;
        let styles = match styles {
            None => Styles::Batch,
            Some(styles) => {
                if let Ok(bank) = styles.cast::<Bank>() {
                    check_space("the style bank", bank.get().0.space(), core)?;
                    Styles::Bank(bank.get().0.clone())
                } else {
                    let gaussian = styles.cast::<Gaussian>().map_err(|_| {
                        super::arrays::wrong_type("styles", styles, "a Bank, a Gaussian, or None for the same batch")
                    })?;
                    check_space("the Gaussian", gaussian.get().0.space(), core)?;
                    Styles::Gaussian(gaussian.get().0.clone())
                }
            }
        };
        let dim = match &styles {
            Styles::Bank(bank) => bank.dim(),
            Styles::Gaussian(gaussian) => gaussian.dim(),
            Styles::Batch => core.dim(),
        };
        if dim != core.dim() {
            return Err(Error::shape(
                "style vectors",
                format!("must have shape (n, {})", core.dim()),
                format!("(n, {dim})"),
            )
            .into());
        }
        let sassl = Sassl::new(p, alpha, beta, styles)?;
        Ok(Self { stylizer, sassl })
    }

    /// Draw parameters for n images. Image i uses the random stream with the key (seed, epoch, index + i, view).
    #[pyo3(signature = (seed, n, *, epoch = 0, index = 0, view = 0))]
    fn sample(&self, seed: u64, n: usize, epoch: u64, index: u64, view: u64) -> PyResult<StyleParams> {
        let draw = || self.sassl.sample(Key { seed, epoch, index, view }, n);
        caught("n", || Ok(StyleParams(memory::fallible(draw)?)))
    }

    /// Return the style vector drawn for each image, (n, dim) float32.
    ///
    /// Args:
    ///     params: the drawn parameters.
    ///     z_content: (n, dim) style vectors that F computes from the images of the batch; required only if styles are taken
    ///         from the batch.
    #[pyo3(signature = (params, z_content: "numpy.typing.ArrayLike | None" = None) -> "numpy.typing.NDArray[numpy.float32]")]
    fn vectors<'py>(
        &self,
        py: Python<'py>,
        params: &StyleParams,
        z_content: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let dim = self.stylizer.get().core.dim();
        let z_content = z_content.map(|z| vectors("z_content", z, dim)).transpose()?;
        let z_content = z_content.as_ref().map(|z| z.slice()).transpose()?;
        let z = run_on(py, "params", || self.sassl.vectors(&params.0, dim, z_content))?;
        into_array(py, z, &[params.0.len(), dim])
    }

    /// Apply Algorithm 1 to a batch. The result is a pure function of the images and the parameters.
    ///
    /// Args:
    ///     images: (N, H, W, 3) uint8, or float32 in [0, 1]; H and W at least 8.
    ///     params: the parameters drawn for these images.
    ///
    /// Returns:
    ///     An array of the shape and dtype of the images. Images with apply = False are unchanged. If no image is to be
    ///     stylized, the input array itself is returned.
    #[pyo3(signature = (images: "numpy.typing.NDArray[typing.Any]", params) -> "numpy.typing.NDArray[typing.Any]")]
    fn apply<'py>(
        &self,
        py: Python<'py>,
        images: &Bound<'py, PyAny>,
        params: &StyleParams,
    ) -> PyResult<Bound<'py, PyAny>> {
        let held = HeldImages::new(images)?;
        let stylizer = self.stylizer.get();
        let (batch, threads) = (held.images()?, threads(py, stylizer.threads)?);
        if params.0.len() == batch.count() && !params.0.iter().any(|params| params.apply) {
            return Ok(images.clone());
        }
        let mut out = held.room()?;
        run_on(py, "images", || self.sassl.apply(&stylizer.core, batch, &params.0, out.pixels(), threads))?;
        out.into_array(py, held.shape())
    }
}
