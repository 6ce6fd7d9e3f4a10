//! What many threads share.
//!
//! - [`pool`]: threads that wait for work.
//! - [`rounds`]: work in steps that follow each other at once.
//! - [`lock`]: locks whose holder may have panicked.
//! - [`idle`]: memory that one call leaves for the next.
//! - [`slots`]: memory that is written slot by slot.
pub mod idle;
pub mod lock;
pub mod pool;
pub mod rounds;
pub mod slots;
