//! `conv2d`: the kernels of training by themselves, for `tests/bench/convolutions.py` and a test against PyTorch.
use super::arrays::{floats, into_array};
use super::run::{checked_threads, run, threads};
use crate::error::{Error, Result};
use crate::kernels::isa::Isa;
use crate::kernels::training::convolution::{Shape, forward, input_gradient, weight_gradient};
use crate::memory;
use pyo3::prelude::*;

/// A convolution of a batch, or one of its gradients.
///
/// Args:
///     which: "output", or the gradient of "input" or of "weight".
///     input: (N, H, W, I); its numbers are not read for the gradient of "input".
///     weight: (O, rows, columns, I); its numbers are not read for the gradient of "weight".
///     grad: the output's gradient, (N, H', W', O); None for the "output".
///     stride: step between positions.
///     padding: zeros on all four sides.
///     threads: how many; None: the environment variable SASSL_THREADS, else all cores.
///
/// Raises:
///     ValueError: arrays that do not fit, another `which`, a stride of 0.
#[pyfunction]
#[pyo3(signature = (
    which, input: "numpy.typing.NDArray[numpy.float32]", weight: "numpy.typing.NDArray[numpy.float32]",
    grad: "numpy.typing.NDArray[numpy.float32] | None" = None, *, stride = 1, padding = 0, threads: "int | None" = None
) -> "numpy.typing.NDArray[numpy.float32]")]
#[allow(clippy::too_many_arguments)]
pub(super) fn conv2d<'py>(
    py: Python<'py>,
    which: &str,
    input: &Bound<'py, PyAny>,
    weight: &Bound<'py, PyAny>,
    grad: Option<&Bound<'py, PyAny>>,
    stride: usize,
    padding: usize,
    threads: Option<isize>,
) -> PyResult<Bound<'py, PyAny>> {
    let (input, weight) = (floats("input", input)?, floats("weight", weight)?);
    let shape = shape(input.shape(), weight.shape(), stride, padding)?;
    let (rows, columns) = shape.output_size();
    let output = [shape.batch, rows, columns, shape.outputs];
    let grad = grad.map(|grad| floats("grad", grad)).transpose()?;
    let grad = match &grad {
        Some(grad) if grad.shape() == output => grad.slice()?,
        None if which == "output" => &[],
        other => {
            let got = other.as_ref().map_or_else(|| "None".into(), |grad| format!("{:?}", grad.shape()));
            return Err(Error::shape("grad", format!("{output:?}"), got).into());
        }
    };
    let (x, w, threads) = (input.slice()?, weight.slice()?, self::threads(py, checked_threads(threads)?)?);
    let out_shape = match which {
        "output" => &output,
        "input" => input.shape(),
        "weight" => weight.shape(),
        _ => return Err(Error::value("which", which, "\"output\", \"input\" or \"weight\"").into()),
    };
    let out = run(py, || {
        let isa = Isa::detect()?;
        let mut out = memory::zeros("output", memory::count("output", out_shape)?)?;
        match which {
            "output" => forward(isa, threads, &shape, x, w, &mut out),
            "input" => input_gradient(isa, threads, &shape, grad, w, &mut out),
            _ => weight_gradient(isa, threads, &shape, x, grad, &mut out),
        }
        Ok(out)
    })?;
    into_array(py, out, out_shape)
}

/// The shape, once it is known to be one.
fn shape(input: &[usize], weight: &[usize], stride: usize, padding: usize) -> Result<Shape> {
    let &[batch, height, width, inputs] = input else {
        return Err(Error::shape("input", "(images, rows, columns, channels)", format!("{input:?}")));
    };
    let (outputs, kernel) = match *weight {
        [outputs, rows, columns, last] if last == inputs && outputs * rows * columns * inputs > 0 => {
            (outputs, (rows, columns))
        }
        _ => return Err(Error::shape("weight", format!("(outputs, rows, columns, {inputs})"), format!("{weight:?}"))),
    };
    if stride == 0 {
        return Err(Error::value("stride", stride, "from 1 up"));
    }
    /// More than any image has pixels in a row.
    const MOST_PADDING: usize = 1 << 16;
    if padding > MOST_PADDING {
        return Err(Error::value("padding", padding, format!("at most {MOST_PADDING}")));
    }
    let within = (height + 2 * padding, width + 2 * padding);
    if kernel.0 > within.0 || kernel.1 > within.1 {
        return Err(Error::shape("weight", format!("a kernel within {within:?}"), format!("{kernel:?}")));
    }
    Ok(Shape { batch, height, width, inputs, outputs, kernel, stride, padding })
}
