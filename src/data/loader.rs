//! Threads that make batches of two views.
//!
//! Whoever iterates opens batches, at most `prefetch` of them beyond the one it waits for, each with memory for its views; threads
//! take one image after the other, of the first batch that has one left, and write its views in place. Where styles come from the
//! batch, an image is taken twice: to decode and encode it, and when all of its batch are, to make its views.
//!
//! What an image becomes is a function of `(seed, epoch, index)`, never of threads.
use super::faults::Faults;
use super::{BatchStyles, Fault, Item, OnDamage, Reading, Sampler, Source, TwoViews, ViewsParams};
use crate::error::{Error, Result};
use crate::image::{Crop, DecodeOptions, Decoded, RgbImage};
use crate::kernels::threads::lock::{locked, wait, wait_timeout};
use crate::kernels::threads::slots::Parts;
use crate::random::Key;
use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::{Duration, Instant};

/// How many images may fail one after the other before it is the source that has failed.
const MOST_IN_A_ROW: usize = 100;

/// Memory for the left and the right views of a batch.
pub type Memory = [Parts; 2];

/// A batch whose views are written.
#[derive(Debug, Default)]
pub struct Batch {
    /// Which images, in order.
    pub indices: Vec<usize>,
    /// Their classes.
    pub targets: Vec<i64>,
    /// What they are called.
    pub names: Vec<OsString>,
}

/// A source, an order and views.
pub struct Loader {
    source: Arc<dyn Source>,
    views: Arc<TwoViews>,
    sampler: Sampler,
    reading: Reading,
    faults: Faults,
}

/// One pass over a loader's source, from some batch on. Its threads end soon after it: each keeps what it needs for the image it is
/// at, and nobody waits for one that storage keeps waiting.
pub struct Epoch {
    shared: Arc<Shared>,
    process: u32,
    prefetch: usize,
}

struct Shared {
    loader: Arc<Loader>,
    epoch: u64,
    order: Vec<u32>,
    state: Mutex<State>,
    /// There is something to take, or it is over.
    work: Condvar,
    /// The first batch is done.
    ready: Condvar,
}

struct State {
    /// The batch that is opened next.
    next: usize,
    open: VecDeque<Open>,
    over: bool,
}

/// A batch on its way.
struct Open {
    job: Arc<Job>,
    stages: Stages,
    /// The one of the lowest place.
    error: Option<(usize, Error)>,
}

/// How far a batch is: of each of two stages, how many images were taken and how many are done.
#[derive(Clone, Copy, Debug)]
struct Stages {
    n: usize,
    taken: [usize; 2],
    done: [usize; 2],
}

struct Job {
    first: usize,
    memory: Memory,
    slots: Vec<OnceLock<Slot>>,
    /// Of all of them, where styles come from the batch.
    z: OnceLock<Vec<f32>>,
    finished: Vec<OnceLock<(usize, i64, OsString)>>,
}

/// An image between the stages.
struct Slot {
    index: usize,
    target: i64,
    image: RgbImage,
    params: ViewsParams,
    z: Vec<f32>,
}

/// An image of a batch, at one of its stages.
struct Task {
    job: Arc<Job>,
    place: usize,
    stage: usize,
}

impl Loader {
    /// What an epoch needs.
    pub fn new(source: Arc<dyn Source>, views: Arc<TwoViews>, sampler: Sampler, reading: Reading) -> Self {
        Self { source, views, sampler, reading, faults: Faults::default() }
    }

    /// Its order.
    pub fn sampler(&self) -> &Sampler {
        &self.sampler
    }

    /// Its views.
    pub fn views(&self) -> &TwoViews {
        &self.views
    }

    /// What was replaced, or used although it is damaged, by name.
    pub fn faults(&self) -> BTreeMap<OsString, Fault> {
        self.faults.all()
    }

    /// Starts threads for the batches of an epoch from `batch` on.
    ///
    /// # Errors
    /// A batch beyond the epoch; the system has no thread left.
    pub fn start(self: &Arc<Self>, epoch: u64, batch: usize, threads: usize, prefetch: usize) -> Result<Epoch> {
        let batches = self.sampler.batches();
        if batch > batches {
            return Err(Error::value("batch", batch, format!("an epoch has {batches} batches")));
        }
        let shared = Arc::new(Shared {
            loader: self.clone(),
            epoch,
            order: self.sampler.order(epoch),
            state: Mutex::new(State { next: batch, open: VecDeque::new(), over: false }),
            work: Condvar::new(),
            ready: Condvar::new(),
        });
        let started = Epoch { shared, process: std::process::id(), prefetch };
        for _ in 0..threads.max(1) {
            let shared = started.shared.clone();
            let thread = std::thread::Builder::new().name("sassl-loader".into()).spawn(move || shared.serve());
            thread.map_err(|e| Error::io("a thread of the loader", e))?;
        }
        Ok(started)
    }

