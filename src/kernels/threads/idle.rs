//! Memory kept between calls for reuse.
use crate::memory::MOST_KEPT;
use crossbeam_utils::atomic::AtomicCell;
use std::fmt::{self, Debug, Formatter};
use std::ops::{Deref, DerefMut};

/// Memory that another call can reuse regardless of its contents.
pub trait Reusable: Default {
    /// Size in bytes; memory larger than [`MOST_KEPT`] is not kept.
    fn bytes(&self) -> usize;
}

/// Maximum number of calls whose memory is kept.
const KEPT: usize = 256;

/// A store of memory left by finished calls, at most as much as concurrent calls have used at once. It has no lock, because a
/// lock that is held when the process is forked would stay locked forever in the child.
pub struct Idle<T>([AtomicCell<Option<Box<T>>>; KEPT]);

impl<T: Reusable> Idle<T> {
    /// Creates an empty store.
    pub const fn new() -> Self {
        Self([const { AtomicCell::new(None) }; KEPT])
    }

    /// Takes memory that a finished call has left, or creates new memory; when the guard is dropped, the memory returns to the
    /// store, unless it is too large to keep or the thread is panicking.
    pub fn take(&self) -> Lent<'_, T> {
        let memory = self.0.iter().find_map(AtomicCell::take).unwrap_or_default();
        Lent { memory: Some(memory), owner: self }
    }

    /// Puts memory in the first place. Memory kept there moves to the second place, and so on up to the first free place; if no
    /// place is free, the last memory is freed.
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

/// Memory in use by one call.
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
