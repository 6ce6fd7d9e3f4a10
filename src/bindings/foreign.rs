//! A call of Python from a thread that may outlive the interpreter.
#![allow(unsafe_code)]
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::hint::black_box;

/// Calls a function of Python.
///
/// Before version 3.14, an interpreter that ends lets each thread that comes back to it run out of its stack, as an exception does that
/// nobody catches; in Rust that would end the process by an abort. Here such a thread waits instead, until the process is gone.
pub(super) fn call<'py>(function: &Bound<'py, PyAny>, arguments: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyAny>> {
    type Call = unsafe extern "C-unwind" fn(*mut ffi::PyObject, *mut ffi::PyObject) -> *mut ffi::PyObject;
    // SAFETY: the same function, of which it is said that it may unwind.
    let call = unsafe {
        std::mem::transmute::<unsafe extern "C" fn(*mut ffi::PyObject, *mut ffi::PyObject) -> *mut ffi::PyObject, Call>(
            ffi::PyObject_CallObject,
        )
    };
    // The compiler must not see which function this is: it believes that the one it knows never unwinds, and would drop the guard.
    let call = black_box(call);
    let waits = Waits;
    // SAFETY: both are held, and the interpreter is.
    let made = unsafe { call(function.as_ptr(), arguments.as_ptr()) };
    std::mem::forget(waits);
    // SAFETY: what it gives is new, or null with an error set.
    unsafe { Bound::from_owned_ptr_or_err(function.py(), made) }
}

/// Dropped only when the stack runs out.
struct Waits;

impl Drop for Waits {
    fn drop(&mut self) {
        loop {
            std::thread::park();
        }
    }
}
