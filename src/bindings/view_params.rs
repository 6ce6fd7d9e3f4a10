//! `ViewParams` and `Draws`: the parameters drawn for one view, and for a batch.
use super::style::StyleParams;
use crate::data;
use crate::data::{Drawn, Region};
use crate::error::{Error, Result};
use crate::image::{Crop, Values};
use pyo3::exceptions::{PyIndexError, PyKeyError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

/// The parameters drawn for one view: a plain value to inspect and replay.
///
/// A mapping with the names of the view's operations as keys. A value is a dict of drawn values, or a `StyleParams` of one
/// image, or None if the operation is not applied.
#[pyclass(frozen, eq, mapping, from_py_object, module = "sassl._sassl")]
#[derive(Clone, PartialEq)]
pub(super) struct ViewParams(pub(super) data::ViewParams);

#[pymethods]
impl ViewParams {
    /// Args:
    ///     drawn: values by operation name, in the order of the operations. Operations without an entry are not applied. A crop
    ///         is {"top": ..., "left": ..., "height": ..., "width": ...} in pixels. The order of the items of a colour jitter
    ///         is the order in which its factors are applied.
    ///
    /// Raises:
    ///     TypeError: a value of the wrong type.
    ///     ValueError: a `StyleParams` of several images.
    #[new]
    #[pyo3(signature = (drawn: "dict[str, dict[str, float] | StyleParams | None]"))]
    fn new(drawn: &Bound<'_, PyDict>) -> PyResult<Self> {
        let one = |(name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>)| Ok((name.extract()?, drawn_of(&value)?));
        Ok(Self(data::ViewParams(drawn.iter().map(one).collect::<PyResult<_>>()?)))
    }

    #[pyo3(signature = () -> "tuple[typing.Any, ...]")]
    fn __getnewargs__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyDict>,)> {
        let drawn = PyDict::new(py);
        for (name, value) in &self.0.0 {
            drawn.set_item(name, to_python(py, value)?)?;
        }
        Ok((drawn,))
    }

    fn __getitem__<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        match self.0.of(name) {
            Some(drawn) => to_python(py, drawn),
            None => Err(PyKeyError::new_err(name.to_owned())),
        }
    }

    fn __contains__(&self, name: &str) -> bool {
        self.0.of(name).is_some()
    }

    fn __len__(&self) -> usize {
        self.0.0.len()
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(PyList::new(py, self.keys())?.try_iter()?.into_any())
    }

    /// Return the names of the operations, in order.
    fn keys(&self) -> Vec<String> {
        self.0.0.iter().map(|(name, _)| name.clone()).collect()
    }

    fn __repr__(&self) -> String {
        let parts = self.0.0.iter().filter_map(|(name, drawn)| match drawn {
            Drawn::Values(None) => None,
            Drawn::Values(Some(values)) => {
                let numbers: Vec<String> = values.0.iter().map(|(name, x)| format!("{name}={}", short(*x))).collect();
                Some(format!("{name}({})", numbers.join(", ")))
            }
            Drawn::Style(style) if style.apply => {
                Some(format!("{name}(alpha={:.3}, beta={:.3})", style.alpha, style.beta))
            }
            Drawn::Style(_) => None,
        });
        format!("ViewParams({})", parts.collect::<Vec<_>>().join(", "))
    }
}

/// The parameters drawn for all views of each image of a batch.
///
/// Args:
///     params: for each image, the parameters drawn for each view.
///     regions: for each image, (byte offset of the region's pixels, (top, left, height, width) of the region). None if the
///         loader returns crops.
#[pyclass(frozen, eq, sequence, module = "sassl._sassl")]
#[derive(PartialEq)]
pub(super) struct Draws {
    pub(super) params: Vec<Vec<data::ViewParams>>,
    pub(super) regions: Vec<Region>,
}

/// The byte offset of a region's pixels, and the region's top, left, height and width in the image.
type Place = (usize, (usize, usize, usize, usize));

