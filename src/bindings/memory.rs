//! Arrays of Python as memory for the loader's threads.
#![allow(unsafe_code)]
use crate::error::Error;
use crate::kernels::parts::Parts;
use numpy::{PyArrayDescrMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;

/// The rows of an array, each a part of this shape and type.
///
/// Until the parts are gone nobody else may use the array: it is one that `TwoViewLoader._allocate` has just made.
pub(super) fn parts(array: &Bound<'_, PyAny>, count: usize, shape: &[usize], dtype: &str) -> PyResult<Parts> {
    let wrong =
        |got: String| Error::shape("memory of a batch", format!("{dtype}, ({count}, {shape:?}), contiguous"), got);
    let array = array.cast::<PyUntypedArray>().map_err(|_| wrong("no array".into()))?;
    let found = array.dtype().str()?.to_string();
    let writable: bool = array.getattr("flags")?.getattr("writeable")?.extract()?;
    if !array.is_c_contiguous() || !writable || found != dtype || array.shape() != [&[count], shape].concat() {
        return Err(wrong(format!("{found}, {:?}", array.shape())).into());
    }
    let bytes = shape.iter().product::<usize>() * array.dtype().itemsize();
    // SAFETY: the array's own memory, contiguous and of this size, as checked; it lives as long as the reference, and is not resized
    // while there is one. That nobody else uses it is the contract above.
    Ok(unsafe {
        let memory = (*array.as_array_ptr()).fields.data.cast();
        Parts::new(memory, bytes, count, Box::new(array.clone().unbind()))
    })
}
