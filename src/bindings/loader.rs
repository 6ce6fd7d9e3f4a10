//! `Loader` and `Epoch`, which `sassl.data.TwoViewLoader` iterates over.
use super::arrays::into_array;
use super::memory;
use super::run::threads;
use super::source::Source;
use super::view_params::Draws;
use super::views::Views;
use crate::data;
use crate::data::{Makes, OnDamage, OnError, Reading, Region, Sampler};
use crate::error::{Error, Result};
use crate::kernels::threads::lock::locked;
use pyo3::prelude::*;
use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// A data loader: it reads the images of a source in the order of each epoch, and computes their views.
#[pyclass(frozen, module = "sassl._sassl")]
pub(super) struct Loader {
    core: Arc<data::Loader>,
    threads: Option<usize>,
    prefetch: usize,
    room: Room,
}

/// The arrays to allocate for a batch before its views are computed.
#[derive(Clone)]
enum Room {
    /// One array per view. The fields are the shapes of the views of a single image, and the dtype of all arrays.
    Views(Vec<[usize; 3]>, &'static str),
    /// One uint8 array for the crops of all these views.
    Crops(Arc<data::Views>),
    /// No arrays: the regions are copied to a new array once the batch is decoded.
    Regions,
}

/// One pass over the batches of a loader.
#[pyclass(frozen, module = "sassl._sassl")]
pub(super) struct Epoch {
    running: Mutex<Option<Running>>,
    process: u32,
    busy: AtomicBool,
    taken: AtomicUsize,
    room: Room,
    pinned: bool,
}

struct Running {
    core: data::Epoch,
    /// The arrays of each batch in progress.
    arrays: VecDeque<Vec<Py<PyAny>>>,
}

/// The longest wait between two checks for Ctrl-C.
const PATIENCE: Duration = Duration::from_millis(50);

#[pymethods]
impl Loader {
    /// Args:
    ///     source: the dataset.
    ///     views: the views to compute from each image.
    ///     on_error: "raise" an error for an unreadable image, or "report": list the image in `report`, and replace it with
    ///         another.
    ///     on_damage: for an image that can be only partly decoded: "use" the decoded pixels, "replace" the image, or "raise"
    ///         an error.
    ///     makes: the contents of a batch: "views", "crops" or "regions". `Views.finish` turns crops and regions into views.
    ///         Regions are the parts of the decoded images that the views need.
    ///
    /// The other arguments are those of `sassl.data.TwoViewLoader`.
    #[new]
    #[pyo3(signature = (
        source, views, *, batch_size, shuffle, drop_last, seed, rank, world_size, threads, prefetch, on_error, on_damage,
        min_decode_size, makes
    ))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        source: &Source,
        views: &Views,
        batch_size: usize,
        shuffle: bool,
        drop_last: bool,
        seed: u64,
        rank: usize,
        world_size: usize,
        threads: Option<isize>,
        prefetch: usize,
        on_error: &str,
        on_damage: &str,
        min_decode_size: Option<u16>,
        makes: &str,
    ) -> Result<Self> {
        let on_error = match on_error {
            "raise" => OnError::Raise,
            "report" => OnError::Report,
            other => {
                return Err(Error::value("on_error", format!("{other:?}"), "must be \"raise\" or \"report\""));
            }
        };
        let on_damage = match on_damage {
            "use" => OnDamage::Use,
            "replace" => OnDamage::Replace,
            "raise" => OnDamage::Raise,
            other => {
                let requirement = "must be \"use\", \"replace\" or \"raise\"";
                return Err(Error::value("on_damage", format!("{other:?}"), requirement));
            }
        };
        let sampler = Sampler::new(source.core.len(), batch_size, (shuffle, drop_last), seed, (rank, world_size))?;
        let reading = Reading { least: min_decode_size, exif: source.exif, on_error, on_damage };
        let core = data::Loader::new(source.core.clone(), views.0.clone(), sampler, reading);
        let (makes, room) = match makes {
            "views" => (Makes::Views, Room::Views(views.shapes(), views.dtype().name())),
            "crops" => (Makes::Crops, Room::Crops(views.0.clone())),
            "regions" => (Makes::Regions, Room::Regions),
            other => {
                let requirement = "must be \"views\", \"crops\" or \"regions\"";
                return Err(Error::value("makes", format!("{other:?}"), requirement));
            }
        };
        let core = Arc::new(core.making(makes)?);
        Ok(Self { core, threads: super::run::checked_threads(threads)?, prefetch, room })
    }

    /// Number of batches in an epoch.
    fn __len__(&self) -> usize {
        self.core.sampler().batches()
    }

    /// Unreadable and damaged images by name: (reason, number of occurrences, True if the image was used despite the damage).
    #[getter]
    fn report(&self) -> BTreeMap<OsString, (String, usize, bool)> {
        let faults = self.core.faults().into_iter();
        faults.map(|(name, fault)| (name, (fault.reason, fault.count, fault.used))).collect()
    }

    /// Start an epoch at the given batch. The views, crops or regions of each batch are returned in new arrays, which are
    /// page-locked if `pinned`.
    fn start(&self, py: Python<'_>, epoch: u64, batch: usize, pinned: bool) -> PyResult<Epoch> {
        let threads = threads(py, self.threads)?;
        let core = self.core.start(epoch, batch, threads, self.prefetch)?;
        let running = Running { core, arrays: VecDeque::new() };
        Ok(Epoch {
            running: Mutex::new(Some(running)),
            process: std::process::id(),
            busy: AtomicBool::new(false),
            taken: AtomicUsize::new(0),
            room: self.room.clone(),
            pinned,
        })
    }
}

