//! Memory in slots of equal size, which many threads write in parallel. Each slot is handed out once.
#![allow(unsafe_code)]
use std::any::Any;
use std::sync::atomic::{AtomicBool, Ordering};

/// Borrowed memory, divided into slots.
#[derive(Debug)]
pub struct Slots {
    memory: *mut u8,
    bytes: usize,
    taken: Box<[AtomicBool]>,
    /// Keeps the memory alive.
    _owner: Box<dyn Any + Send + Sync>,
}

// SAFETY: only the thread that took a slot can reach it.
unsafe impl Send for Slots {}
// SAFETY: as above.
unsafe impl Sync for Slots {}

impl Slots {
    /// Divides `memory` into `count` slots of `bytes` bytes.
    ///
    /// # Safety
    /// While `owner` lives, `memory` is valid for `count x bytes` writes. Nobody else reads or writes this memory until the
    /// returned value is dropped.
    pub unsafe fn new(memory: *mut u8, bytes: usize, count: usize, owner: Box<dyn Any + Send + Sync>) -> Self {
        Self { memory, bytes, taken: (0..count).map(|_| AtomicBool::new(false)).collect(), _owner: owner }
    }

    /// Number of slots.
    pub fn count(&self) -> usize {
        self.taken.len()
    }

    /// Takes a slot for writing.
    ///
    /// # Panics
    /// If `slot` is not below [`Slots::count`], or was already taken.
    #[expect(clippy::mut_from_ref, reason = "each slot is taken once")]
    pub fn take(&self, slot: usize) -> &mut [u8] {
        assert!(!self.taken[slot].swap(true, Ordering::AcqRel), "slot {slot} was taken before");
        // SAFETY: within the memory, and handed out to nobody else.
        unsafe { std::slice::from_raw_parts_mut(self.memory.add(slot * self.bytes), self.bytes) }
    }
}
