//! A pool of threads that wait for work, so that calls need not start threads. Every process has its own pool: a forked child
//! does not inherit its parent's threads, and starts new ones.
#![allow(unsafe_code)]
use super::lock::{locked, wait, wait_timeout};
use crate::interrupt::{following, poll};
use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Time that a thread waits for work before the thread ends. Threads must not wait forever: a process forked by a thread other
/// than the main thread exits only when its last thread ends.
const PATIENCE: Duration = Duration::from_secs(1);

/// Time that a waiting thread spins before it sleeps: a thread that waits for work, or a caller that waits for its call to
/// finish.
///
/// This is several times as long as it takes to wake a thread, so that threads stay awake during short gaps between two calls.
const LOOK: Duration = Duration::from_micros(200);

/// Starts a detached thread. All threads of the crate are started here.
///
/// # Errors
/// The system refuses to start a thread.
pub fn start(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    std::thread::Builder::new().name(name.into()).spawn(work).map(|_| ())
}

/// Number of threads that can run in parallel on this machine.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Runs `work` on this thread and on up to `threads - 1` others in parallel, and returns when all of them have finished.
///
/// `work` takes items from a source shared by all threads, and returns when no items are left. Pool threads that are busy with
/// other calls are not waited for.
///
/// A panic on any thread propagates to the caller. If the calling thread panics, the others stop at their next [`poll`].
pub fn run(threads: usize, work: &(dyn Fn() + Sync)) {
    if threads <= 1 {
        return work();
    }
    let call = Arc::new(Call::default());
    // SAFETY: erases the lifetime of `work`. No thread uses it after this function: the guard below withdraws shares that
    // nobody has started, and waits for the others, also when `work` panics here.
    let work: &'static (dyn Fn() + Sync) = unsafe { std::mem::transmute(work) };
    let pool = Pool::of_this_process();
    pool.offer(threads - 1, work, &call);
    let guard = Guard { pool, call: &call };
    work();
    drop(guard);
    let panic = locked(&call.panic).take();
    if let Some(panic) = panic {
        resume_unwind(panic);
    }
}

/// Spins until the condition holds, for at most [`LOOK`].
pub(super) fn look_for(it_is_so: impl Fn() -> bool) {
    let until = Instant::now() + LOOK;
    while !it_is_so() && Instant::now() < until {
        std::hint::spin_loop();
    }
}

/// Passes each item to `work` once, on this thread and on up to `threads - 1` others.
///
/// If the size hint of `items` has an upper bound, at most that many threads are used.
pub fn each<T: Send>(threads: usize, items: impl Iterator<Item = T> + Send, work: impl Fn(T) + Sync) {
    each_with(threads, items, || (), |(), item| work(item));
}

/// Like [`each`], but `work` also gets a value that `own` creates once for each thread.
pub fn each_with<T: Send, S>(
    threads: usize,
    items: impl Iterator<Item = T> + Send,
    own: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, T) + Sync,
) {
    let threads = items.size_hint().1.map_or(threads, |items| threads.min(items));
    let items = Mutex::new(items);
    let next = || locked(&items).next();
    run(threads, &|| {
        let mut own = own();
        while let Some(item) = next() {
            work(&mut own, item);
            poll();
        }
    });
}

/// The threads of a process and their queue. A pool lives as long as its process.
struct Pool {
    process: u32,
    queue: Mutex<Queue>,
    offered: Condvar,
    /// Number of shares in the queue. Spinning threads read it without the lock.
    pending: AtomicUsize,
}

#[derive(Default)]
struct Queue {
    shares: VecDeque<Share>,
    threads: usize,
    waiting: usize,
}

/// The part of a call that one thread runs.
struct Share {
    work: &'static (dyn Fn() + Sync),
    call: Arc<Call>,
}

/// State of one call of [`run`].
#[derive(Default)]
struct Call {
    /// Number of pool threads working on this call. It is decremented under the lock of `panic`, so that the caller does not
    /// miss the last notification.
    running: AtomicUsize,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    done: Condvar,
    /// Set when the caller has panicked: the results are no longer needed.
    over: Arc<AtomicBool>,
}