/// A batch: (views, indices, targets, names, draws).
type Made<'py> = (Vec<Bound<'py, PyAny>>, Bound<'py, PyAny>, Bound<'py, PyAny>, Vec<OsString>, Draws);

#[pymethods]
impl Epoch {
    /// Return the next batch, or None at the end of the epoch.
    ///
    /// Returns:
    ///     (views, indices, targets, names, draws). `views` holds an array for each view, or a single uint8 array of crops or
    ///     regions, from which `Views.finish` computes the views. `indices` and `targets` are int64, one item per image, like
    ///     `names`. `draws` is an argument of `Views.finish`.
    ///
    /// Raises:
    ///     ValueError, OSError: an image cannot be read. The next call returns the following batch.
    ///     ValueError: another process started the epoch, or another thread is waiting for its next batch.
    #[pyo3(signature = () -> "tuple[list[typing.Any], numpy.typing.NDArray[numpy.int64], numpy.typing.NDArray[numpy.int64], list[str], Draws] | None")]
    fn next<'py>(&self, py: Python<'py>) -> PyResult<Option<Made<'py>>> {
        if self.process != std::process::id() {
            let reason = "the loader was started in another process, and its threads do not exist in this one; \
                          iterate over the loader anew here";
            return Err(Error::invalid(reason).into());
        }
        if self.busy.swap(true, Ordering::AcqRel) {
            let reason =
                "the loader is busy: another thread is waiting for its next batch; give each thread its own loader";
            return Err(Error::invalid(reason).into());
        }
        let made = self.wait(py);
        self.busy.store(false, Ordering::Release);
        made
    }

    /// Number of batches taken so far, including those for which `next` raised an error.
    #[getter]
    fn taken(&self) -> usize {
        self.taken.load(Ordering::Acquire)
    }

    /// Ask the threads to stop, and return without waiting. Each thread stops after its current image.
    fn close(&self, py: Python<'_>) {
        // In a forked process, the lock may be held by a thread that does not exist there.
        if self.process != std::process::id() {
            return;
        }
        // Another thread that waits for a batch holds the lock, and may need the GIL to release it.
        py.detach(|| {
            let ended = self.running().take();
            drop(ended);
        });
    }
}

impl Epoch {
    fn wait<'py>(&self, py: Python<'py>) -> PyResult<Option<Made<'py>>> {
        loop {
            loop {
                let wanted = py.detach(|| self.running().as_ref().and_then(|running| running.core.wanted()));
                let Some(n) = wanted else { break };
                let (arrays, memory) = match &self.room {
                    Room::Views(shapes, dtype) => memory::views(py, n, shapes, dtype, self.pinned)?,
                    Room::Crops(views) => memory::crops(py, n, views, self.pinned)?,
                    Room::Regions => (vec![], vec![]),
                };
                py.detach(|| {
                    if let Some(running) = self.running().as_mut() {
                        running.core.open(memory);
                        running.arrays.push_back(arrays);
                    }
                });
            }
            let next = py.detach(|| -> Result<_> {
                let mut running = self.running();
                let Some(running) = running.as_mut() else { return Ok(Next::End) };
                match running.core.next(PATIENCE) {
                    Ok(Some(batch)) => {
                        Ok(running.arrays.pop_front().map_or(Next::End, |arrays| Next::Batch(batch, arrays)))
                    }
                    Ok(None) if running.core.has_next() => Ok(Next::Later),
                    Ok(None) => Ok(Next::End),
                    Err(error) => {
                        running.arrays.pop_front();
                        self.taken.fetch_add(1, Ordering::AcqRel);
                        Err(error)
                    }
                }
            })?;
            match next {
                Next::End => return Ok(None),
                Next::Later => py.check_signals()?,
                Next::Batch(batch, mut views) => {
                    let (images, parts): (Vec<_>, Vec<_>) = batch.regions.into_iter().unzip();
                    let mut regions = vec![];
                    if matches!(self.room, Room::Regions) {
                        let (packed, begins) = memory::packed(py, &images, self.pinned)?;
                        views.push(packed);
                        regions = begins.into_iter().zip(parts).map(|(begin, part)| Region { begin, part }).collect();
                    }
                    let n = batch.indices.len();
                    self.taken.fetch_add(1, Ordering::AcqRel);
                    let indices = batch.indices.iter().map(|&index| index as i64).collect();
                    return Ok(Some((
                        views.into_iter().map(|view| view.into_bound(py)).collect(),
                        into_array::<i64>(py, indices, &[n])?,
                        into_array(py, batch.targets, &[n])?,
                        batch.names,
                        Draws { params: batch.params, regions },
                    )));
                }
            }
        }
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        locked(&self.running)
    }
}

enum Next {
    Batch(data::Batch, Vec<Py<PyAny>>),
    Later,
    End,
}

impl Drop for Epoch {
    fn drop(&mut self) {
        Python::attach(|py| self.close(py));
    }
}
