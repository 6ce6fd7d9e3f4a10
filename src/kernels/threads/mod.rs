//! Infrastructure for work on many threads.
//!
//! - [`pool`]: a pool of threads that wait for work.
//! - [`rounds`]: work in rounds that follow each other immediately.
//! - [`lock`]: locks that ignore poisoning.
//! - [`idle`]: memory kept between calls for reuse.
//! - [`slots`]: memory that is written slot by slot.
pub mod idle;
pub mod lock;
pub mod pool;
pub mod rounds;
pub mod slots;
