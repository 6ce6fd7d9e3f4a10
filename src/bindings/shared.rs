//! A value that Python threads share, such as a trainer; only one thread uses it at a time.
use crate::error::{Error, Result};
use crate::kernels::threads::lock::locked;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::thread::{self, ThreadId};

/// A value, and the thread that is using it.
pub(super) struct Shared<T> {
    /// The name of the value in errors.
    name: &'static str,
    value: Mutex<T>,
    /// The thread that is using the value.
    user: Mutex<Option<ThreadId>>,
    process: u32,
}

impl<T> Shared<T> {
    /// Wraps a value, which belongs to the current process.
    pub(super) fn new(name: &'static str, value: T) -> Self {
        Self { name, value: Mutex::new(value), user: Mutex::default(), process: std::process::id() }
    }

    /// Locks the value; waits while another thread uses it.
    ///
    /// # Errors
    /// - The calling thread is already using the value: a signal handler interrupted that use and makes this call.
    /// - The process was forked while another thread was using the value.
    pub(super) fn lend(&self) -> Result<Lent<'_, T>> {
        let (here, name) = (std::process::id(), self.name);
        if self.process == here {
            if *locked(&self.user) == Some(thread::current().id()) {
                return Err(Error::invalid(format!(
                    "the {name} is in use by this thread: a signal handler cannot use the {name} that it interrupts; let it \
                     set a flag, and check the flag after the call"
                )));
            }
            return Ok(Lent::new(locked(&self.value), &self.user));
        }
        match self.value.try_lock() {
            Ok(value) => Ok(Lent::new(value, &self.user)),
            Err(TryLockError::Poisoned(value)) => Ok(Lent::new(value.into_inner(), &self.user)),
            Err(TryLockError::WouldBlock) => Err(Error::invalid(format!(
                "process {here} was forked while another thread used the {name}, which stays in use here; load it anew"
            ))),
        }
    }
}

/// Exclusive access to a value for one thread.
pub(super) struct Lent<'a, T> {
    value: MutexGuard<'a, T>,
    user: &'a Mutex<Option<ThreadId>>,
}

impl<'a, T> Lent<'a, T> {
    fn new(value: MutexGuard<'a, T>, user: &'a Mutex<Option<ThreadId>>) -> Self {
        *locked(user) = Some(thread::current().id());
        Self { value, user }
    }
}

impl<T> Deref for Lent<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Lent<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T> Drop for Lent<'_, T> {
    fn drop(&mut self) {
        *locked(self.user) = None;
    }
}
