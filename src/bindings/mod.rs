//! The Python module `sassl._sassl`, the only code that uses pyo3. This file lists the exported names; each other file defines
//! one group of them.
mod arrays;
mod bank;
mod callable;
mod checkpoint;
#[cfg(feature = "cuda")]
mod cuda;
mod decode;
mod error;
mod evaluation;
mod files;
mod fine_tuner;
mod foreign;
mod image;
mod loader;
mod memory;
mod run;
mod shared;
mod source;
mod style;
mod stylizer;
mod trainer;
mod view_params;
mod views;
mod weights;

use pyo3::prelude::*;

/// The compiled core of sassl; use it through the package `sassl`.
#[pymodule(gil_used = false)]
mod _sassl {
    #[pymodule_export]
    use super::bank::{Bank, Gaussian, load_styles};
    #[pymodule_export]
    use super::checkpoint::{
        checkpoint_metadata, describe_state, initial_state, key_order, load_checkpoint, save_checkpoint, write_tensors,
    };
    #[cfg(feature = "cuda")]
    #[pymodule_export]
    use super::cuda::{CudaDevice, CudaPlan, CudaStylizer, cuda_finish, cuda_info, cuda_views};
    #[pymodule_export]
    use super::decode::{color_profile, decode, image_suffixes};
    #[pymodule_export]
    use super::evaluation::{knn, linear_probe};
    #[pymodule_export]
    use super::files::write_file;
    #[pymodule_export]
    use super::fine_tuner::FineTuner;
    #[pymodule_export]
    use super::image::{
        adjust_brightness, adjust_contrast, adjust_hue, adjust_saturation, gaussian_blur, grayscale, hflip, normalize,
        resized_crop, rotate, solarize, vflip,
    };
    #[pymodule_export]
    use super::loader::{Epoch, Loader};
    #[pymodule_export]
    use super::source::{Source, list_images};
    #[pymodule_export]
    use super::style::{Block, StyleParams};
    #[pymodule_export]
    use super::stylizer::Stylizer;
    #[pymodule_export]
    use super::trainer::{Trainer, backbone_info, backbone_names, cosine_momentum, cosine_rate};
    #[pymodule_export]
    use super::view_params::{Draws, ViewParams};
    #[pymodule_export]
    use super::views::{Step, Views, operations};
    #[pymodule_export]
    use super::weights::{convert, info, version};
}
