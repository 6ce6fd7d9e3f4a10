//! Backbones: what learns to see. A file for each family, a row for each name.
mod resnet;
mod unit;
mod vgg;

use crate::error::Result;
use crate::nn::{Body, Engine, Layout};
use crate::parts::{self, Row};
use serde_json::Value;
use std::sync::Arc;

/// All backbones, under torchvision's names.
pub const BACKBONES: &[Row<dyn Backbone>] = &[
    Row { name: "resnet18", read: resnet::read },
    Row { name: "resnet34", read: resnet::read },
    Row { name: "resnet50", read: resnet::read },
    Row { name: "resnet101", read: resnet::read },
    Row { name: "vgg11_bn", read: vgg::read },
];

/// A backbone before its values are drawn: images `[n, height, width, 3]` to features `[n, features]`.
pub trait Backbone: Send + Sync {
    /// Values of a feature.
    fn features(&self) -> usize;

    /// Pixels of a view's side to one of what the first layers, before any that repeat, make of it: 4 in a stem for ImageNet.
    fn stem_stride(&self) -> usize;

    /// Pixels that a view's sides have at least.
    fn least_side(&self) -> usize {
        1
    }

    /// Its own settings, all of them, as JSON.
    fn settings(&self) -> Value;

    /// Its layers, their tensors added to `layout` under torchvision's names.
    fn body(&self, layout: &mut Layout, engine: Engine) -> Arc<dyn Body>;
}

/// The backbone that JSON names: `{"name": "resnet18", ...}`, its own settings beside the name; those left out are torchvision's.
///
/// # Errors
/// A name that is not in [`BACKBONES`]; a setting that this backbone has not, or of another type.
pub fn build(json: &Value) -> Result<Box<dyn Backbone>> {
    parts::read("backbone", json, BACKBONES)
}
