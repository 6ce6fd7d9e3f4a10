//! How a view leaves: solarized, flipped, normalized, in the layout that is wanted.
//!
//! On the CPU each of these is a step of its own (`image/solarize.rs`, `flip.rs`, `output.rs`); a GPU does them in one launch.
pub mod cuda;