struct Guard<'a> {
    pool: &'static Pool,
    call: &'a Arc<Call>,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        let mut queue = locked(&self.pool.queue);
        queue.shares.retain(|share| !Arc::ptr_eq(&share.call, self.call));
        self.pool.pending.store(queue.shares.len(), Ordering::Relaxed);
        drop(queue);
        if std::thread::panicking() {
            self.call.over.store(true, Ordering::Relaxed);
        }
        // Acquire: makes the writes of the other threads visible from here on.
        let ended = || self.call.running.load(Ordering::Acquire) == 0;
        look_for(ended);
        let mut panic = locked(&self.call.panic);
        while !ended() {
            panic = wait(&self.call.done, panic);
        }
    }
}

impl Pool {
    /// Returns the pool of this process. It takes no lock: a lock that another thread of the parent held during a fork would
    /// stay locked in this process.
    fn of_this_process() -> &'static Self {
        static POOL: AtomicPtr<Pool> = AtomicPtr::new(std::ptr::null_mut());
        let process = std::process::id();
        let mut found = POOL.load(Ordering::Acquire);
        loop {
            // SAFETY: null, or leaked below and therefore valid forever.
            if let Some(pool) = unsafe { found.as_ref() }
                && pool.process == process
            {
                return pool;
            }
            // The pool is the parent's: its threads do not exist here, and its locks may be held. It is leaked.
            let (queue, offered, pending) = (Mutex::default(), Condvar::new(), AtomicUsize::new(0));
            let new = Box::into_raw(Box::new(Self { process, queue, offered, pending }));
            match POOL.compare_exchange(found, new, Ordering::AcqRel, Ordering::Acquire) {
                // SAFETY: just leaked.
                Ok(_) => return unsafe { &*new },
                Err(other) => {
                    // SAFETY: not yet shared with any other thread.
                    drop(unsafe { Box::from_raw(new) });
                    found = other;
                }
            }
        }
    }

    /// Puts shares into the queue, and starts threads if there are fewer waiting threads than shares.
    fn offer(&'static self, shares: usize, work: &'static (dyn Fn() + Sync), call: &Arc<Call>) {
        let mut queue = locked(&self.queue);
        queue.shares.extend((0..shares).map(|_| Share { work, call: call.clone() }));
        self.pending.store(queue.shares.len(), Ordering::Relaxed);
        let wanted = queue.shares.len().saturating_sub(queue.waiting);
        // The number of cores is a system call, which takes longer than handing over a share.
        let most = if wanted == 0 { 0 } else { cores().max(shares).saturating_sub(queue.threads) };
        for _ in 0..wanted.min(most) {
            // If the system refuses, the caller and the existing threads do the work.
            let started = start("sassl", move || self.serve());
            queue.threads += usize::from(started.is_ok());
        }
        drop(queue);
        (0..shares).for_each(|_| self.offered.notify_one());
    }

    fn serve(&self) {
        loop {
            let (mut queue, mut has_looked) = (locked(&self.queue), false);
            let share = loop {
                if let Some(share) = queue.shares.pop_front() {
                    self.pending.store(queue.shares.len(), Ordering::Relaxed);
                    // Counted before the queue is unlocked: from here on the caller waits for it.
                    share.call.running.fetch_add(1, Ordering::Relaxed);
                    break share;
                }
                queue.waiting += 1;
                let late = if has_looked {
                    let (woken, late) = wait_timeout(&self.offered, queue, PATIENCE);
                    queue = woken;
                    late
                } else {
                    drop(queue);
                    look_for(|| self.pending.load(Ordering::Relaxed) > 0);
                    (queue, has_looked) = (locked(&self.queue), true);
                    false
                };
                queue.waiting -= 1;
                if late && queue.shares.is_empty() {
                    queue.threads -= 1;
                    return;
                }
            };
            drop(queue);
            let panic = catch_unwind(AssertUnwindSafe(|| following(&share.call.over, share.work))).err();
            let mut first = locked(&share.call.panic);
            *first = first.take().or(panic);
            // Release: publishes the writes of this thread to the caller.
            share.call.running.fetch_sub(1, Ordering::Release);
            share.call.done.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::run;
    use std::collections::HashSet;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    /// Runs jobs numbered from 1 to `jobs`. Returns the sum of their numbers, and how many distinct threads ran at least one.
    fn counted(threads: usize, jobs: usize) -> (usize, usize) {
        let (next, sum, seen) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(HashSet::new()));
        run(threads, &|| {
            while let job @ 1.. = jobs.saturating_sub(next.fetch_add(1, Ordering::Relaxed)) {
                sum.fetch_add(job, Ordering::Relaxed);
                seen.lock().unwrap().insert(std::thread::current().id());
                std::thread::sleep(Duration::from_micros(200));
            }
        });
        (sum.into_inner(), seen.into_inner().unwrap().len())
    }

    #[test]
    fn all_work_is_done_by_so_many_threads_at_most() {
        for threads in [1, 2, 3, 8] {
            for jobs in [0, 1, 7, 100] {
                let (sum, seen) = counted(threads, jobs);
                assert_eq!(sum, jobs * (jobs + 1) / 2);
                assert!(seen <= threads.min(jobs), "{seen} threads for {threads}");
                assert!(jobs < 100 || threads == 1 || seen > 1, "{threads} threads: one did it all");
            }
        }
    }

    #[test]
    fn callers_do_not_wait_for_each_other() {
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..20).for_each(|_| assert_eq!(counted(4, 10).0, 55)));
            }
        });
    }

    #[test]
    fn threads_that_have_nothing_to_do_end_and_come_again() {
        let waiting = || super::locked(&super::Pool::of_this_process().queue).threads;
        assert_eq!(counted(2, 10).0, 55);
        let until = std::time::Instant::now() + Duration::from_secs(60);
        // Other tests use them in the meantime.
        while waiting() > 0 {
            assert!(std::time::Instant::now() < until, "{} threads wait on", waiting());
            std::thread::sleep(Duration::from_millis(100));
        }
        assert_eq!(counted(2, 10).0, 55);
    }

    #[test]
    fn a_call_that_is_ended_ends_on_all_its_threads() {
        let taken = AtomicUsize::new(0);
        let ended = std::panic::catch_unwind(|| {
            crate::interrupt::watched(
                || Err(Box::new("stop")),
                || {
                    super::each(3, 0..10_000, |_| {
                        taken.fetch_add(1, Ordering::Relaxed);
                        std::thread::sleep(Duration::from_millis(1));
                    });
                },
            );
        });
        assert_eq!(ended.unwrap_err().downcast_ref::<&str>(), Some(&"stop"));
        assert!(taken.into_inner() < 2000, "the others went on");
    }

    #[test]
    fn calls_may_be_nested() {
        let total = AtomicUsize::new(0);
        run(3, &|| {
            total.fetch_add(counted(3, 4).0, Ordering::Relaxed);
        });
        assert_eq!(total.into_inner() % 10, 0);
    }

    #[test]
    fn a_panic_is_the_callers_and_the_threads_live_on() {
        for _ in 0..3 {
            let calls = AtomicUsize::new(0);
            let caught = std::panic::catch_unwind(|| {
                run(2, &|| {
                    if calls.fetch_add(1, Ordering::Relaxed) == 1 {
                        panic!("on purpose");
                    }
                    // Its share would be withdrawn if the other thread had not started yet.
                    let until = std::time::Instant::now() + Duration::from_secs(60);
                    while calls.load(Ordering::Relaxed) < 2 && std::time::Instant::now() < until {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                });
            });
            assert!(caught.is_err());
        }
        assert_eq!(counted(2, 10).0, 55);
    }
}
