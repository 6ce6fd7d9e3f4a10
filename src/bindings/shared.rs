//! What several threads of Python may use, one after another: a trainer in one thread's hands.
use crate::error::{Error, Result};
use crate::kernels::threads::lock::locked;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::thread::{self, ThreadId};

/// A value, and who is at work on it.
pub(super) struct Shared<T> {
    /// What errors call it.
    name: &'static str,
    value: Mutex<T>,
    /// The thread that is at work on it.
    user: Mutex<Option<ThreadId>>,
    process: u32,
}

impl<T> Shared<T> {
    /// A value of this process.
    pub(super) fn new(name: &'static str, value: T) -> Self {
        Self { name, value: Mutex::new(value), user: Mutex::default(), process: std::process::id() }
    }

    /// Waits for another thread, and not for the one that asks: a handler of signals runs in the midst of a call.
    pub(super) fn lend(&self) -> Result<Lent<'_, T>> {
        let (here, name) = (std::process::id(), self.name);
        if self.process == here {
            if *locked(&self.user) == Some(thread::current().id()) {
                let remedy = format!(
                    "a signal's handler cannot use the {name} that it interrupts; let it set a flag, and ask for that after \
                     the call"
                );
                return Err(Error::value(name, "in use by this thread", remedy));
            }
            return Ok(Lent::new(locked(&self.value), &self.user));
        }
        match self.value.try_lock() {
            Ok(value) => Ok(Lent::new(value, &self.user)),
            Err(TryLockError::Poisoned(value)) => Ok(Lent::new(value.into_inner(), &self.user)),
            Err(TryLockError::WouldBlock) => {
                let remedy = format!(
                    "it was forked while another thread used this {name}, which stays in use here; load it anew"
                );
                Err(Error::value("process", here, remedy))
            }
        }
    }
}

/// A value in one thread's hands.
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
