//! A GPU: its kernels, loaded once, and launches on the caller's stream.
//!
//! This code is a guest in the process. It works in the device's primary context, which it shares with PyTorch. It allocates no
//! device memory, never synchronizes, and restores the caller's current context.
#![allow(unsafe_code)]
use super::{At, Kernel, Launch, Space, compiler};
use crate::error::{Error, Result};
use crate::kernels::threads::lock::locked;
use crate::kernels::threads::pool;
use cudarc::driver::{result, sys};
use std::collections::{HashMap, HashSet};
use std::ffi::{CString, c_void};
use std::sync::{Arc, Mutex, PoisonError};

fn error(what: &str) -> impl FnOnce(result::DriverError) -> Error {
    move |e| {
        let told = e.error_string().map_or_else(|_| format!("{:?}", e.0), |text| text.to_string_lossy().into_owned());
        Error::Cuda { reason: format!("{what}: {told}") }
    }
}

/// Returns the CUDA version that the driver supports, such as 13000 for 13.0.
///
/// # Errors
/// No CUDA driver is installed, or it does not report its version.
pub fn driver_version() -> Result<i32> {
    // SAFETY: only loads the library, as any call to it would.
    if !unsafe { sys::is_culib_present() } {
        return Err(Error::Cuda { reason: "no driver (libcuda) on this machine".into() });
    }
    let mut version = 0;
    // SAFETY: points to an integer.
    unsafe { sys::cuDriverGetVersion(&raw mut version) }
        .result()
        .map_err(error("the driver does not report its version"))?;
    Ok(version)
}

/// Returns the name and the compute capability of each GPU. A compute capability of 9.0 is 90.
///
/// # Errors
/// No CUDA driver is installed, or it finds no GPU.
pub fn devices() -> Result<Vec<(String, u32)>> {
    let version = driver_version()?;
    result::init().map_err(error(&format!(
        "the driver, for CUDA {}.{}, does not start",
        version / 1000,
        version % 100 / 10
    )))?;
    let n = result::device::get_count().map_err(error("the driver counts no devices"))?;
    (0..n)
        .map(|ordinal| {
            let device = result::device::get(ordinal).map_err(error("no such device"))?;
            Ok((result::device::get_name(device).map_err(error("a device has no name"))?, arch(device)?))
        })
        .collect()
}

fn arch(device: sys::CUdevice) -> Result<u32> {
    use sys::CUdevice_attribute::{
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR as MAJOR, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR as MINOR,
    };
    let of = |attribute| {
        // SAFETY: a device returned by the driver.
        unsafe { result::device::get_attribute(device, attribute) }
            .map_err(error("a device does not report its attributes"))
    };
    Ok((10 * of(MAJOR)? + of(MINOR)?).cast_unsigned())
}

/// A GPU with the kernels loaded on it.
#[derive(Debug)]
pub struct Device {
    context: Pointer,
    arch: u32,
    functions: Mutex<HashMap<Arc<Kernel>, Pointer>>,
}

/// An opaque handle returned by the driver.
#[derive(Clone, Copy, Debug)]
struct Pointer(*mut c_void);

// SAFETY: the driver's handles can be used from any thread.
unsafe impl Send for Pointer {}
// SAFETY: as above.
unsafe impl Sync for Pointer {}

/// Device address of each memory region.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// Start of [`Space::Weights`].
    pub weights: u64,
    /// Start of [`Space::Workspace`].
    pub workspace: u64,
    /// Start of [`Space::Words`].
    pub words: u64,
    /// Start of [`Space::Images`].
    pub images: u64,
    /// Start of [`Space::Out`].
    pub out: u64,
    /// Start of [`Space::Styles`].
    pub styles: u64,
}

impl Addresses {
    fn of(&self, at: At) -> u64 {
        let begin = match at.space {
            Space::Weights => self.weights,
            Space::Workspace => self.workspace,
            Space::Words => self.words,
            Space::Images => self.images,
            Space::Out => self.out,
            Space::Styles => self.styles,
        };
        begin + at.bytes as u64
    }
}

impl Device {
    /// Opens the GPU with index `ordinal`.
    ///
    /// # Errors
    /// There is no CUDA driver or no such device, or its compute capability is below 7.5 (Turing).
    pub fn new(ordinal: i32) -> Result<Self> {
        driver_version()?;
        result::init().map_err(error("the driver does not start"))?;
        let device = result::device::get(ordinal).map_err(error(&format!("no device {ordinal}")))?;
        let arch = arch(device)?;
        if arch < 75 {
            let reason = format!("device {ordinal} has compute capability {}.{}; 7.5 is needed", arch / 10, arch % 10);
            return Err(Error::Cuda { reason });
        }
        // SAFETY: a device returned by the driver. Its primary context is kept for the life of the process.
        let context = unsafe { result::primary_ctx::retain(device) }.map_err(error("no context on the device"))?;
        Ok(Self { context: Pointer(context.cast()), arch, functions: Mutex::default() })
    }

