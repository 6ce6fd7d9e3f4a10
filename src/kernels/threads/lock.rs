//! Locks whose holder may have panicked: what they guard is whole after every statement, so that the next one goes on.
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

/// Waits for the lock.
pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until nobody writes.
pub fn reading<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until nobody reads or writes.
pub fn writing<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

/// Gives the lock away until there is news.
pub fn wait<'a, T>(news: &Condvar, lock: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    news.wait(lock).unwrap_or_else(PoisonError::into_inner)
}

/// The same for so long at most; and whether it took that long.
pub fn wait_timeout<'a, T>(news: &Condvar, lock: MutexGuard<'a, T>, most: Duration) -> (MutexGuard<'a, T>, bool) {
    let (lock, late) = news.wait_timeout(lock, most).unwrap_or_else(PoisonError::into_inner);
    (lock, late.timed_out())
}
