//! From files to batches of two views: sources of pictures, the order in which an epoch visits them, views and the threads that make
//! them.
mod views;

pub use views::{Position, Styling, TwoViews, View, ViewParams, ViewsParams};
