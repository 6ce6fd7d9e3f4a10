//! What many threads share: the pool that runs calls, and memory that is written part by part.
pub mod pool;
pub mod slots;
