//! The last steps of a view: solarization, flips, normalization, and conversion to the output layout.
//!
//! On the CPU these are separate steps (`image/solarize.rs`, `flip.rs`, `output.rs`); a GPU performs them in one launch.
pub mod cuda;
