//! Calls to Python functions from a thread that may outlive the interpreter.
#![allow(unsafe_code)]
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::hint::black_box;

/// Calls a Python function. The calling thread may outlive the interpreter.
///
/// Before Python 3.14, a finalizing interpreter terminates each thread that returns to it, by unwinding the thread's stack. In
/// Rust, the unwinding would abort the process. Here, the thread is parked instead until the process exits.
pub(super) fn call<'py>(function: &Bound<'py, PyAny>, arguments: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyAny>> {
    type Call = unsafe extern "C-unwind" fn(*mut ffi::PyObject, *mut ffi::PyObject) -> *mut ffi::PyObject;
    // SAFETY: the same function, declared as one that may unwind.
    let call = unsafe {
        std::mem::transmute::<unsafe extern "C" fn(*mut ffi::PyObject, *mut ffi::PyObject) -> *mut ffi::PyObject, Call>(
            ffi::PyObject_CallObject,
        )
    };
    // Hides the function from the compiler, which assumes that the original never unwinds, and would remove the guard.
    let call = black_box(call);
    let waits = Waits;
    // SAFETY: both objects are kept alive by the arguments, and this thread is attached to the interpreter.
    let made = unsafe { call(function.as_ptr(), arguments.as_ptr()) };
    std::mem::forget(waits);
    // SAFETY: the result is a new reference, or null with an error set.
    unsafe { Bound::from_owned_ptr_or_err(function.py(), made) }
}

/// A guard that parks its thread forever when dropped. It is dropped only if the stack is unwound.
struct Waits;

impl Drop for Waits {
    fn drop(&mut self) {
        loop {
            std::thread::park();
        }
    }
}
