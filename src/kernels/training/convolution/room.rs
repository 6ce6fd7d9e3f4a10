//! Scratch buffers that are reused by later calls. New memory would have to be cleared by the system in each call, which takes
//! longer than a small product.
use crate::kernels::threads::idle::{Idle, Lent, Reusable};

/// A buffer of arbitrary values.
#[derive(Debug, Default)]
pub(super) struct Room(Vec<f32>);

impl Reusable for Room {
    fn bytes(&self) -> usize {
        self.0.capacity() * size_of::<f32>()
    }
}

impl Room {
    /// Returns the buffer, enlarged to at least `n` values.
    pub(super) fn of(&mut self, n: usize) -> &mut Vec<f32> {
        if self.0.len() < n {
            self.0.resize(n, 0.0);
        }
        &mut self.0
    }
}

/// Borrows a buffer for patches or for packed factors.
pub(super) fn patches() -> Lent<'static, Room> {
    static PATCHES: Idle<Room> = Idle::new();
    PATCHES.take()
}

/// Borrows a buffer for the sums of a whole call.
pub(super) fn sums() -> Lent<'static, Room> {
    static SUMS: Idle<Room> = Idle::new();
    SUMS.take()
}
