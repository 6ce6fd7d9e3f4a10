//! Conversions between numpy arrays and the core's slices and vectors, shared by the other files.
use crate::error::{Error, Result, tuple};
use crate::kernels::inference::pixels::{Pixels, PixelsMut};
use crate::memory::zeros;
use crate::style::Images;
use numpy::{Element, PyArray1, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyString;

/// A contiguous numpy array, borrowed while the core reads it.
pub(super) struct Held<'py, T: Element>(PyReadonlyArrayDyn<'py, T>);

impl<'py, T: Element> Held<'py, T> {
    pub(super) fn new(array: &Bound<'py, PyArrayDyn<T>>) -> PyResult<Self> {
        if array.is_c_contiguous() {
            return Ok(Self(array.try_readonly()?));
        }
        let copy = array.py().import("numpy")?.call_method1("ascontiguousarray", (array,))?;
        Ok(Self(copy.cast_into::<PyArrayDyn<T>>()?.try_readonly()?))
    }

    pub(super) fn shape(&self) -> &[usize] {
        self.0.shape()
    }

    pub(super) fn slice(&self) -> PyResult<&[T]> {
        Ok(self.0.as_slice()?)
    }
}

/// Images from Python: uint8 or float32.
pub(super) enum HeldImages<'py> {
    U8(Held<'py, u8>),
    F32(Held<'py, f32>),
}

/// Pixels computed by the core.
pub(super) enum Made {
    U8(Vec<u8>),
    F32(Vec<f32>),
}

impl<'py> HeldImages<'py> {
    pub(super) fn new(images: &Bound<'py, PyAny>) -> PyResult<Self> {
        if let Ok(images) = images.cast::<PyArrayDyn<u8>>() {
            return Ok(Self::U8(Held::new(images)?));
        }
        if let Ok(images) = images.cast::<PyArrayDyn<f32>>() {
            return Ok(Self::F32(Held::new(images)?));
        }
        Err(wrong_type("images", images, "a numpy array of uint8, or of float32 in [0, 1]"))
    }

    pub(super) fn shape(&self) -> &[usize] {
        match self {
            Self::U8(images) => images.shape(),
            Self::F32(images) => images.shape(),
        }
    }

    /// Returns the validated batch; a single image, `(H, W, 3)`, is a batch of one.
    pub(super) fn images(&self) -> PyResult<Images<'_>> {
        let pixels = match self {
            Self::U8(images) => Pixels::U8(images.slice()?),
            Self::F32(images) => Pixels::F32(images.slice()?),
        };
        let shape = match self.shape() {
            &[height, width, 3] => &[1, height, width, 3][..],
            shape => shape,
        };
        Ok(Images::new(pixels, shape)?)
    }

    /// Allocates a result with the size and dtype of the images.
    pub(super) fn room(&self) -> Result<Made> {
        let len = self.shape().iter().product();
        Ok(match self {
            Self::U8(_) => Made::U8(zeros("images", len)?),
            Self::F32(_) => Made::F32(zeros("images", len)?),
        })
    }
}

impl Made {
    pub(super) fn pixels(&mut self) -> PixelsMut<'_> {
        match self {
            Self::U8(out) => PixelsMut::U8(out),
            Self::F32(out) => PixelsMut::F32(out),
        }
    }

    pub(super) fn into_array<'py>(self, py: Python<'py>, shape: &[usize]) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Self::U8(out) => into_array(py, out, shape),
            Self::F32(out) => into_array(py, out, shape),
        }
    }
}

/// Converts a vector to an array that owns it; nothing is copied.
pub(super) fn into_array<'py, T: Element>(
    py: Python<'py>,
    numbers: Vec<T>,
    shape: &[usize],
) -> PyResult<Bound<'py, PyAny>> {
    Ok(PyArray1::from_vec(py, numbers).reshape(shape)?.into_any())
}

/// Converts values of any shape and numeric type to float32.
pub(super) fn floats<'py>(name: &str, numbers: &Bound<'py, PyAny>) -> PyResult<Held<'py, f32>> {
    let float32 = numbers.py().import("numpy")?.call_method1("asarray", (numbers, "float32"));
    let array = float32.map_err(|_| wrong_type(name, numbers, "values, or an array of them"))?;
    Held::new(array.cast::<PyArrayDyn<f32>>()?)
}

/// Checks that style vectors have the shape `(dim,)` or `(n, dim)`, and converts them to float32.
pub(super) fn vectors<'py>(name: &str, z: &Bound<'py, PyAny>, dim: usize) -> PyResult<Held<'py, f32>> {
    let z = floats(name, z)?;
    match z.shape() {
        [last] | [_, last] if *last == dim => Ok(z),
        other => Err(Error::shape(name, format!("must have shape (n, {dim}) or ({dim},)"), tuple(other)).into()),
    }
}

pub(super) fn wrong_type(name: &str, got: &Bound<'_, PyAny>, expected: &str) -> PyErr {
    let class = got.get_type().name().map_or_else(|_| "object".to_owned(), |name| name.to_string());
    let dtype = got.getattr("dtype").ok().and_then(|dtype| dtype.str().ok());
    let dtype =
        dtype.as_ref().map(Bound::<PyString>::to_string).map_or_else(String::new, |dtype| format!(" of {dtype}"));
    PyTypeError::new_err(format!("{name} must be {expected}, got {class}{dtype}"))
}
