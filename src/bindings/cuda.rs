//! Algorithm 1 on a GPU: plans, devices, and information about the installation. The caller owns device memory and streams.
use super::run::caught;
use super::style::StyleParams;
use super::stylizer::Stylizer;
use super::view_params::{Draws, ViewParams, for_views};
use super::views::Views;
use crate::error::{Error, Result};
use crate::kernels::cuda::device;
use crate::kernels::cuda::device::Addresses;
use crate::kernels::cuda::{At, DeviceImages, Kernel, PixelType, Plan, Space, compiler};
use crate::style::cuda::{DeviceStylizer, StyleSource};
use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::collections::HashSet;
use std::sync::Arc;

/// The style predictor F and the transformer T as CUDA kernels, which `sassl.cuda` launches.
///
/// Args:
///     stylizer: supplies the model and the precision. On a GPU, "exact" is float32, and "fast" is float16 with float32
///         accumulation.
#[pyclass(frozen, module = "sassl._sassl")]
pub(super) struct CudaStylizer(DeviceStylizer);

/// The kernel launches of a batch.
#[pyclass(frozen, module = "sassl._sassl")]
pub(super) struct CudaPlan(Plan);

/// A GPU, by its ordinal, with the kernels loaded on it.
///
/// Raises:
///     RuntimeError: no driver, no such GPU, or a compute capability below 7.5.
#[pyclass(frozen, module = "sassl._sassl")]
pub(super) struct CudaDevice(device::Device);

/// A tensor's layout: (dtype, height, width, strides). Strides are in elements, for the image, row, column and channel axes.
type Layout = (String, usize, usize, [i64; 4]);

fn images(space: Space, (dtype, height, width, strides): Layout) -> Result<DeviceImages> {
    let pixels = match &dtype[..] {
        "uint8" => PixelType::U8,
        "float16" => PixelType::F16,
        "bfloat16" => PixelType::BF16,
        "float32" => PixelType::F32,
        _ => return Err(Error::value("dtype", dtype, "must be uint8, float16, bfloat16 or float32")),
    };
    Ok(DeviceImages { at: space.into(), pixels, strides: strides.into(), height, width })
}

#[pymethods]
impl CudaStylizer {
    #[new]
    fn new(py: Python<'_>, stylizer: &Stylizer) -> PyResult<Self> {
        let exact = stylizer.precision() == "exact";
        super::run::run(py, || Ok(Self(DeviceStylizer::new(&stylizer.model()?, exact)?)))
    }

    /// The weights as bytes, in the kernels' layout, to be copied to the device.
    #[pyo3(signature = () -> "numpy.typing.NDArray[numpy.uint8]")]
    fn weights<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        PyArray1::from_slice(py, self.0.weights()).into_any()
    }

    /// Plan the kernel launches of Algorithm 1 for a batch.
    ///
    /// Args:
    ///     images, out: layouts of the input and of the output: (dtype, height, width, strides). Strides are in elements, for
    ///         the image, row, column and channel axes.
    ///     params: the parameters drawn for these images.
    ///     styles: number of vectors in the bank, or None for in-batch styles.
    ///
    /// Raises:
    ///     ValueError: an unsupported dtype or image size, or a style index out of range.
    #[pyo3(signature = (
        images: "tuple[str, int, int, tuple[int, int, int, int]]", params,
        out: "tuple[str, int, int, tuple[int, int, int, int]]", styles: "int | None" = None,
    ))]
    fn plan(&self, images: Layout, params: &StyleParams, out: Layout, styles: Option<usize>) -> PyResult<CudaPlan> {
        let (images, out) = (self::images(Space::Images, images)?, self::images(Space::Out, out)?);
        let plan =
            || Ok(self.0.apply(&images, &params.0, styles.map_or(StyleSource::Batch, StyleSource::Bank), &out)?);
        Ok(CudaPlan(caught("images", plan)?))
    }

    /// Plan the kernel launches of F for `count` images. The output is (count, dim) float32.
    #[pyo3(signature = (images: "tuple[str, int, int, tuple[int, int, int, int]]", count))]
    fn encode(&self, images: Layout, count: usize) -> PyResult<CudaPlan> {
        let images = self::images(Space::Images, images)?;
        Ok(CudaPlan(caught("images", || Ok(self.0.encode(&images, count)?))?))
    }
}

