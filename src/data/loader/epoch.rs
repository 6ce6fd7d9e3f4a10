//! An epoch as seen by its consumer. The consumer opens a batch with memory for its views, and takes the batch when it is
//! complete.
use super::worker::{Open, Shared};
use super::{Batch, Loader, Memory};
use crate::error::{Error, Result};
use crate::kernels::threads::lock::{locked, wait_timeout};
use crate::kernels::threads::pool;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One pass over a loader's source, starting at a given batch.
///
/// The threads of an epoch end soon after the epoch is dropped. Dropping does not wait for them, because slow storage may block
/// a thread.
pub struct Epoch {
    shared: Arc<Shared>,
    process: u32,
    prefetch: usize,
}

impl Epoch {
    /// See [`Loader::start`].
    pub(super) fn start(
        loader: Arc<Loader>,
        epoch: u64,
        batch: usize,
        threads: usize,
        prefetch: usize,
    ) -> Result<Self> {
        let batches = loader.sampler.batches();
        if batch > batches {
            return Err(Error::value(
                "batch",
                batch,
                format!("must be at most the number of batches in an epoch ({batches})"),
            ));
        }
        let started =
            Self { shared: Arc::new(Shared::new(loader, epoch, batch)), process: std::process::id(), prefetch };
        for _ in 0..threads.max(1) {
            let shared = started.shared.clone();
            pool::start("sassl-loader", move || shared.serve()).map_err(|e| Error::io("a thread of the loader", e))?;
        }
        Ok(started)
    }

    /// Returns the number of images of the next batch to be opened; `None` if no batch may be opened now.
    pub fn wanted(&self) -> Option<usize> {
        let state = locked(&self.shared.state);
        let sampler = &self.shared.loader.sampler;
        let may = !state.over && state.open.len() <= self.prefetch && state.next < sampler.batches();
        may.then(|| sampler.share(state.next).rows.len())
    }

    /// Opens the next batch with memory for its views.
    ///
    /// # Panics
    /// If the memory does not have one slot for each image that [`Epoch::wanted`] counts.
    pub fn open(&self, memory: Memory) {
        let mut state = locked(&self.shared.state);
        let share = self.shared.loader.sampler.share(state.next);
        let n = share.rows.len();
        assert!(memory.iter().all(|parts| parts.count() == n), "memory for {n} images");
        let others = self.shared.others(&share);
        state.open.push_back(Open::new(share, memory, others));
        state.next += 1;
        drop(state);
        self.shared.work.notify_all();
    }

    /// Waits for the next batch and returns it; `None` after the timeout `patience`, or if no batch is open.
    ///
    /// # Errors
    /// An image of the batch cannot be read. The batch is then lost, and the next call returns the following batch.
    pub fn next(&self, patience: Duration) -> Result<Option<Batch>> {
        let deadline = Instant::now() + patience;
        let mut state = locked(&self.shared.state);
        loop {
            let Some(open) = state.open.front() else { return Ok(None) };
            if open.is_done() {
                break;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            state = wait_timeout(&self.shared.ready, state, left).0;
        }
        let Some(open) = state.open.pop_front() else { return Ok(None) };
        drop(state);
        open.batch().map(Some)
    }

    /// Returns `true` if batches are in progress or still to be opened.
    pub fn has_next(&self) -> bool {
        let state = locked(&self.shared.state);
        !state.over && (!state.open.is_empty() || state.next < self.shared.loader.sampler.batches())
    }

    /// Asks the threads to stop, and returns without waiting. Each thread stops after its current image.
    pub fn close(&mut self) {
        // A forked process has none of the threads, and a lock that one of them held is never released there.
        if self.process != std::process::id() {
            return;
        }
        let mut state = locked(&self.shared.state);
        state.over = true;
        state.open.clear();
        drop(state);
        self.shared.work.notify_all();
        self.shared.ready.notify_all();
    }
}

impl Drop for Epoch {
    fn drop(&mut self) {
        self.close();
    }
}
