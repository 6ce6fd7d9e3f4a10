//! Memory kept between calls for reuse.
use crate::memory::MOST_KEPT;
use std::ops::{Deref, DerefMut};
use std::sync::Mutex;

/// Memory that another call can reuse, regardless of its contents.
pub trait Reusable: Default {
    /// Size in bytes; memory larger than [`MOST_KEPT`] is not kept.
    fn bytes(&self) -> usize;
}

/// Memory left by finished calls.
#[derive(Debug, Default)]
pub struct Idle<T>(Mutex<Vec<T>>);

impl<T: Reusable> Idle<T> {
    /// Creates an empty store.
    pub const fn new() -> Self {
        Self(Mutex::new(vec![]))
    }

    /// Takes memory that a finished call has left, or creates new memory; it is returned to the store when the guard is
    /// dropped.
    pub fn take(&self) -> Lent<'_, T> {
        // A lock that another thread held when this process was forked is never released, so do not wait for it.
        let idle = self.0.try_lock().ok().and_then(|mut idle| idle.pop());
        Lent { memory: idle.unwrap_or_default(), owner: self }
    }
}

/// Memory in use by one call.
#[derive(Debug)]
pub struct Lent<'a, T: Reusable> {
    memory: T,
    owner: &'a Idle<T>,
}

impl<T: Reusable> Deref for Lent<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.memory
    }
}

impl<T: Reusable> DerefMut for Lent<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.memory
    }
}

impl<T: Reusable> Drop for Lent<'_, T> {
    fn drop(&mut self) {
        if self.memory.bytes() > MOST_KEPT || std::thread::panicking() {
            return;
        }
        if let Ok(mut idle) = self.owner.0.try_lock() {
            idle.push(std::mem::take(&mut self.memory));
        }
    }
}
