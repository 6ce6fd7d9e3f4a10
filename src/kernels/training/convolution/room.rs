//! Buffers that the threads of one call leave for the threads of the next. The system would have to clear the pages of new
//! memory for each call, which takes longer than a small product.
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

/// A buffer for patches, and for packed factors.
pub(super) fn patches() -> Lent<'static, Room> {
    static PATCHES: Idle<Room> = Idle::new();
    PATCHES.take()
}

/// A buffer for the sums of a whole call.
pub(super) fn sums() -> Lent<'static, Room> {
    static SUMS: Idle<Room> = Idle::new();
    SUMS.take()
}
