//! Memory in equal slots, which many threads write at once: each slot is handed out once.
#![allow(unsafe_code)]
use std::any::Any;
use std::sync::atomic::{AtomicBool, Ordering};

/// Memory that belongs to someone else, slot by slot.
#[derive(Debug)]
pub struct Slots {
    memory: *mut u8,
    bytes: usize,
    taken: Box<[AtomicBool]>,
    /// Keeps the memory.
    _owner: Box<dyn Any + Send + Sync>,
}

// SAFETY: a slot is reachable by whoever took it, and by no other.
unsafe impl Send for Slots {}
// SAFETY: as above.
unsafe impl Sync for Slots {}

impl Slots {
    /// `count` slots of `bytes` bytes.
    ///
    /// # Safety
    /// As long as `owner` lives, `memory` is valid for `count x bytes` writes, and until this is gone nobody else reads or writes
    /// it.
    pub unsafe fn new(memory: *mut u8, bytes: usize, count: usize, owner: Box<dyn Any + Send + Sync>) -> Self {
        Self { memory, bytes, taken: (0..count).map(|_| AtomicBool::new(false)).collect(), _owner: owner }
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.taken.len()
    }

    /// A slot, to write.
    ///
    /// # Panics
    /// If there is no such slot, or it was taken before.
    #[expect(clippy::mut_from_ref, reason = "each slot is taken once")]
    pub fn take(&self, slot: usize) -> &mut [u8] {
        assert!(!self.taken[slot].swap(true, Ordering::AcqRel), "slot {slot} was taken before");
        // SAFETY: within the memory, and nobody else's.
        unsafe { std::slice::from_raw_parts_mut(self.memory.add(slot * self.bytes), self.bytes) }
    }
}
