//! The early end of a long call, as Ctrl-C asks for it: [`poll`] stands between the items of every long loop, and ends the call by
//! unwinding. So no function has to hand the question on, no `on_error` takes the answer for a damaged file, and what a call
//! has made so far is dropped on the way.
use std::any::Any;
use std::cell::RefCell;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Asked now and then whether the call is to end; an error is the payload with which it unwinds.
pub type Ask = fn() -> Result<(), Box<dyn Any + Send>>;

/// The question costs microseconds, and more where it has to wait for another thread.
const PERIOD: Duration = Duration::from_millis(100);

enum Watch {
    Ask { ask: Ask, last: Instant },
    Follow(Arc<AtomicBool>),
}

thread_local! {
    static WATCH: RefCell<Option<Watch>> = const { RefCell::new(None) };
}

/// Runs `work`, which ends by unwinding if `ask` says so.
pub fn watched<T>(ask: Ask, work: impl FnOnce() -> T) -> T {
    within(Watch::Ask { ask, last: Instant::now() }, work)
}

/// Runs a part of another thread's call, which ends by unwinding once that call is `over`.
pub(crate) fn following<T>(over: &Arc<AtomicBool>, work: impl FnOnce() -> T) -> T {
    within(Watch::Follow(over.clone()), work)
}

fn within<T>(watch: Watch, work: impl FnOnce() -> T) -> T {
    /// Gives the outer call its watch back, also when the inner one unwinds.
    struct Outer(Option<Watch>);
    impl Drop for Outer {
        fn drop(&mut self) {
            WATCH.set(self.0.take());
        }
    }
    let _outer = Outer(WATCH.replace(Some(watch)));
    work()
}

/// Ends the call on this thread if it is to end; otherwise costs some nanoseconds.
pub fn poll() {
    // Asked without the borrow: the answer may come from code that calls this crate.
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

/// The caller has the reason.
fn is_over() -> Result<(), Box<dyn Any + Send>> {
    Err(Box::new("the call is over"))
}

#[cfg(test)]
mod tests {
    use super::{Ask, PERIOD, poll, watched};
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::time::{Duration, Instant};

    /// Polls until it is ended, for two seconds at most; gives the reason.
    fn reason(ask: Ask) -> Option<&'static str> {
        let until = Instant::now() + Duration::from_secs(2);
        let work = || {
            while Instant::now() < until {
                poll();
            }
        };
        let ended = catch_unwind(AssertUnwindSafe(|| watched(ask, work))).err()?;
        assert!(until - Instant::now() > Duration::from_secs(1), "it was ended late");
        ended.downcast_ref::<&str>().copied()
    }

    #[test]
    fn a_call_ends_when_it_is_told_to_and_the_next_one_does_not() {
        assert_eq!(reason(|| Err(Box::new("stop"))), Some("stop"));
        // Nobody watches now.
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
