//! `Step` and `Views`, which `sassl.transforms.Views` and the loader run.
use super::arrays::{Held, into_array};
use super::callable::Callable;
use super::image::{InterpolationMode, held_image};
use super::run::{checked_threads, run};
use super::style::Block;
use super::view_params::{Draws, ViewParams, for_views, of_views};
use crate::data;
use crate::data::{Action, Styling, View};
use crate::error::{Error, Result};
use crate::image::{
    Dtype, Interpolation, Normalize, OPERATIONS, Output, Probability, RandomResizedCrop, RgbView, operation,
};
use crate::kernels::isa::Isa;
use crate::memory::zeros;
use crate::random::Key;
use half::f16;
use numpy::PyArrayDyn;
use pyo3::prelude::*;
use std::sync::Arc;

/// A named operation of a view.
#[pyclass(frozen, module = "sassl._sassl")]
pub(super) struct Step(data::Step);

/// A probability, or pairs (epoch, probability) for linear interpolation.
#[derive(FromPyObject)]
enum Chance {
    Constant(f32),
    Schedule(Vec<(f64, f32)>),
}

impl TryFrom<Chance> for Probability {
    type Error = Error;

    fn try_from(chance: Chance) -> Result<Self> {
        match chance {
            Chance::Constant(p) => Self::constant(p),
            Chance::Schedule(points) => Self::schedule(points),
        }
    }
}

#[pymethods]
impl Step {
    /// Create a step that crops at random and resizes the crop to the size of the view, as torchvision's `RandomResizedCrop`
    /// does.
    ///
    /// Raises:
    ///     ValueError: a range (low, high) that is reversed or out of bounds, or an unknown interpolation.
    #[staticmethod]
    #[pyo3(signature = (name, scale, ratio, interpolation: "typing.Any"))]
    fn crop(name: String, scale: (f32, f32), ratio: (f32, f32), interpolation: InterpolationMode) -> Result<Self> {
        let action = Action::Crop(RandomResizedCrop::new(scale, ratio)?, interpolation.0);
        Ok(Self(data::Step { name, action }))
    }

    /// The interpolation of a crop, "bilinear" or "bicubic"; None for other operations.
    #[getter]
    fn interpolation(&self) -> Option<&'static str> {
        match self.0.action {
            Action::Crop(_, Interpolation::Bilinear) => Some("bilinear"),
            Action::Crop(_, Interpolation::Bicubic) => Some("bicubic"),
            Action::Style(_) | Action::Image(..) => None,
        }
    }

    /// Create a step that applies Algorithm 1 of the SASSL paper with the settings of `block`, but with the probability `p`.
    ///
    /// Args:
    ///     p: a probability, or pairs (epoch, probability) with increasing epochs. Between pairs, the probability is
    ///         interpolated linearly.
    ///
    /// Raises:
    ///     ValueError: an invalid probability.
    #[staticmethod]
    #[pyo3(signature = (name, block, p: "float | list[tuple[float, float]]"))]
    fn style(name: String, block: &Block, p: Chance) -> Result<Self> {
        let (stylizer, sassl) = (block.stylizer.get().core.clone(), block.sassl.clone());
        let styling = Styling { stylizer, sassl, p: p.try_into()? };
        Ok(Self(data::Step { name, action: Action::Style(styling) }))
    }

    /// Create a step that applies an image operation.
    ///
    /// Args:
    ///     kind: one of `operations()`.
    ///     name: the step's name, unique within the view.
    ///     p: a probability, or pairs (epoch, probability) with increasing epochs. Between pairs, the probability is
    ///         interpolated linearly.
    ///     settings: the operation's settings as a JSON object.
    ///
    /// Raises:
    ///     ValueError: an unknown kind, or invalid settings.
    #[staticmethod]
    #[pyo3(signature = (kind, name, p: "float | list[tuple[float, float]]", settings))]
    fn operation(kind: &str, name: String, p: Chance, settings: &str) -> Result<Self> {
        let action = Action::Image(operation(kind, settings)?, p.try_into()?);
        Ok(Self(data::Step { name, action }))
    }

    /// Create a step that calls a Python function with an (H, W, 3) uint8 array and, if `seeded`, an integer seed. The function
    /// returns an array of the same shape and dtype.
    ///
    /// Raises:
    ///     ValueError: an invalid probability.
    #[staticmethod]
    #[pyo3(signature = (name, p: "float | list[tuple[float, float]]", function: "typing.Any", seeded))]
    fn function(name: String, p: Chance, function: Py<PyAny>, seeded: bool) -> Result<Self> {
        let action = Action::Image(Arc::new(Callable::new(name.clone(), function, seeded)), p.try_into()?);
        Ok(Self(data::Step { name, action }))
    }
}

