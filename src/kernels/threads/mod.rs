//! Infrastructure for work on many threads.
//!
//! - [`pool`]: a pool of threads that wait for work.
//! - [`rounds`]: work in rounds; a round starts when all work of the previous round has finished.
//! - [`lock`]: locks that ignore poisoning.
//! - [`idle`]: memory kept between calls for reuse.
//! - [`slots`]: memory in slots of equal size, written by many threads.
pub mod idle;
pub mod lock;
pub mod pool;
pub mod rounds;
pub mod slots;