#[pymethods]
impl Draws {
    #[new]
    #[pyo3(signature = (params, regions = None))]
    fn new(params: Vec<Vec<ViewParams>>, regions: Option<Vec<Place>>) -> Self {
        let params = params.into_iter().map(|image| image.into_iter().map(|params| params.0).collect()).collect();
        let region =
            |(begin, (top, left, height, width)): Place| Region { begin, part: Crop { top, left, height, width } };
        Self { params, regions: regions.into_iter().flatten().map(region).collect() }
    }

    /// True if the draws are for regions of decoded images, False if they are for crops.
    #[getter]
    fn of_images(&self) -> bool {
        !self.regions.is_empty()
    }

    fn __len__(&self) -> usize {
        self.params.len()
    }

    fn __getitem__(&self, image: usize) -> PyResult<Vec<ViewParams>> {
        let n = self.params.len();
        let found = self.params.get(image).ok_or_else(|| PyIndexError::new_err(format!("{image} of {n}")))?;
        Ok(of_views(found.clone()))
    }

    #[pyo3(signature = () -> "tuple[typing.Any, ...]")]
    fn __getnewargs__(&self) -> (Vec<Vec<ViewParams>>, Vec<Place>) {
        let place =
            |&Region { begin, part: Crop { top, left, height, width } }: &Region| (begin, (top, left, height, width));
        let params = self.params.iter().map(|image| of_views(image.clone())).collect();
        (params, self.regions.iter().map(place).collect())
    }
}

impl Draws {
    /// Checks the size, in bytes, of the pixels that the draws belong to.
    ///
    /// # Errors
    /// The pixels have a different size.
    pub(super) fn check(&self, views: &data::Views, bytes: usize) -> Result<()> {
        let expected = match self.regions.is_empty() {
            true => views.crops(self.params.len()).1,
            false => self.regions.iter().map(|region| region.begin + region.bytes()).max().unwrap_or(0),
        };
        match bytes == expected {
            true => Ok(()),
            false => Err(Error::shape(
                "pixels",
                format!("must have {expected} bytes for {} images", self.params.len()),
                bytes,
            )),
        }
    }
}

/// Formats an integer without decimals, and any other value with three.
fn short(x: f64) -> String {
    if x.fract() == 0.0 { format!("{x}") } else { format!("{x:.3}") }
}

fn drawn_of(value: &Bound<'_, PyAny>) -> PyResult<Drawn> {
    if value.is_none() {
        return Ok(Drawn::Values(None));
    }
    if let Ok(style) = value.cast::<StyleParams>() {
        return match &style.get().0[..] {
            [style] => Ok(Drawn::Style(style.clone())),
            all => Err(Error::shape("style", "must be that of one image", all.len()).into()),
        };
    }
    let numbers = value.cast::<PyDict>()?.iter();
    let one = |(name, x): (Bound<'_, PyAny>, Bound<'_, PyAny>)| Ok((name.extract::<String>()?.into(), x.extract()?));
    Ok(Drawn::Values(Some(Values(numbers.map(one).collect::<PyResult<_>>()?))))
}

fn to_python<'py>(py: Python<'py>, drawn: &Drawn) -> PyResult<Bound<'py, PyAny>> {
    match drawn {
        Drawn::Style(style) => Ok(Bound::new(py, StyleParams(vec![style.clone()]))?.into_any()),
        Drawn::Values(None) => Ok(py.None().into_bound(py)),
        Drawn::Values(Some(values)) => {
            let numbers = PyDict::new(py);
            for (name, x) in &values.0 {
                // Positions and sides are in whole pixels.
                match ["top", "left", "height", "width"].contains(&&**name) {
                    true => numbers.set_item(&**name, *x as i64)?,
                    false => numbers.set_item(&**name, x)?,
                }
            }
            Ok(numbers.into_any())
        }
    }
}

/// Wraps the draws of each view.
pub(super) fn of_views(params: Vec<data::ViewParams>) -> Vec<ViewParams> {
    params.into_iter().map(ViewParams).collect()
}

/// Unwraps the draws of each view.
///
/// # Errors
/// `params` does not have exactly `views` items.
pub(super) fn for_views(params: Vec<ViewParams>, views: usize) -> Result<Vec<data::ViewParams>> {
    match params.len() == views {
        true => Ok(params.into_iter().map(|params| params.0).collect()),
        false => Err(Error::shape("params", format!("must have length {views}, one for each view"), params.len())),
    }
}
