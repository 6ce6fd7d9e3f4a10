//! What the threads of an epoch share, and what each does: it takes an image of the first batch that has one left, and makes its views.
use super::{Batch, Loader, Memory};
use crate::data::{BatchStyles, ViewsParams};
use crate::error::{Error, Result};
use crate::image::RgbImage;
use crate::kernels::threads::lock::{locked, wait};
use crate::random::Key;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, OnceLock};

pub(super) struct Shared {
    pub(super) loader: Arc<Loader>,
    epoch: u64,
    order: Vec<u32>,
    pub(super) state: Mutex<State>,
    /// There is something to take, or it is over.
    pub(super) work: Condvar,
    /// The first batch is done.
    pub(super) ready: Condvar,
}

pub(super) struct State {
    /// The batch that is opened next.
    pub(super) next: usize,
    pub(super) open: VecDeque<Open>,
    pub(super) over: bool,
}

/// A batch on its way.
pub(super) struct Open {
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
    /// F of all of them, where styles come from the batch.
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

impl Open {
    /// The images at these places of the order, with memory for their views. Each has two stages where styles come from the batch.
    pub(super) fn new(places: Range<usize>, memory: Memory, needs_batch: bool) -> Self {
        let n = places.len();
        let job = Job {
            first: places.start,
            memory,
            slots: (0..n).map(|_| OnceLock::new()).collect(),
            z: OnceLock::new(),
            finished: (0..n).map(|_| OnceLock::new()).collect(),
        };
        let stages = match needs_batch {
            true => Stages { n, taken: [0; 2], done: [0; 2] },
            false => Stages { n, taken: [n, 0], done: [n, 0] },
        };
        Self { job: Arc::new(job), stages, error: None }
    }

    pub(super) fn is_done(&self) -> bool {
        self.stages.done[1] == self.stages.n
    }

    /// What was made, once it is done.
    pub(super) fn batch(self) -> Result<Batch> {
        if let Some((_, error)) = self.error {
            return Err(error);
        }
        let mut batch = Batch::default();
        for finished in &self.job.finished {
            let (index, target, name) = finished.get().cloned().unwrap_or_default();
            batch.indices.push(index);
            batch.targets.push(target);
            batch.names.push(name);
        }
        Ok(batch)
    }
}

impl Shared {
    pub(super) fn new(loader: Arc<Loader>, epoch: u64, batch: usize) -> Self {
        Self {
            epoch,
            order: loader.sampler.order(epoch),
            loader,
            state: Mutex::new(State { next: batch, open: VecDeque::new(), over: false }),
            work: Condvar::new(),
            ready: Condvar::new(),
        }
    }

    /// What a thread does until it is over.
    pub(super) fn serve(&self) {
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
