//! Memory of calls that are over, for the next ones.
use crate::memory::MOST_KEPT;
use std::ops::{Deref, DerefMut};
use std::sync::Mutex;

/// Memory that can serve another call, whatever is in it.
pub trait Reusable: Default {
    /// How much it is; more than [`MOST_KEPT`] is not kept.
    fn bytes(&self) -> usize;
}

/// What calls have left.
#[derive(Debug, Default)]
pub struct Idle<T>(Mutex<Vec<T>>);

impl<T: Reusable> Idle<T> {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self(Mutex::new(vec![]))
    }

    /// What another call has left, or something new; it comes back when the call is done with it.
    pub fn take(&self) -> Lent<'_, T> {
        // A lock that another thread held while this process was forked is never free: do without.
        let idle = self.0.try_lock().ok().and_then(|mut idle| idle.pop());
        Lent { memory: idle.unwrap_or_default(), owner: self }
    }
}

/// Memory in one call's hands.
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