    /// Loads the kernels of these launches from the cache, or compiles them. Returns the error that prevented caching of
    /// compiled code, if any.
    ///
    /// # Errors
    /// NVRTC is not found, or a kernel does not compile or load.
    pub fn load(&self, launches: &[Launch]) -> Result<Option<Error>> {
        let missing: HashSet<&Arc<Kernel>> = {
            let functions = locked(&self.functions);
            launches.iter().map(|launch| &launch.kernel).filter(|kernel| !functions.contains_key(*kernel)).collect()
        };
        if missing.is_empty() {
            return Ok(None);
        }
        let mut unkept = None;
        // Without the lock: signals are handled meanwhile, and their handlers may call this device.
        let compiled = self.machine_code(missing.into_iter().cloned().collect());
        let _current = Current::new(self.context)?;
        let mut functions = locked(&self.functions);
        for (kernel, code) in compiled {
            if functions.contains_key(&kernel) {
                continue;
            }
            let (code, failed) = code?;
            unkept = unkept.or(failed);
            let name = CString::new(kernel.name).unwrap_or_default();
            // SAFETY: code that NVRTC compiled for this device, and a function in it. It stays loaded for the life of the
            // process.
            let function = unsafe {
                let module = result::module::load_data(code.as_ptr().cast()).map_err(error(
                    "the driver does not load a kernel (while a CUDA graph is captured it must not: call once before; else NVRTC is \
                     newer than the driver)",
                ))?;
                result::module::get_function(module, name).map_err(error("a kernel is not in its module"))?
            };
            functions.insert(kernel, Pointer(function.cast()));
        }
        Ok(unkept)
    }

    /// Returns the machine code of these kernels, cached or compiled. The kernels are processed in parallel on all cores.
    fn machine_code(&self, kernels: Vec<Arc<Kernel>>) -> Vec<(Arc<Kernel>, Result<compiler::Code>)> {
        let (folder, made) = (compiler::folder(), Mutex::new(vec![]));
        pool::each(pool::cores().min(kernels.len()), kernels.into_iter(), |kernel| {
            let code = compiler::cached(&kernel, self.arch, folder.as_deref());
            locked(&made).push((kernel, code));
        });
        made.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enqueues launches on a stream of this device. The memory that they access must remain valid until they have finished. An
    /// invalid address is only reported by a later CUDA call. The return value is that of [`Device::load`].
    ///
    /// # Errors
    /// The same as [`Device::load`], or the driver's error.
    pub fn run(&self, launches: &[Launch], addresses: &Addresses, stream: u64) -> Result<Option<Error>> {
        let unkept = self.load(launches)?;
        let functions = locked(&self.functions);
        let _current = Current::new(self.context)?;
        for launch in launches {
            let mut values: Vec<Vec<u64>> = launch.args.iter().map(|arg| arg.placed(|at| addresses.of(at))).collect();
            let mut pointers: Vec<*mut c_void> = values.iter_mut().map(|value| value.as_mut_ptr().cast()).collect();
            let [x, y, z] = launch.grid;
            let Some(function) = functions.get(&launch.kernel) else {
                return Err(Error::Cuda { reason: format!("{} was not compiled", launch.kernel.name) });
            };
            // SAFETY: a function of this context with all of its arguments, which the driver copies.
            unsafe {
                result::launch_kernel(
                    function.0.cast(),
                    (x, y, z),
                    (launch.block, 1, 1),
                    launch.shared as u32,
                    stream as sys::CUstream,
                    &mut pointers,
                )
            }
            .map_err(error(&format!("{} does not start", launch.kernel.name)))?;
        }
        Ok(unkept)
    }
}

/// A guard that makes a context current until it is dropped.
struct Current;

impl Current {
    fn new(context: Pointer) -> Result<Self> {
        // SAFETY: a context of this process.
        unsafe { sys::cuCtxPushCurrent_v2(context.0.cast()) }
            .result()
            .map_err(error("the context does not become current"))?;
        Ok(Self)
    }
}

impl Drop for Current {
    fn drop(&mut self) {
        let mut context = std::ptr::null_mut();
        // SAFETY: pops what was pushed.
        let _ = unsafe { sys::cuCtxPopCurrent_v2(&raw mut context) };
    }
}
