//! Memory kept between calls for reuse.
use crate::memory::MOST_KEPT;
use crossbeam_utils::atomic::AtomicCell;
use std::fmt::{self, Debug, Formatter};
use std::ops::{Deref, DerefMut};

/// Memory that later calls can reuse; the old contents do not matter.
pub trait Reusable: Default {
    /// Size in bytes; memory larger than [`MOST_KEPT`] is not kept.
    fn bytes(&self) -> usize;
}

/// Number of slots in a store.
const KEPT: usize = 256;

/// A lock-free store of memory left by finished calls.
///
/// The number of entries never exceeds the largest number of concurrent calls so far. A lock is avoided because a lock held
/// during a fork would stay locked forever in the child process.
pub struct Idle<T>([AtomicCell<Option<Box<T>>>; KEPT]);

impl<T: Reusable> Idle<T> {
    /// Creates an empty store.
    pub const fn new() -> Self {
        Self([const { AtomicCell::new(None) }; KEPT])
    }

    /// Takes memory from the store, or creates new memory if the store is empty.
    ///
    /// When the returned guard is dropped, the memory returns to the store. Memory larger than [`MOST_KEPT`] is freed instead,
    /// and so is memory of a panicking thread.
    pub fn take(&self) -> Lent<'_, T> {
        let memory = self.0.iter().find_map(AtomicCell::take).unwrap_or_default();
        Lent { memory: Some(memory), owner: self }
    }

    /// Puts memory into the first slot. Memory already there moves to the second slot, and so on up to the first free slot. If
    /// no slot is free, the memory of the last slot is freed.
    fn put(&self, memory: Box<T>) {
        let mut moving = Some(memory);
        for place in &self.0 {
            moving = place.swap(moving);
            if moving.is_none() {
                return;
            }
        }
    }
}

impl<T: Reusable> Default for Idle<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Debug for Idle<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Idle").finish_non_exhaustive()
    }
}

/// Guard for memory in use by one call.
#[derive(Debug)]
pub struct Lent<'a, T: Reusable> {
    /// `None` only after the guard was dropped.
    memory: Option<Box<T>>,
    owner: &'a Idle<T>,
}

impl<T: Reusable> Deref for Lent<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.memory.as_ref().expect("it is not dropped yet")
    }
}

impl<T: Reusable> DerefMut for Lent<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.memory.as_mut().expect("it is not dropped yet")
    }
}

impl<T: Reusable> Drop for Lent<'_, T> {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.take_if(|memory| memory.bytes() <= MOST_KEPT && !std::thread::panicking()) {
            self.owner.put(memory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Idle, Reusable};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    static CREATED: AtomicUsize = AtomicUsize::new(0);

    struct Counted;

    impl Default for Counted {
        fn default() -> Self {
            CREATED.fetch_add(1, Ordering::Relaxed);
            Self
        }
    }

    impl Reusable for Counted {
        fn bytes(&self) -> usize {
            0
        }
    }

    #[test]
    fn no_more_memory_is_created_than_threads_use_at_once() {
        let idle = Idle::<Counted>::new();
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..100_000).for_each(|_| drop(idle.take())));
            }
        });
        assert!(CREATED.load(Ordering::Relaxed) <= 8, "{CREATED:?}");
    }
}