/// Plan the kernel launches that compute the views of a batch of uint8 images.
///
/// Args:
///     views: the views to compute.
///     images: layout of the images: (dtype, height, width, strides). Strides are in elements, for the image, row, column and
///         channel axes.
///     params: for each image, the parameters drawn for each view.
///     out: for each view, (byte offset from the start of the output, layout); the layout has the form of `images`.
///     stylizer: the stylizer of the style steps; None if the views have no style steps.
///     styles: number of vectors in the bank of the style steps, or None for in-batch styles.
///
/// Raises:
///     ValueError: images that are not uint8, parameters that do not match the views' steps, or an operation without a CUDA
///         kernel. The error names the operation.
#[pyfunction]
#[pyo3(signature = (
    views, images: "tuple[str, int, int, tuple[int, int, int, int]]", params,
    out: "list[tuple[int, tuple[str, int, int, tuple[int, int, int, int]]]]", stylizer = None, styles = None
))]
pub(super) fn cuda_views(
    views: &Views,
    images: Layout,
    params: Vec<Vec<ViewParams>>,
    out: Vec<(usize, Layout)>,
    stylizer: Option<&CudaStylizer>,
    styles: Option<usize>,
) -> PyResult<CudaPlan> {
    let (images, out) = (self::images(Space::Images, images)?, places(out)?);
    let params = params.into_iter().map(|params| for_views(params, out.len())).collect::<Result<Vec<_>>>()?;
    let plan = || Ok(views.0.plan(&images, &params, &out, style_of(stylizer, styles))?);
    Ok(CudaPlan(caught("images", plan)?))
}

/// Plan the kernel launches that compute the views of a batch from the output of a `Loader`.
///
/// The loader returned crops or regions, which the caller copies to the device. The kernels overwrite crops.
///
/// Args:
///     views: the views to compute.
///     draws: the loader's draws.
///     out, stylizer, styles: as in `cuda_views`.
///     pixels: size of the crops or regions in bytes, to be checked against the draws; None skips the check.
///
/// Raises:
///     ValueError: draws that do not match the views' steps or the size of the pixels, or an operation without a CUDA kernel.
///         The error names the operation.
#[pyfunction]
#[pyo3(signature = (
    views, draws, out: "list[tuple[int, tuple[str, int, int, tuple[int, int, int, int]]]]", stylizer = None, styles = None,
    pixels = None
))]
pub(super) fn cuda_finish(
    py: Python<'_>,
    views: &Views,
    draws: &Draws,
    out: Vec<(usize, Layout)>,
    stylizer: Option<&CudaStylizer>,
    styles: Option<usize>,
    pixels: Option<usize>,
) -> PyResult<CudaPlan> {
    let (out, style) = (places(out)?, style_of(stylizer, styles));
    pixels.map_or(Ok(()), |bytes| draws.check(&views.0, bytes))?;
    let Draws { params, regions } = draws;
    let plan = || match regions.is_empty() {
        true => views.0.plan_finish(params, &out, style),
        false => views.0.plan_regions(regions, params, &out, style),
    };
    Ok(CudaPlan(super::run::run(py, plan)?))
}

/// Returns the location of each view in the output.
fn places(out: Vec<(usize, Layout)>) -> Result<Vec<DeviceImages>> {
    let place = |(bytes, layout): (usize, Layout)| {
        Ok(DeviceImages { at: At { space: Space::Out, bytes }, ..images(Space::Out, layout)? })
    };
    out.into_iter().map(place).collect()
}

fn style_of(stylizer: Option<&CudaStylizer>, styles: Option<usize>) -> Option<(&DeviceStylizer, StyleSource)> {
    stylizer.map(|stylizer| (&stylizer.0, styles.map_or(StyleSource::Batch, StyleSource::Bank)))
}