    /// Decodes the image at this place of the order, or what stands in for it; of it, what `region` says for its size.
    fn image(
        &self,
        order: &[u32],
        place: usize,
        region: &(dyn Fn(usize, usize) -> Crop + Sync),
    ) -> Result<(usize, RgbImage, i64)> {
        let Reading { least, exif, .. } = self.reading;
        let options = DecodeOptions { least, exif, region: Some(region) };
        let mut tried = 0;
        loop {
            let index = order[(place + tried) % order.len()] as usize;
            let error = match self.usable(index, &options)? {
                Ok((image, target)) => return Ok((index, image, target)),
                Err(error) => error,
            };
            self.faults.count(self.source.name(index), error.to_string(), false);
            tried += 1;
            if tried == order.len().min(MOST_IN_A_ROW) {
                let reason = format!("{tried} images in a row cannot be read, this the last of them: {error}");
                return Err(Error::image(self.source.name(index), reason));
            }
        }
    }

    /// An image that views can be made of, or the error for which another one is to take its place.
    fn usable(&self, index: usize, options: &DecodeOptions<'_>) -> Result<Result<(RgbImage, i64)>> {
        let Reading { on_error, on_damage, .. } = self.reading;
        let wrong = |reason: String| Error::image(self.source.name(index), reason);
        let Item { image: Decoded { pixels, damage }, target } = match self.source.get(index, options) {
            Ok(item) => item,
            Err(error) => return on_error.replaces(error).map(Err),
        };
        if let Some(damage) = &damage
            && on_damage != OnDamage::Use
        {
            let error = wrong(format!("damaged: {damage}"));
            return if on_damage == OnDamage::Replace { Ok(Err(error)) } else { Err(error) };
        }
        if let Err(error) = self.views.check(pixels.view()) {
            return on_error.replaces(wrong(error.to_string())).map(Err);
        }
        if let Some(damage) = damage {
            self.faults.count(self.source.name(index), format!("damaged: {damage}"), true);
        }
        Ok(Ok((pixels, target)))
    }
}

impl Epoch {
    /// Of how many images the next batch is that may be opened now, if one may.
    pub fn wanted(&self) -> Option<usize> {
        let state = locked(&self.shared.state);
        let sampler = &self.shared.loader.sampler;
        let may = !state.over && state.open.len() <= self.prefetch && state.next < sampler.batches();
        may.then(|| sampler.range(state.next).len())
    }

    /// Opens the next batch with memory for its views.
    ///
    /// # Panics
    /// If the memory is not for as many images as [`Epoch::wanted`] said.
    pub fn open(&self, memory: Memory) {
        let mut state = locked(&self.shared.state);
        let range = self.shared.loader.sampler.range(state.next);
        let n = range.len();
        assert!(memory.iter().all(|parts| parts.count() == n), "memory for {n} images");
        let job = Job {
            first: range.start,
            memory,
            slots: (0..n).map(|_| OnceLock::new()).collect(),
            z: OnceLock::new(),
            finished: (0..n).map(|_| OnceLock::new()).collect(),
        };
        let stages = match self.shared.loader.views.needs_batch() {
            true => Stages { n, taken: [0; 2], done: [0; 2] },
            false => Stages { n, taken: [n, 0], done: [n, 0] },
        };
        state.open.push_back(Open { job: Arc::new(job), stages, error: None });
        state.next += 1;
        drop(state);
        self.shared.work.notify_all();
    }

