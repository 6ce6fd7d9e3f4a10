//! Cancellation of long calls, e.g. by Ctrl-C. Every long loop calls [`poll`] between items; in a cancelled call, `poll`
//! unwinds the stack. Functions therefore need not return the cancellation as an error, and no `on_error` handler mistakes the
//! cancellation for a damaged file. Partial results are dropped during unwinding.
use std::any::Any;
use std::cell::RefCell;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A function that is called periodically to ask whether the current call is to be cancelled. If the function returns an error,
/// the current call unwinds with the error as payload.
pub type Ask = fn() -> Result<(), Box<dyn Any + Send>>;

/// The minimum time between two calls of an [`Ask`] function. Such a call takes microseconds, or longer if the function has to
/// wait for another thread.
const PERIOD: Duration = Duration::from_millis(100);

enum Watch {
    Ask { ask: Ask, last: Instant },
    Follow(Arc<AtomicBool>),
}

thread_local! {
    static WATCH: RefCell<Option<Watch>> = const { RefCell::new(None) };
}

/// Runs `work` so that `ask` can cancel it. [`poll`] calls `ask` periodically; once `ask` returns an error, `work` unwinds with
/// the error as payload.
pub fn watched<T>(ask: Ask, work: impl FnOnce() -> T) -> T {
    within(Watch::Ask { ask, last: Instant::now() }, work)
}

/// Runs `work` as a part of a call that was made on another thread. Once `over` is set, `work` unwinds at its next [`poll`].
pub(crate) fn following<T>(over: &Arc<AtomicBool>, work: impl FnOnce() -> T) -> T {
    within(Watch::Follow(over.clone()), work)
}

fn within<T>(watch: Watch, work: impl FnOnce() -> T) -> T {
    /// Restores the watch of the outer call when dropped, even if the inner call unwinds.
    struct Outer(Option<Watch>);
    impl Drop for Outer {
        fn drop(&mut self) {
            WATCH.set(self.0.take());
        }
    }
    let _outer = Outer(WATCH.replace(Some(watch)));
    work()
}

/// Unwinds if the current call on this thread is to be cancelled; otherwise returns after a few nanoseconds.
pub fn poll() {
    // The borrow is released first, because `ask` may run code that calls this crate.
    let ask = WATCH.with_borrow_mut(|watch| match watch {
        Some(Watch::Ask { ask, last }) if last.elapsed() >= PERIOD => {
            *last = Instant::now();
            Some(*ask)
        }
        Some(Watch::Follow(over)) if over.load(Ordering::Relaxed) => Some(is_over as Ask),
        _ => None,
    });
    if let Some(Err(reason)) = ask.map(|ask| ask()) {
        resume_unwind(reason);
    }
}

/// Returns a placeholder error. The actual reason is reported by the thread that made the call.
fn is_over() -> Result<(), Box<dyn Any + Send>> {
    Err(Box::new("the call is over"))
}

#[cfg(test)]
mod tests {
    use super::{Ask, PERIOD, poll, watched};
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::time::{Duration, Instant};

    /// Polls until cancelled, for at most two seconds, and returns the payload.
    fn reason(ask: Ask) -> Option<&'static str> {
        let until = Instant::now() + Duration::from_secs(2);
        let work = || {
            while Instant::now() < until {
                poll();
            }
        };
        let ended = catch_unwind(AssertUnwindSafe(|| watched(ask, work))).err()?;
        assert!(until - Instant::now() > Duration::from_secs(1), "cancelled late");
        ended.downcast_ref::<&str>().copied()
    }

    #[test]
    fn a_call_ends_when_it_is_told_to_and_the_next_one_does_not() {
        assert_eq!(reason(|| Err(Box::new("stop"))), Some("stop"));
        // No watch is set here.
        poll();
        let began = Instant::now();
        watched(
            || Ok(()),
            || {
                while began.elapsed() < 3 * PERIOD {
                    poll();
                }
            },
        );
    }

    #[test]
    fn a_call_within_a_call_has_its_own_question() {
        let inner = || watched(|| Ok(()), || std::thread::sleep(2 * PERIOD));
        let outer = catch_unwind(|| {
            watched(
                || Err(Box::new("outer")),
                || {
                    inner();
                    poll();
                },
            );
        });
        assert_eq!(outer.unwrap_err().downcast_ref::<&str>(), Some(&"outer"));
    }
}
