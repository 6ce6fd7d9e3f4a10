//! Arrays of Python as memory for the loader's threads.
#![allow(unsafe_code)]
use crate::data;
use crate::data::Memory;
use crate::error::Error;
use crate::image::RgbImage;
use crate::kernels::threads::pool;
use crate::kernels::threads::slots::Slots;
use numpy::{PyArrayDescrMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::ops::Range;
use std::sync::Arc;

/// New arrays for each view of `n` images, of these shapes and this type, and the same memory in parts. Page-locked memory is torch's,
/// other is numpy's.
///
/// # Errors
/// There is no memory left; what numpy or torch has made is no such array, or one memory twice.
pub(super) fn views(
    py: Python<'_>,
    n: usize,
    shapes: &[[usize; 3]],
    dtype: &str,
    pinned: bool,
) -> PyResult<(Vec<Py<PyAny>>, Memory)> {
    let mut made: Vec<(Bound<'_, PyAny>, Range<usize>)> = vec![];
    for shape in shapes {
        let (array, place) = new(py, &[&[n], &shape[..]].concat(), dtype, pinned)?;
        if made.iter().any(|(_, other)| other.start < place.end && place.start < other.end) {
            return Err(Error::value("memory of a batch", "one for two views", "each has its own").into());
        }
        made.push((array, place));
    }
    // SAFETY: the arrays have just been made, and nobody else has seen them; they are what `checked` says, and lie apart. `Epoch` hands
    // them out when their parts are written, or lets go of them.
    let memory = made.iter().map(|(array, place)| unsafe { parts(array, place.clone(), n) }).collect();
    Ok((made.into_iter().map(|(array, _)| array.unbind()).collect(), memory))
}

/// A new array of bytes for the crops of all views of `n` images, as [`data::Views::crops`] has them, and the same memory in parts.
///
/// # Errors
/// As [`views`].
pub(super) fn crops(py: Python<'_>, n: usize, views: &data::Views, pinned: bool) -> PyResult<(Vec<Py<PyAny>>, Memory)> {
    let (begins, bytes) = views.crops(n);
    let (array, place) = new(py, &[bytes], "uint8", pinned)?;
    let part = |(begin, view): (&usize, &data::View)| {
        let begin = place.start + begin;
        // SAFETY: the array has just been made, and nobody else has seen it; it is what `checked` says, and these parts of it lie apart.
        // `Epoch` hands it out when its parts are written, or lets go of it.
        unsafe { parts(&array, begin..begin + n * 3 * view.size().0 * view.size().1, n) }
    };
    let memory = begins.iter().zip(views.views()).map(part).collect();
    Ok((vec![array.unbind()], memory))
}

/// Images one after the other in a new array of bytes, and where they begin.
///
/// # Errors
/// As [`views`].
pub(super) fn packed(py: Python<'_>, images: &[Arc<RgbImage>], pinned: bool) -> PyResult<(Py<PyAny>, Vec<usize>)> {
    let mut end = 0;
    let begin = |image: &Arc<RgbImage>| {
        let begin = end;
        end += image.bytes.len();
        begin
    };
    let begins: Vec<usize> = images.iter().map(begin).collect();
    let (array, place) = new(py, &[end], "uint8", pinned)?;
    let part = |(begin, image): (&usize, &Arc<RgbImage>)| {
        let begin = place.start + begin;
        // SAFETY: as in `crops`.
        unsafe { parts(&array, begin..begin + image.bytes.len(), 1) }
    };
    let memory: Vec<Slots> = begins.iter().zip(images).map(part).collect();
    py.detach(|| {
        pool::each(pool::cores(), memory.iter().zip(images), |(slot, image)| {
            slot.take(0).copy_from_slice(&image.bytes)
        });
    });
    drop(memory);
    Ok((array.unbind(), begins))
}

/// A new array, and where it lies.
fn new<'py>(
    py: Python<'py>,
    shape: &[usize],
    dtype: &str,
    pinned: bool,
) -> PyResult<(Bound<'py, PyAny>, Range<usize>)> {
    let array = match pinned {
        false => py.import("numpy")?.call_method1("empty", (shape, dtype))?,
        true => {
            let torch = py.import("torch")?;
            let options = PyDict::new(py);
            options.set_item("dtype", torch.getattr(dtype)?)?;
            options.set_item("pin_memory", true)?;
            torch.call_method("empty", (shape,), Some(&options))?.call_method0("numpy")?
        }
    };
    let place = checked(&array, shape, dtype)?;
    Ok((array, place))
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