#[pymethods]
impl CudaPlan {
    /// Size of the workspace in bytes.
    #[getter]
    fn workspace(&self) -> usize {
        self.0.workspace()
    }

    fn __len__(&self) -> usize {
        self.0.launches.len()
    }

    /// Compile the kernels for an architecture, and return the size of each compiled kernel in bytes, by name.
    ///
    /// `arch` is 90 for compute capability 9.0. No GPU is needed.
    #[pyo3(signature = (arch) -> "dict[str, int]")]
    fn compile<'py>(&self, py: Python<'py>, arch: u32) -> PyResult<Bound<'py, PyDict>> {
        let kernels: HashSet<&Arc<Kernel>> = self.0.launches.iter().map(|launch| &launch.kernel).collect();
        let kernels: Vec<_> = kernels.into_iter().collect();
        let sizes = super::run::run(py, || {
            kernels.iter().map(|kernel| Ok(compiler::compile(kernel, arch)?.len())).collect::<Result<Vec<_>>>()
        })?;
        let found = PyDict::new(py);
        for (kernel, size) in kernels.into_iter().zip(sizes) {
            found.set_item(format!("{} {:?}", kernel.name, kernel.defines), size)?;
        }
        Ok(found)
    }

    /// Compile and load the kernels in advance, so that `run` does not have to.
    ///
    /// The result and the errors are those of `run`.
    fn load(&self, py: Python<'_>, device: &CudaDevice) -> PyResult<Option<String>> {
        let unkept = super::run::run(py, || device.0.load(&self.0.launches))?;
        Ok(unkept.map(|error| error.to_string()))
    }

    /// Enqueue the kernel launches on a stream, without waiting for them to finish.
    ///
    /// Args:
    ///     device: the device that holds all buffers.
    ///     addresses: the device addresses of the weights, the workspace, the images, the output and the style vectors.
    ///     stream: a `cudaStream_t`, as an integer.
    ///
    /// Returns:
    ///     The reason why compiled kernels could not be cached on disk, or None.
    ///
    /// Raises:
    ///     RuntimeError: NVRTC is missing, or the CUDA driver reports an error.
    fn run(
        &self,
        py: Python<'_>,
        device: &CudaDevice,
        addresses: (u64, u64, u64, u64, u64),
        stream: u64,
    ) -> PyResult<Option<String>> {
        let (weights, workspace, images, out, styles) = addresses;
        let words = workspace + self.0.words_at() as u64;
        let addresses = Addresses { weights, workspace, words, images, out, styles };
        let unkept = super::run::run(py, || device.0.run(&self.0.launches, &addresses, stream))?;
        Ok(unkept.map(|error| error.to_string()))
    }
}

#[pymethods]
impl CudaDevice {
    #[new]
    fn new(py: Python<'_>, ordinal: i32) -> PyResult<Self> {
        super::run::run(py, || Ok(Self(device::Device::new(ordinal)?)))
    }
}

/// Return a dict that describes CUDA on this machine:
///
/// - "driver" and "nvrtc": the versions of the CUDA driver and of NVRTC.
/// - "devices": the GPUs with their compute capabilities.
/// - "kernels": the folder in which compiled kernels are cached.
///
/// An item that cannot be determined is replaced with the reason.
#[pyfunction]
#[pyo3(signature = () -> "dict[str, typing.Any]")]
pub(super) fn cuda_info(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let told = |found: Result<String>| found.unwrap_or_else(|error| error.to_string());
    let info = PyDict::new(py);
    let version = |n: i32| format!("{}.{}", n / 1000, n % 100 / 10);
    info.set_item("driver", told(device::driver_version().map(version)))?;
    info.set_item("nvrtc", told(compiler::version().map(|(major, minor)| format!("{major}.{minor}"))))?;
    match device::devices() {
        Ok(devices) => info.set_item("devices", devices)?,
        Err(error) => info.set_item("devices", error.to_string())?,
    }
    info.set_item("kernels", compiler::folder())?;
    Ok(info)
}