    /// The next batch, when it is done; None if it is not within this time, or if there is none.
    ///
    /// # Errors
    /// An image of the batch cannot be read: the batch is lost, and the next one comes after it.
    pub fn next(&self, patience: Duration) -> Result<Option<Batch>> {
        let deadline = Instant::now() + patience;
        let mut state = locked(&self.shared.state);
        loop {
            let Some(open) = state.open.front() else { return Ok(None) };
            if open.stages.done[1] == open.stages.n {
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
        if let Some((_, error)) = open.error {
            return Err(error);
        }
        let mut batch = Batch::default();
        for finished in &open.job.finished {
            let (index, target, name) = finished.get().cloned().unwrap_or_default();
            batch.indices.push(index);
            batch.targets.push(target);
            batch.names.push(name);
        }
        Ok(Some(batch))
    }

    /// Whether batches are on their way or still to be opened.
    pub fn has_next(&self) -> bool {
        let state = locked(&self.shared.state);
        !state.over && (!state.open.is_empty() || state.next < self.shared.loader.sampler.batches())
    }

    /// Tells its threads to end, each after the image it is at, and does not wait for them.
    pub fn close(&mut self) {
        // A forked process has none of them, and a lock that one of them held is never free there.
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

impl Shared {
    fn serve(&self) {
        while let Some(task) = self.take() {
            let done = catch_unwind(AssertUnwindSafe(|| self.run(&task)));
            let result = done.unwrap_or_else(|panic| {
                let index = self.order[task.job.first + task.place] as usize;
                let what = self.loader.source.name(index).to_string_lossy().into_owned();
                Err(panic.downcast::<Error>().map_or_else(|panic| Error::panic(what, &*panic), |error| *error))
            });
            self.done(task, result);
        }
    }

    /// The next image; None when it is over.
    fn take(&self) -> Option<Task> {
        let mut state = locked(&self.state);
        loop {
            if state.over {
                return None;
            }
            for open in &mut state.open {
                if let Some((stage, place)) = open.stages.take() {
                    return Some(Task { job: open.job.clone(), place, stage });
                }
            }
            state = wait(&self.work, state);
        }
    }

    fn done(&self, task: Task, result: Result<()>) {
        let mut state = locked(&self.state);
        // Not there when the epoch was closed meanwhile.
        let Some(open) = state.open.iter_mut().find(|open| Arc::ptr_eq(&open.job, &task.job)) else { return };
        if let Err(error) = result
            && open.error.as_ref().is_none_or(|(place, _)| task.place < *place)
        {
            open.error = Some((task.place, error));
        }
        open.stages.done[task.stage] += 1;
        let Stages { n, done, .. } = open.stages;
        // The batch may be the consumer's once this is free: what a thread still holds of it must not outlive that.
        drop(task);
        drop(state);
        match done {
            [_, all] if all == n => self.ready.notify_all(),
            [all, 0] if all == n => self.work.notify_all(),
            _ => {}
        }
    }

    fn run(&self, task: &Task) -> Result<()> {
        let Task { job, place, stage } = task;
        if !self.loader.views.needs_batch() {
            let slot = self.prepare(job, *place, false)?;
            return self.finish(job, *place, &slot, None);
        }
        if *stage == 0 {
            let slot = self.prepare(job, *place, true)?;
            drop(job.slots[*place].set(slot));
            return Ok(());
        }
        // Where another image of the batch is an error, so is the batch.
        let slots: Option<Vec<&Slot>> = job.slots.iter().map(OnceLock::get).collect();
        let Some(slots) = slots else { return Ok(()) };
        let z = job.z.get_or_init(|| slots.iter().flat_map(|slot| &slot.z).copied().collect());
        self.finish(job, *place, slots[*place], Some(BatchStyles { z, place: *place }))
    }

    /// Decodes an image, draws for it, and encodes it if need be.
    fn prepare(&self, job: &Job, place: usize, encode: bool) -> Result<Slot> {
        let views = &self.loader.views;
        // An image that stands in for another takes the other's draws: its own come with itself.
        let own = self.order[job.first + place];
        let key = Key { seed: self.loader.sampler.seed(), epoch: self.epoch, index: own.into(), view: 0 };
        let region = |height, width| views.region(key, (height, width));
        let (index, image, target) = self.loader.image(&self.order, job.first + place, &region)?;
        let params = views.sample(key, (image.height, image.width), (place, job.slots.len()));
        let z = match encode {
            true => views.encode(image.view(), &params).map_err(|error| self.named(index, &error))?,
            false => vec![],
        };
        Ok(Slot { index, target, image, params, z })
    }

    fn finish(&self, job: &Job, place: usize, slot: &Slot, batch: Option<BatchStyles>) -> Result<()> {
        let out = [job.memory[0].take(place), job.memory[1].take(place)];
        let done = self.loader.views.apply(slot.image.view(), &slot.params, batch, out);
        done.map_err(|error| self.named(slot.index, &error))?;
        drop(job.finished[place].set((slot.index, slot.target, self.loader.source.name(slot.index))));
        Ok(())
    }

    /// An error of an image with its name.
    fn named(&self, index: usize, error: &Error) -> Error {
        Error::image(self.loader.source.name(index), error.to_string())
    }
}

impl Stages {
    /// The next image to take, with its stage.
    fn take(&mut self) -> Option<(usize, usize)> {
        let stage = usize::from(self.taken[0] == self.n);
        let free = self.taken[stage] < self.n && (stage == 0 || self.done[0] == self.n);
        free.then(|| {
            self.taken[stage] += 1;
            (stage, self.taken[stage] - 1)
        })
    }
}
