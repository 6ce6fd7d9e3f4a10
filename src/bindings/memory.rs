//! Arrays of Python as memory for the loader's threads.
#![allow(unsafe_code)]
use crate::data::Memory;
use crate::error::Error;
use crate::kernels::threads::slots::Slots;
use numpy::{PyArrayDescrMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::ops::Range;

/// New arrays for the left and the right views of `n` images of this shape and type, and the same memory in parts. Page-locked memory
/// is torch's, other is numpy's.
///
/// # Errors
/// There is no memory left; what numpy or torch has made is no such array, or one memory twice.
pub(super) fn views(
    py: Python<'_>,
    n: usize,
    shape: &[usize],
    dtype: &str,
    pinned: bool,
) -> PyResult<([Py<PyAny>; 2], Memory)> {
    let shape = [&[n], shape].concat();
    let new = || match pinned {
        false => py.import("numpy")?.call_method1("empty", (&shape, dtype)),
        true => {
            let torch = py.import("torch")?;
            let options = PyDict::new(py);
            options.set_item("dtype", torch.getattr(dtype)?)?;
            options.set_item("pin_memory", true)?;
            torch.call_method("empty", (&shape,), Some(&options))?.call_method0("numpy")
        }
    };
    let arrays = [new()?, new()?];
    let [left, right] = [0, 1].map(|which| checked(&arrays[which], &shape, dtype));
    let (left, right) = (left?, right?);
    if left.start < right.end && right.start < left.end {
        return Err(Error::value("memory of a batch", "one for both views", "each has its own").into());
    }
    // SAFETY: both arrays have just been made, and nobody else has seen them; they are what `checked` says, and lie apart. `Epoch` hands
    // them out when their parts are written, or lets go of them.
    let memory = [(&arrays[0], left), (&arrays[1], right)].map(|(array, place)| unsafe { parts(array, place, n) });
    Ok((arrays.map(Bound::unbind), memory))
}

/// Where an array lies, if it is writable, contiguous, of this shape and type.
fn checked(array: &Bound<'_, PyAny>, shape: &[usize], dtype: &str) -> PyResult<Range<usize>> {
    let wrong = |got: String| Error::shape("memory of a batch", format!("{dtype}, {shape:?}, contiguous"), got);
    let array = array.cast::<PyUntypedArray>().map_err(|_| wrong("no array".into()))?;
    let found = array.dtype().str()?.to_string();
    let writable: bool = array.getattr("flags")?.getattr("writeable")?.extract()?;
    if !array.is_c_contiguous() || !writable || found != dtype || array.shape() != shape {
        return Err(wrong(format!("{found}, {:?}", array.shape())).into());
    }
    // SAFETY: an array, as was checked.
    let start = unsafe { (*array.as_array_ptr()).fields.data } as usize;
    Ok(start..start + shape.iter().product::<usize>() * array.dtype().itemsize())
}

/// An array's memory in `n` equal parts.
///
/// # Safety
/// The array lies there, may be written, and until the parts are gone nobody else reads or writes it.
unsafe fn parts(array: &Bound<'_, PyAny>, place: Range<usize>, n: usize) -> Slots {
    let owner = Box::new(array.clone().unbind());
    // SAFETY: the array's own memory; it lives as long as the reference, and is not resized while there is one.
    unsafe { Slots::new(std::ptr::with_exposed_provenance_mut(place.start), place.len() / n, n, owner) }
}
