//! Python's arrays as memory for the loader's threads.
#![allow(unsafe_code)]
use crate::data;
use crate::data::Memory;
use crate::error::{Error, tuple};
use crate::image::RgbImage;
use crate::kernels::threads::pool;
use crate::kernels::threads::slots::Slots;
use numpy::{PyArrayDescrMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::ops::Range;
use std::sync::Arc;

/// Creates an array for each view of a batch of `n` images, and returns the arrays and their memory.
///
/// `shapes` holds the shape of each view of a single image. The memory of an array is split into one part per image. torch
/// allocates page-locked memory, numpy all other memory.
///
/// # Errors
/// There is not enough memory; an allocated array has the wrong shape or dtype; or two arrays share memory.
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
            return Err(
                Error::value("memory of a batch", "one array for two views", "must be separate for each view").into()
            );
        }
        made.push((array, place));
    }
    // SAFETY: the arrays are new, and nobody else has a reference to them; `checked` has verified them, and they do not
    // overlap. `Epoch` returns them once their parts are written, or drops them.
    let memory = made.iter().map(|(array, place)| unsafe { parts(array, place.clone(), n) }).collect();
    Ok((made.into_iter().map(|(array, _)| array.unbind()).collect(), memory))
}

/// Creates an array of bytes for the crops of all views of `n` images, and returns the array and its memory.
///
/// The layout is that of [`data::Views::crops`]. The memory is split into one part per view and image.
///
/// # Errors
/// As in [`views`].
pub(super) fn crops(py: Python<'_>, n: usize, views: &data::Views, pinned: bool) -> PyResult<(Vec<Py<PyAny>>, Memory)> {
    let (begins, bytes) = views.crops(n);
    let (array, place) = new(py, &[bytes], "uint8", pinned)?;
    let part = |(begin, view): (&usize, &data::View)| {
        let begin = place.start + begin;
        // SAFETY: the array is new, and nobody else has a reference to it; `checked` has verified it, and these parts of it do
        // not overlap. `Epoch` returns it once its parts are written, or drops it.
        unsafe { parts(&array, begin..begin + n * 3 * view.size().0 * view.size().1, n) }
    };
    let memory = begins.iter().zip(views.views()).map(part).collect();
    Ok((vec![array.unbind()], memory))
}

/// Copies images to consecutive parts of a new array of bytes. Returns the array and the byte offset of each image.
///
/// # Errors
/// As in [`views`].
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

/// Creates an array, and returns it with its address range.
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

/// Checks that an array is writable, contiguous, and of this shape and dtype, and returns its address range.
fn checked(array: &Bound<'_, PyAny>, shape: &[usize], dtype: &str) -> PyResult<Range<usize>> {
    let wrong = |got: String| {
        let requirement = format!("must be a contiguous, writable array of {dtype} and shape {}", tuple(shape));
        Error::shape("memory of a batch", requirement, got)
    };
    let array = array.cast::<PyUntypedArray>().map_err(|_| wrong("another object".into()))?;
    let found = array.dtype().str()?.to_string();
    let writable: bool = array.getattr("flags")?.getattr("writeable")?.extract()?;
    if !array.is_c_contiguous() || !writable || found != dtype || array.shape() != shape {
        return Err(wrong(format!("an array of {found} and shape {}", tuple(array.shape()))).into());
    }
    // SAFETY: the cast above has verified that this is an array.
    let start = unsafe { (*array.as_array_ptr()).fields.data } as usize;
    Ok(start..start + shape.iter().product::<usize>() * array.dtype().itemsize())
}

/// Splits an array's memory into `n` equal parts.
///
/// # Safety
/// `place` is a writable part of the array's memory. Nobody else reads or writes this part until the returned slots are
/// dropped.
unsafe fn parts(array: &Bound<'_, PyAny>, place: Range<usize>, n: usize) -> Slots {
    let owner = Box::new(array.clone().unbind());
    // SAFETY: the memory is owned by the array, which is kept alive, and not resized, while this reference exists.
    unsafe { Slots::new(std::ptr::with_exposed_provenance_mut(place.start), place.len() / n, n, owner) }
}
