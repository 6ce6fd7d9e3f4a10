//! What many threads share.
//!
//! - [`pool`]: threads that wait for work.
//! - [`lock`]: locks whose holder may have panicked.
//! - [`slots`]: memory that is written part by part.
pub mod lock;
pub mod pool;
pub mod slots;
