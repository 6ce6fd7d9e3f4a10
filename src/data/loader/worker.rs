//! The state shared by an epoch's threads, and their work.
//!
//! A thread repeatedly takes an image of the first batch with images left to process, and computes the image's views. A row is
//! a position in a batch, counted over all ranks; a slot is the place of an image that this rank decodes.
use super::{Batch, Loader, Makes, Memory};
use crate::data::regions::cut;
use crate::data::sampler::Share;
use crate::data::{BatchStyles, ViewParams};
use crate::error::{Error, Result};
use crate::image::{Crop, RgbImage};
use crate::kernels::threads::lock::{locked, wait};
use crate::random::Key;
use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, OnceLock};

pub(super) struct Shared {
    pub(super) loader: Arc<Loader>,
    epoch: u64,
    order: Vec<u32>,
    pub(super) state: Mutex<State>,
    /// Signals new work, or the end of the epoch.
    pub(super) work: Condvar,
    /// Signals that the first batch is complete.
    pub(super) ready: Condvar,
}

pub(super) struct State {
    /// The index of the next batch to open.
    pub(super) next: usize,
    pub(super) open: VecDeque<Open>,
    pub(super) over: bool,
}

/// A batch in progress.
pub(super) struct Open {
    job: Arc<Job>,
    stages: Stages,
    /// The error at the lowest position in the batch so far, with that position.
    error: Option<(usize, Error)>,
}

/// The progress of a batch at each of the two stages: how many images there are, how many are taken by threads, and how many
/// are done.
#[derive(Clone, Copy, Debug)]
struct Stages {
    n: [usize; 2],
    taken: [usize; 2],
    done: [usize; 2],
}

struct Job {
    share: Share,
    memory: Memory,
    /// Rows of other ranks that this rank uses as in-batch styles.
    others: Vec<usize>,
    /// The decoded images: first this rank's rows, then the rows `others`.
    slots: Vec<OnceLock<Slot>>,
    /// Style vectors of the whole batch, by row; zeros for rows without a slot.
    z: OnceLock<Vec<f32>>,
    finished: Vec<OnceLock<Finished>>,
}

/// The results for an image that has passed all stages.
#[derive(Clone, Debug, Default)]
struct Finished {
    index: usize,
    target: i64,
    name: OsString,
    /// The drawn parameters, if operations remain to be applied.
    params: Vec<ViewParams>,
    /// The decoded region and its location in the image, if the views remain to be computed.
    region: Option<(Arc<RgbImage>, Crop)>,
}

/// A decoded image, between the two stages.
struct Slot {
    index: usize,
    target: i64,
    image: RgbImage,
    params: Vec<ViewParams>,
    z: Vec<f32>,
}

/// A unit of work: an image of a batch, at one of the two stages.
struct Task {
    job: Arc<Job>,
    place: usize,
    stage: usize,
}

impl Job {
    /// Returns the row of a slot in the whole batch.
    fn row(&self, slot: usize) -> usize {
        let own = self.share.rows.len();
        if slot < own { self.share.rows.start + slot } else { self.others[slot - own] }
    }
}

impl Open {
    /// Creates a rank's share of a batch, with memory for its views.
    ///
    /// `others` are rows of other ranks that must also be encoded; `None` without in-batch styles. With in-batch styles, each
    /// image is processed in two stages.
    pub(super) fn new(share: Share, memory: Memory, others: Option<Vec<usize>>) -> Self {
        let own = share.rows.len();
        let all = own + others.as_ref().map_or(0, Vec::len);
        let stages = match &others {
            Some(_) => Stages { n: [all, own], taken: [0; 2], done: [0; 2] },
            None => Stages { n: [0, own], taken: [0; 2], done: [0; 2] },
        };
        let job = Job {
            share,
            memory,
            others: others.unwrap_or_default(),
            slots: (0..all).map(|_| OnceLock::new()).collect(),
            z: OnceLock::new(),
            finished: (0..own).map(|_| OnceLock::new()).collect(),
        };
        Self { job: Arc::new(job), stages, error: None }
    }

    pub(super) fn is_done(&self) -> bool {
        self.stages.done == self.stages.n
    }

