//! Backbones: one file per family, and a table with a row for each name.
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

/// The specification of a backbone. A backbone maps images `[n, height, width, 3]` to features `[n, features]`.
pub trait Backbone: Send + Sync {
    /// The dimension of the features.
    fn features(&self) -> usize;

    /// The total stride of the stem, which is all layers before the first stage. It is 4 for a ResNet's ImageNet stem,
    /// including its pooling.
    fn stem_stride(&self) -> usize;

    /// The minimum height and width of a view, in pixels.
    fn least_side(&self) -> usize {
        1
    }

    /// All settings of the backbone, as JSON.
    fn settings(&self) -> Value;

    /// Builds the layers, and adds their tensors to `layout` under torchvision's names.
    fn body(&self, layout: &mut Layout, engine: Engine) -> Arc<dyn Body>;
}

/// Builds the specification of a backbone from JSON with its name and settings, `{"name": "resnet18", ...}`. Missing settings
/// default to torchvision's.
///
/// # Errors
/// The name is missing or not in [`BACKBONES`], or a setting is unknown, of the wrong type or invalid.
pub fn build(json: &Value) -> Result<Box<dyn Backbone>> {
    parts::read("backbone", json, BACKBONES)
}