/// Return the kinds of operations that `Step.operation` accepts.
#[pyfunction]
pub(super) fn operations() -> Vec<&'static str> {
    OPERATIONS.iter().map(|(name, _)| *name).collect()
}

/// Mean and standard deviation of each channel.
type MeanAndStd = ([f32; 3], [f32; 3]);

/// A view's steps, its height and width, and its normalization.
type Listed<'py> = (Vec<PyRef<'py, Step>>, (usize, usize), Option<MeanAndStd>);

/// The views of an image.
///
/// Args:
///     views: for each view, its steps, its (height, width), and its normalization. The normalization is (mean, std) of the
///         channels for values in [0, 1], or None.
///     dtype: "uint8", "float16" or "float32".
///     channels_last: True for views of shape (H, W, 3), False for (3, H, W).
///
/// Raises:
///     ValueError: an invalid list of steps; a view too small for one of its steps; an unknown dtype; uint8 views with
///         normalization.
#[pyclass(frozen, module = "sassl._sassl")]
pub(super) struct Views(pub(super) Arc<data::Views>);

#[pymethods]
impl Views {
    #[new]
    #[pyo3(signature = (
        views: "list[tuple[list[Step], tuple[int, int], tuple[tuple[float, float, float], tuple[float, float, float]] | None]]", *,
        dtype, channels_last
    ))]
    fn new(views: Vec<Listed<'_>>, dtype: &str, channels_last: bool) -> Result<Self> {
        let dtype = Dtype::named(dtype)?;
        let made = views.into_iter().map(|(steps, size, normalize)| {
            let normalize = normalize.map_or(Normalize::NONE, |(mean, std)| Normalize { mean, std });
            let steps = steps.iter().map(|step| step.0.clone()).collect();
            View::new(steps, size, Output::new(dtype, normalize, channels_last)?)
        });
        Ok(Self(Arc::new(data::Views::new(Isa::detect()?, made.collect::<Result<_>>()?)?)))
    }

    /// True if a view takes its style from another image of the batch.
    #[getter]
    fn needs_batch(&self) -> bool {
        self.0.needs_batch()
    }

    /// The shape of each view: (3, H, W) or (H, W, 3).
    #[getter(shapes)]
    fn py_shapes(&self) -> Vec<(usize, usize, usize)> {
        self.shapes().into_iter().map(Into::into).collect()
    }

    /// Draw the parameters for all views of an image.
    ///
    /// View v uses the random streams with the key (seed, epoch, index, v), one stream per operation name.
    ///
    /// Raises:
    ///     ValueError: a height or width of 0.
    #[pyo3(signature = (seed, height, width, *, epoch = 0, index = 0))]
    fn sample(&self, seed: u64, height: usize, width: usize, epoch: u64, index: u64) -> Result<Vec<ViewParams>> {
        checked("image", height, width)?;
        Ok(of_views(self.0.sample(Key { seed, epoch, index, view: 0 }, (height, width), (0, 1))))
    }

    /// Draw the parameters for all views of an image of this size, with every operation applied regardless of its probability.
    fn sample_every(&self, height: usize, width: usize) -> Result<Vec<ViewParams>> {
        checked("image", height, width)?;
        let every = |view: &View| view.sample_every(Key::default(), (height, width));
        Ok(of_views(self.0.views().iter().map(every).collect()))
    }

    /// Draw the parameters for all views of each image of a batch.
    ///
    /// Image i gets the draws of `sample` with index i, except that in-batch styles are drawn from the n images.
    ///
    /// Raises:
    ///     ValueError: a height or width of 0.
    #[pyo3(signature = (seed, n, height, width, *, epoch = 0))]
    fn sample_batch(
        &self,
        seed: u64,
        n: usize,
        height: usize,
        width: usize,
        epoch: u64,
    ) -> Result<Vec<Vec<ViewParams>>> {
        checked("images", height, width)?;
        let key = |i: usize| Key { seed, epoch, index: i as u64, view: 0 };
        Ok((0..n).map(|i| of_views(self.0.sample(key(i), (height, width), (i, n)))).collect())
    }

    /// Compute all views of an image. The result is a pure function of the image and the parameters.
    ///
    /// Args:
    ///     image: (H, W, 3) uint8.
    ///     params: the parameters drawn for each view.
    ///
    /// Raises:
    ///     ValueError: parameters that do not match the views' steps; a crop outside the image; an image too small to be
    ///         stylized.
    #[pyo3(signature = (
        image: "numpy.typing.NDArray[numpy.uint8]", params
    ) -> "list[numpy.typing.NDArray[typing.Any]]")]
    fn apply<'py>(
        &self,
        py: Python<'py>,
        image: &Bound<'py, PyAny>,
        params: Vec<ViewParams>,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let (held, [height, width]) = held_image(image)?;
        let image = RgbView { height, width, bytes: held.slice()? };
        let params = for_views(params, self.0.views().len())?;
        let shapes: Vec<Vec<usize>> = self.shapes().iter().map(|shape| shape.to_vec()).collect();
        self.made(py, &shapes, |out| self.0.apply(image, &params, None, out))
    }

    /// Check that a loader can return crops and leave all later steps to `finish`, if each batch is divided among
    /// `world_size` ranks.
    ///
    /// With `images`, check also that the loader can return regions of decoded images.
    ///
    /// Raises:
    ///     ValueError: in-batch styles after a crop, if `world_size` is not 1 or in-batch styles also precede a crop; or, with
    ///         `images`, any style before a crop.
    fn check_halves(&self, world_size: usize, images: bool) -> Result<()> {
        self.0.check_halves(world_size)?;
        if images { self.0.check_regions() } else { Ok(()) }
    }

    /// Compute the views of a batch from the crops or regions that a `Loader` returns.
    ///
    /// The result is a list with an array for each view. The first axis of each array indexes the images.
    ///
    /// Args:
    ///     pixels: the loader's crops or regions, as one array of uint8.
    ///     draws: the loader's draws.
    ///     threads: number of threads, 1 to 1024; None: the environment variable SASSL_THREADS, else all cores.
    ///
    /// Raises:
    ///     ValueError: an invalid number of threads, pixels whose size does not match the draws, or draws that do not match the
    ///         views' steps.
    #[pyo3(signature = (
        pixels: "numpy.typing.NDArray[numpy.uint8]", draws, threads = None
    ) -> "list[numpy.typing.NDArray[typing.Any]]")]
    fn finish<'py>(
        &self,
        py: Python<'py>,
        pixels: &Bound<'py, PyArrayDyn<u8>>,
        draws: &Draws,
        threads: Option<isize>,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let (held, threads) = (Held::new(pixels)?, super::run::threads(py, checked_threads(threads)?)?);
        let Draws { params, regions } = draws;
        let pixels = held.slice()?;
        draws.check(&self.0, pixels.len())?;
        let shapes: Vec<Vec<usize>> =
            self.shapes().iter().map(|shape| [&[params.len()], &shape[..]].concat()).collect();
        self.made(py, &shapes, |out| match regions.is_empty() {
            true => self.0.finish(pixels, params, threads, out),
            false => self.0.finish(&self.0.crop_regions(pixels, regions, params, threads)?, params, threads, out),
        })
    }
}

