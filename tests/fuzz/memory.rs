//! The allocator of the harness: it counts the memory in use, records the peak, and fails allocations that exceed a bound.
#![allow(unsafe_code)]
use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static BOUND: AtomicUsize = AtomicUsize::new(usize::MAX);

struct Bounded;

#[global_allocator]
static ALLOCATOR: Bounded = Bounded;

fn taken(size: usize) -> bool {
    let held = HELD.fetch_add(size, Relaxed) + size;
    let fits = held <= BOUND.load(Relaxed);
    match fits {
        true => drop(PEAK.fetch_max(held, Relaxed)),
        false => drop(HELD.fetch_sub(size, Relaxed)),
    }
    fits
}

// SAFETY: forwards to the system's allocator with the caller's layouts, or returns null, which the contract allows for a failed
// allocation, if the bound would be exceeded. The counts are atomic and do not allocate.
unsafe impl GlobalAlloc for Bounded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: guaranteed by the caller.
        if taken(layout.size()) { unsafe { System.alloc(layout) } } else { null_mut() }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: guaranteed by the caller.
        if taken(layout.size()) { unsafe { System.alloc_zeroed(layout) } } else { null_mut() }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: guaranteed by the caller.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !taken(size.saturating_sub(layout.size())) {
            return null_mut();
        }
        HELD.fetch_sub(layout.size().saturating_sub(size), Relaxed);
        // SAFETY: guaranteed by the caller.
        unsafe { System.realloc(at, layout, size) }
    }
}

/// Runs `work` with at most `bound` bytes to allocate; returns its result and its peak memory.
pub fn within<T>(bound: usize, work: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.load(Relaxed);
    PEAK.store(before, Relaxed);
    BOUND.store(before + bound, Relaxed);
    let result = work();
    BOUND.store(usize::MAX, Relaxed);
    (result, PEAK.load(Relaxed) - before)
}
