//! A GPU: its kernels, loaded once, and launches on a stream of whoever calls.
//!
//! It is a guest in the process: it works in the device's primary context, which is PyTorch's too, allocates nothing, never
//! waits, and leaves the current context as it was.
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

/// The driver's version, 13000 for 13.0.
///
/// # Errors
/// There is no driver.
pub fn driver_version() -> Result<i32> {
    // SAFETY: loads a library, as every call of it would.
    if !unsafe { sys::is_culib_present() } {
        return Err(Error::Cuda { reason: "no driver (libcuda) on this machine".into() });
    }
    let mut version = 0;
    // SAFETY: a place for a number.
    unsafe { sys::cuDriverGetVersion(&raw mut version) }
        .result()
        .map_err(error("the driver does not tell its version"))?;
    Ok(version)
}

/// Names of the GPUs, and their compute capabilities, 90 for 9.0.
///
/// # Errors
/// No driver, or no GPU that it sees.
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
        // SAFETY: a device that the driver gave.
        unsafe { result::device::get_attribute(device, attribute) }.map_err(error("a device does not tell what it is"))
    };
    Ok((10 * of(MAJOR)? + of(MINOR)?).cast_unsigned())
}

/// A GPU with what has been loaded on it.
#[derive(Debug)]
pub struct Device {
    context: Pointer,
    arch: u32,
    functions: Mutex<HashMap<Arc<Kernel>, Pointer>>,
}

/// A handle of the driver's.
#[derive(Clone, Copy, Debug)]
struct Pointer(*mut c_void);

// SAFETY: the driver's handles are for all threads.
unsafe impl Send for Pointer {}
// SAFETY: as above.
unsafe impl Sync for Pointer {}

/// Where each space begins, as the device counts.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// Of [`Space::Weights`].
    pub weights: u64,
    /// Of [`Space::Workspace`].
    pub workspace: u64,
    /// Of [`Space::Words`].
    pub words: u64,
    /// Of [`Space::Images`].
    pub images: u64,
    /// Of [`Space::Out`].
    pub out: u64,
    /// Of [`Space::Styles`].
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
    /// The GPU of this number.
    ///
    /// # Errors
    /// No driver, no such device, one before Turing.
    pub fn new(ordinal: i32) -> Result<Self> {
        driver_version()?;
        result::init().map_err(error("the driver does not start"))?;
        let device = result::device::get(ordinal).map_err(error(&format!("no device {ordinal}")))?;
        let arch = arch(device)?;
        if arch < 75 {
            let reason = format!("device {ordinal} has compute capability {}.{}; 7.5 is needed", arch / 10, arch % 10);
            return Err(Error::Cuda { reason });
        }
        // SAFETY: a device that the driver gave. Its primary context stays for as long as the process.
        let context = unsafe { result::primary_ctx::retain(device) }.map_err(error("no context on the device"))?;
        Ok(Self { context: Pointer(context.cast()), arch, functions: Mutex::default() })
    }

    /// Loads what these launches need, from files or compiled; and why what was compiled could not be kept.
    ///
    /// # Errors
    /// No NVRTC, a kernel that does not compile or load.
    pub fn load(&self, launches: &[Launch]) -> Result<Option<Error>> {
        let missing: HashSet<&Arc<Kernel>> = {
            let functions = locked(&self.functions);
            launches.iter().map(|launch| &launch.kernel).filter(|kernel| !functions.contains_key(*kernel)).collect()
        };
        if missing.is_empty() {
            return Ok(None);
        }
        let mut unkept = None;
        // Not under the lock: signals are heard meanwhile, and their handlers may call this device.
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
            // SAFETY: code that NVRTC made for this device, and a function in it. It stays for as long as the process.
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

    /// Of these kernels, on as many threads as there are.
    fn machine_code(&self, kernels: Vec<Arc<Kernel>>) -> Vec<(Arc<Kernel>, Result<compiler::Code>)> {
        let (folder, made) = (compiler::folder(), Mutex::new(vec![]));
        pool::each(pool::cores().min(kernels.len()), kernels.into_iter(), |kernel| {
            let code = compiler::cached(&kernel, self.arch, folder.as_deref());
            locked(&made).push((kernel, code));
        });
        made.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lines the launches up on a stream of the device's. What they read and write must stay until the stream has passed them;
    /// an address that is wrong is an error of the device's, at some later call.
    ///
    /// # Errors
    /// [`Device::load`]'s, or the driver's.
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
            // SAFETY: a function of this context with as many arguments as it takes, which the driver copies.
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

/// A context that is current for as long as this lives.
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