fn checked(what: &str, height: usize, width: usize) -> Result<()> {
    match height > 0 && width > 0 {
        true => Ok(()),
        false => Err(Error::value(what, format!("{height}x{width}"), "must be at least 1x1")),
    }
}

impl Views {
    /// The shape of each view.
    pub(super) fn shapes(&self) -> Vec<[usize; 3]> {
        let shape = |view: &View| {
            let (height, width) = view.size();
            if view.output().channels_last() { [height, width, 3] } else { [3, height, width] }
        };
        self.0.views().iter().map(shape).collect()
    }

    /// The dtype of all views.
    pub(super) fn dtype(&self) -> Dtype {
        self.0.views()[0].output().dtype()
    }

    /// Creates an array of each of these shapes, and fills the arrays with `make`.
    fn made<'py>(
        &self,
        py: Python<'py>,
        shapes: &[Vec<usize>],
        make: impl Fn(Vec<&mut [u8]>) -> Result<()> + Sync,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        match self.dtype() {
            Dtype::U8 => arrays::<u8>(py, shapes, make),
            Dtype::F16 => arrays::<f16>(py, shapes, make),
            Dtype::F32 => arrays::<f32>(py, shapes, make),
        }
    }
}

fn arrays<'py, T: numpy::Element + bytemuck::Pod>(
    py: Python<'py>,
    shapes: &[Vec<usize>],
    make: impl Fn(Vec<&mut [u8]>) -> Result<()> + Sync,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let made = run(py, || {
        let mut views: Vec<Vec<T>> =
            shapes.iter().map(|shape| zeros("views", shape.iter().product())).collect::<Result<_>>()?;
        make(views.iter_mut().map(|view| bytemuck::cast_slice_mut(view)).collect())?;
        Ok(views)
    })?;
    made.into_iter().zip(shapes).map(|(view, shape)| into_array(py, view, shape)).collect()
}
