//! Locking that ignores poisoning. Guarded data is consistent after every statement, so it does no harm if a thread panics
//! while it holds a lock.
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

/// Locks the mutex.
pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Locks for reading: waits until there is no writer.
pub fn reading<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// Locks for writing: waits until there is neither a reader nor a writer.
pub fn writing<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until the condition variable is notified, and releases the lock in the meantime.
pub fn wait<'a, T>(news: &Condvar, lock: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    news.wait(lock).unwrap_or_else(PoisonError::into_inner)
}

/// Like [`wait`], but for at most `most`; also returns whether the wait timed out.
pub fn wait_timeout<'a, T>(news: &Condvar, lock: MutexGuard<'a, T>, most: Duration) -> (MutexGuard<'a, T>, bool) {
    let (lock, late) = news.wait_timeout(lock, most).unwrap_or_else(PoisonError::into_inner);
    (lock, late.timed_out())
}