    /// Returns the complete batch, or its error.
    pub(super) fn batch(self) -> Result<Batch> {
        if let Some((_, error)) = self.error {
            return Err(error);
        }
        let mut batch = Batch::default();
        for finished in &self.job.finished {
            let Finished { index, target, name, params, region } = finished.get().cloned().unwrap_or_default();
            batch.indices.push(index);
            batch.targets.push(target);
            batch.names.push(name);
            batch.params.push(params);
            batch.regions.extend(region);
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

    /// Runs the main loop of a thread.
    pub(super) fn serve(&self) {
        while let Some(task) = self.take() {
            let done = catch_unwind(AssertUnwindSafe(|| self.run(&task)));
            let result = done.unwrap_or_else(|panic| {
                let index = self.index(&task.job, task.place);
                let what = self.loader.source.name(index).to_string_lossy().into_owned();
                Err(panic.downcast::<Error>().map_or_else(|panic| Error::panic(what, &*panic), |error| *error))
            });
            self.done(task, result);
        }
    }

    /// Returns the next image to process, waiting for one if necessary; `None` at the end of the epoch.
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
        // The batch is missing if the epoch was closed meanwhile.
        let Some(open) = state.open.iter_mut().find(|open| Arc::ptr_eq(&open.job, &task.job)) else { return };
        if let Err(error) = result
            && open.error.as_ref().is_none_or(|(place, _)| task.place < *place)
        {
            open.error = Some((task.place, error));
        }
        open.stages.done[task.stage] += 1;
        let Stages { n, done, .. } = open.stages;
        let is_encoded = task.stage == 0 && done[0] == n[0];
        // Once the lock is released, the consumer may own the batch, so the thread must have dropped its references by then.
        drop(task);
        drop(state);
        if done == n {
            self.ready.notify_all();
        } else if is_encoded {
            self.work.notify_all();
        }
    }

    fn run(&self, task: &Task) -> Result<()> {
        let Task { job, place, stage } = task;
        if !self.loader.needs_batch() {
            let slot = self.prepare(job, *place, false)?;
            return match self.loader.makes {
                Makes::Regions => self.keep(job, *place, slot),
                Makes::Views | Makes::Crops => self.finish(job, *place, &slot, None),
            };
        }
        if *stage == 0 {
            let mut slot = self.prepare(job, *place, true)?;
            if *place >= job.share.rows.len() {
                slot.image = RgbImage::default();
            }
            drop(job.slots[*place].set(slot));
            return Ok(());
        }
        // If another image of the batch has failed, the batch has an error already.
        let slots: Option<Vec<&Slot>> = job.slots.iter().map(OnceLock::get).collect();
        let Some(slots) = slots else { return Ok(()) };
        let z = job.z.get_or_init(|| {
            let dim = slots[0].z.len();
            let mut z = vec![0.0; job.share.images.max(job.share.rows.end) * dim];
            for (slot, prepared) in slots.iter().enumerate() {
                z[job.row(slot) * dim..][..dim].copy_from_slice(&prepared.z);
            }
            z
        });
        self.finish(job, *place, slots[*place], Some(BatchStyles { z, place: job.row(*place) }))
    }

    /// Returns the rows of other ranks that this rank uses as in-batch styles; `None` without in-batch styles.
    pub(super) fn others(&self, share: &Share) -> Option<Vec<usize>> {
        let views = &self.loader.views;
        let asked = |row: usize| {
            // The parameters drawn for a style do not depend on the size of the image.
            views.styles_of_batch(&views.sample(self.key(share, row), (64, 64), (row, share.images)))
        };
        self.loader.needs_batch().then(|| {
            // A single rank has all rows.
            let own = if share.rows == (0..share.images) { 0..0 } else { share.rows.clone() };
            let rows = own.flat_map(asked);
            rows.filter(|row| !share.rows.contains(row)).collect::<BTreeSet<_>>().into_iter().collect()
        })
    }

    /// Returns the key of a row's draws. If the row's image is replaced, the replacement gets the same draws.
    fn key(&self, share: &Share, row: usize) -> Key {
        let own = self.order[(share.first + row) % self.order.len()];
        Key { seed: self.loader.sampler.seed(), epoch: self.epoch, index: own.into(), view: 0 }
    }

    /// Returns the image index of a slot.
    fn index(&self, job: &Job, slot: usize) -> usize {
        self.key(&job.share, job.row(slot)).index as usize
    }

    /// Decodes an image, draws its parameters, and computes its style vector if `encode`.
    fn prepare(&self, job: &Job, slot: usize, encode: bool) -> Result<Slot> {
        let views = &self.loader.views;
        let row = job.row(slot);
        let key = self.key(&job.share, row);
        let region = |height, width| views.region(key, (height, width));
        let (index, image, target) = self.loader.image(&self.order, job.share.first + row, &region)?;
        let params = views.sample(key, (image.height, image.width), (row, job.share.images));
        let z = match encode {
            true => views.encode(image.view(), &params).map_err(|error| self.named(index, error))?,
            false => vec![],
        };
        Ok(Slot { index, target, image, params, z })
    }

    fn finish(&self, job: &Job, place: usize, slot: &Slot, batch: Option<BatchStyles>) -> Result<()> {
        let Loader { views, makes, source, .. } = &*self.loader;
        let &Slot { index, target, ref image, ref params, .. } = slot;
        let out = job.memory.iter().map(|slots| slots.take(place)).collect();
        let (done, params) = match makes {
            Makes::Crops => (views.crop(image.view(), params, batch, out), params.clone()),
            Makes::Views | Makes::Regions => (views.apply(image.view(), params, batch, out), vec![]),
        };
        done.map_err(|error| self.named(index, error))?;
        drop(job.finished[place].set(Finished { index, target, name: source.name(index), params, region: None }));
        Ok(())
    }

    /// Stores the result for an image: the region that its views need.
    fn keep(&self, job: &Job, place: usize, slot: Slot) -> Result<()> {
        let Slot { index, target, image, params, .. } = slot;
        let part = self.loader.views.region(self.key(&job.share, job.row(place)), (image.height, image.width));
        let region = Some((Arc::new(cut(image, part)?), part));
        let name = self.loader.source.name(index);
        drop(job.finished[place].set(Finished { index, target, name, params, region }));
        Ok(())
    }

    /// Adds the image's name to an error.
    fn named(&self, index: usize, error: Error) -> Error {
        let mut image = self.loader.source.name(index);
        match error {
            // The original exception is kept.
            Error::Foreign { name, reason, fatal, source } => {
                image.push(": ");
                image.push(name);
                Error::Foreign { name: image.into(), reason, fatal, source }
            }
            error => Error::image(image, error.to_string()),
        }
    }
}

impl Stages {
    /// Takes the next image that may be processed now, as (stage, position).
    fn take(&mut self) -> Option<(usize, usize)> {
        let stage = usize::from(self.taken[0] == self.n[0]);
        let free = self.taken[stage] < self.n[stage] && (stage == 0 || self.done[0] == self.n[0]);
        free.then(|| {
            self.taken[stage] += 1;
            (stage, self.taken[stage] - 1)
        })
    }
}
