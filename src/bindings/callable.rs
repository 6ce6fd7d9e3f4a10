//! A Python function as an operation. The function runs with the GIL, on the thread that computes the view.
use super::foreign::call;
use super::image::held_image;
use crate::error::{Error, Result};
use crate::image::{DeviceStep, Operation, Planes, Room, Size, Values};
use crate::kernels::isa::Isa;
use crate::memory;
use crate::random::Generator;
use numpy::{PyArray1, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use rand::Rng;

/// A function from an (H, W, 3) uint8 array to an array of the same shape and dtype.
#[derive(Debug)]
pub(super) struct Callable {
    name: String,
    function: Py<PyAny>,
    /// True if the function takes a seed in addition to the image.
    seeded: bool,
}

impl Callable {
    pub(super) fn new(name: String, function: Py<PyAny>, seeded: bool) -> Self {
        Self { name, function, seeded }
    }

    fn called(&self, py: Python<'_>, isa: Isa, planes: &mut Planes, seed: Option<u64>) -> PyResult<()> {
        let (height, width) = (planes.height(), planes.width());
        let mut pixels = memory::zeros("image", 3 * height * width)?;
        planes.write(isa, &mut pixels);
        let image = PyArray1::from_vec(py, pixels).reshape([height, width, 3])?.into_any();
        let arguments = match seed {
            Some(seed) => PyTuple::new(py, [image, seed.into_pyobject(py)?.into_any()])?,
            None => PyTuple::new(py, [image])?,
        };
        let made = call(self.function.bind(py), &arguments)?;
        let (held, [rows, columns]) = held_image(&made)?;
        if (rows, columns) != (height, width) {
            let got = format!("{rows}x{columns}");
            let requirement = format!("must return an image of {height}x{width}, as it was given");
            return Err(Error::shape(&self.name, requirement, got).into());
        }
        planes.fill(isa, height, width, held.slice()?);
        Ok(())
    }
}

impl Operation for Callable {
    fn sample(&self, generator: &mut Generator, _: Size) -> Values {
        // 53 bits: integers that a double represents exactly.
        let seed = generator.random::<u64>() >> 11;
        if self.seeded { Values::of([("seed", seed as f64)]) } else { Values::default() }
    }

    fn apply(&self, isa: Isa, planes: &mut Planes, values: &Values, _: &mut Room) -> Result<()> {
        let seed = match self.seeded {
            true => Some(values.get(["seed"])?[0] as u64),
            false => None,
        };
        Python::attach(|py| {
            self.called(py, isa, planes, seed).map_err(|error| {
                // The image is not at fault, so it must not be replaced by another.
                let reason = error.value(py).to_string();
                Error::Foreign { name: (&self.name).into(), reason, fatal: true, source: Box::new(error) }
            })
        })
    }

    fn device_steps(&self, _: &Values, _: Size) -> Result<Vec<DeviceStep>> {
        Err(Error::invalid(format!("{:?} is a Python function, which has no GPU kernel", self.name)))
    }
}
