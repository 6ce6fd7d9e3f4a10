//! What many threads share.
//!
//! - [`pool`]: threads that wait for work.
//! - [`lock`]: locks whose holder may have panicked.
//! - [`idle`]: memory that one call leaves for the next.
//! - [`slots`]: memory that is written slot by slot.
pub mod idle;
pub mod lock;
pub mod pool;
pub mod slots;
