//! Work in rounds, for steps that are too short to be handed to the pool one by one.
use super::pool;
use crate::interrupt::poll;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Calls `work(round, part)` once for each part of each round, on this thread and on up to `threads - 1` others. A round starts
/// when all parts of the previous round have finished; it sees all writes of the previous rounds.
///
/// A thread begins every round with the same parts, because their memory is in its cache. It then takes any part that no thread
/// has started, so a thread that arrives late, or never, does not delay the others. A panic on any thread propagates to the
/// caller.
pub fn rounds(threads: usize, rounds: usize, parts: usize, work: impl Fn(usize, usize) + Sync) {
    if parts == 0 {
        return;
    }
    let threads = threads.min(parts);
    let (arrived, ended, left) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    // Number of rounds in which each part has been started.
    let begun: Vec<AtomicUsize> = (0..parts).map(|_| AtomicUsize::new(0)).collect();
    pool::run(threads, &|| {
        let _leaves = Leaves(&left);
        let home = arrived.fetch_add(1, Ordering::Relaxed) * parts / threads;
        // Acquire: makes the writes of previous rounds visible from here on.
        let round = || ended.load(Ordering::Acquire) / parts;
        loop {
            let now = round();
            if now >= rounds {
                return;
            }
            for part in (home..parts).chain(0..home) {
                let free = begun[part].load(Ordering::Relaxed) == now;
                if free && begun[part].compare_exchange(now, now + 1, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                    work(now, part);
                    ended.fetch_add(1, Ordering::Release);
                    poll();
                }
            }
            let over = || round() > now || left.load(Ordering::Relaxed);
            pool::look_for(over);
            while !over() {
                poll();
                std::thread::yield_now();
            }
            if left.load(Ordering::Relaxed) {
                return;
            }
        }
    });
}

/// Guard that stops the other threads if it is dropped in a panic: this thread's part will never finish.
struct Leaves<'a>(&'a AtomicBool);

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::rounds;
    use crate::interrupt::watched;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    #[test]
    fn a_round_has_each_part_once_and_sees_the_rounds_before() {
        for (threads, parts) in [(1, 3), (2, 1), (2, 2), (2, 5), (4, 4), (8, 3)] {
            let written: Vec<AtomicUsize> = (0..parts).map(|_| AtomicUsize::new(0)).collect();
            rounds(threads, 300, parts, |round, part| {
                let done: Vec<usize> = written.iter().map(|of_part| of_part.load(Ordering::Relaxed)).collect();
                assert_eq!(done[part], round, "part {part}");
                assert!(done.iter().all(|&done| done == round || done == round + 1), "round {round}: {done:?}");
                written[part].store(round + 1, Ordering::Relaxed);
            });
            assert!(written.iter().all(|of_part| of_part.load(Ordering::Relaxed) == 300));
        }
    }

    #[test]
    fn nothing_to_do_is_done_at_once() {
        rounds(2, 0, 3, |_, _| panic!("there is no round"));
        rounds(2, 3, 0, |_, _| panic!("there is no part"));
    }

    #[test]
    fn a_panic_of_any_part_ends_all_threads() {
        for falls in [0, 1, 2] {
            let ended = catch_unwind(|| {
                rounds(3, 1_000_000, 3, |round, part| {
                    std::thread::sleep(Duration::from_micros(100));
                    assert!(round < 10 || part != falls, "on purpose");
                });
            });
            assert!(ended.is_err(), "part {falls}");
        }
    }

    #[test]
    fn a_call_that_is_ended_ends_between_its_parts() {
        let last = AtomicUsize::new(0);
        let work = || {
            rounds(3, 1_000_000, 3, |round, _| {
                last.store(round, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(1));
            });
        };
        let ended = catch_unwind(AssertUnwindSafe(|| watched(|| Err(Box::new("stop")), work)));
        assert_eq!(ended.unwrap_err().downcast_ref::<&str>(), Some(&"stop"));
        assert!(last.into_inner() < 10_000, "it went on");
    }
}
