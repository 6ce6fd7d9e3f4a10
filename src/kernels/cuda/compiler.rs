//! NVRTC: compiles a kernel's source to machine code for one architecture. Each machine does this once, and caches the result
//! in files.
//!
//! The alternative is to ship code for all architectures in the package. This would need the CUDA toolkit at build time, and
//! drivers as recent as that toolkit. NVRTC takes about 0.2 s for a kernel, in parallel on all cores. Reading a cache file
//! takes about 0.1 ms.
#![allow(unsafe_code)]
use super::Kernel;
use crate::error::{Error, Result};
use crate::files;
use cudarc::nvrtc::{result, sys};
use sha2::{Digest, Sha256};
use std::ffi::CString;
use std::fs::{DirBuilder, Metadata};
use std::path::{Path, PathBuf};

/// First bytes of a cache file. They are followed by the SHA-256 digest of the code, and then by the code.
const MAGIC: &[u8; 8] = b"sassl\0k1";

fn error(reason: impl Into<String>) -> Error {
    Error::Cuda { reason: reason.into() }
}

/// Returns the major and minor version of NVRTC.
///
/// # Errors
/// NVRTC is not found, or does not report its version.
pub fn version() -> Result<(i32, i32)> {
    // SAFETY: only loads the library, as any call to it would.
    if !unsafe { sys::is_culib_present() } {
        return Err(error(
            "no NVRTC (libnvrtc), which compiles the kernels; PyTorch for CUDA brings it, or pip install nvidia-cuda-nvrtc",
        ));
    }
    let (mut major, mut minor) = (0, 0);
    // SAFETY: points to two integers.
    unsafe { sys::nvrtcVersion(&raw mut major, &raw mut minor) }
        .result()
        .map_err(|e| error(format!("NVRTC does not report its version: {e}")))?;
    Ok((major, minor))
}

/// Kernels that may use fused multiply-adds. Their results need not be bit-identical to the CPU's results.
const FUSED: [&str; 7] = ["affine_add", "conv", "features", "interpolate", "linear", "resize", "style_norm"];

/// Returns the architecture to compile for. This is the device's architecture if this NVRTC supports it. Otherwise, it is the
/// newest older architecture with the same major version that NVRTC supports.
fn known(arch: u32) -> Result<u32> {
    version()?;
    let mut count = 0;
    // SAFETY: points to a count, and then to an array of that many values.
    let found = unsafe {
        sys::nvrtcGetNumSupportedArchs(&raw mut count).result().and_then(|()| {
            let mut archs = vec![0; usize::try_from(count).unwrap_or(0)];
            sys::nvrtcGetSupportedArchs(archs.as_mut_ptr()).result().map(|()| archs)
        })
    };
    let archs = found.map_err(|e| error(format!("NVRTC does not report its architectures: {e}")))?;
    let fits = |&known: &u32| known / 10 == arch / 10 && known <= arch;
    archs.into_iter().map(i32::cast_unsigned).filter(fits).max().ok_or_else(|| {
        error(format!("this NVRTC does not know compute capability {}.{}; a newer one does", arch / 10, arch % 10))
    })
}

fn options(kernel: &Kernel, arch: u32) -> [String; 3] {
    let fused = FUSED.contains(&kernel.name);
    [format!("--gpu-architecture=sm_{arch}"), "--std=c++17".into(), format!("--fmad={fused}")]
}

/// Compiles a kernel to machine code for a compute capability, such as 90 for 9.0.
///
/// # Errors
/// NVRTC is not found or too old for the architecture, or the kernel does not compile.
pub fn compile(kernel: &Kernel, arch: u32) -> Result<Vec<u8>> {
    let (major, minor) = version()?;
    let text = CString::new(kernel.text()).map_err(|_| error("a kernel holds a zero byte"))?;
    let program = result::create_program(&text, None).map_err(|e| error(format!("NVRTC: {e}")))?;
    let options = options(kernel, arch);
    // SAFETY: the program is created above and destroyed below; the code buffer has the size that NVRTC reports.
    unsafe {
        let made = result::compile_program(program, &options).and_then(|()| {
            let mut size = 0;
            sys::nvrtcGetCUBINSize(program, &raw mut size).result()?;
            let mut code = vec![0; size];
            sys::nvrtcGetCUBIN(program, code.as_mut_ptr().cast()).result()?;
            Ok(code)
        });
        let log = made.is_err().then(|| result::get_program_log(program).ok()).flatten().unwrap_or_default();
        let _ = result::destroy_program(program);
        made.map_err(|e| {
            let log: String = log.iter().map(|&c| char::from(c.to_ne_bytes()[0])).take_while(|&c| c != '\0').collect();
            let remedy = format!("NVRTC {major}.{minor} for sm_{arch}; a newer GPU needs a newer nvidia-cuda-nvrtc");
            error(format!("{} does not compile ({e}) by {remedy}\n{log}", kernel.name))
        })
    }
}

/// Machine code, and the error that prevented caching, if any.
pub type Code = (Vec<u8>, Option<Error>);

/// Reads a kernel's machine code from the cache `folder`, or compiles the kernel and writes the code there.
///
/// A folder that other users can write to is not used, because they could replace the code; [`Code`] then contains an error.
/// Without a folder, nothing is cached.
///
/// # Errors
/// The same as [`compile`].
pub fn cached(kernel: &Kernel, arch: u32, folder: Option<&Path>) -> Result<Code> {
    let arch = known(arch)?;
    let Some(folder) = folder else { return Ok((compile(kernel, arch)?, None)) };
    let (major, minor) = version()?;
    let key = format!("{major}.{minor} {:?}\n{}", options(kernel, arch), kernel.text());
    let file = folder.join(format!("{}-{}.cubin", kernel.name, &hex(&Sha256::digest(key))[..32]));
    match read(&file) {
        Ok(Some(code)) => return Ok((code, None)),
        Ok(None) => {}
        Err(distrust) => return Ok((compile(kernel, arch)?, Some(distrust))),
    }
    let code = compile(kernel, arch)?;
    let failed = write(&file, &code).err();
    Ok((code, failed))
}

/// Reads machine code from a cache file; returns `None` if the file does not exist or is damaged.
///
/// # Errors
/// The file or its folder is a symbolic link, belongs to another user (other than root), or is writable by others.
fn read(file: &Path) -> Result<Option<Vec<u8>>> {
    for path in file.parent().into_iter().chain([file]) {
        match path.symlink_metadata() {
            Ok(found) => check_owner(path, &found)?,
            Err(_) => return Ok(None),
        }
    }
    let Ok(bytes) = std::fs::read(file) else { return Ok(None) };
    let parts = bytes.strip_prefix(MAGIC).and_then(|rest| rest.split_at_checked(32));
    Ok(parts.filter(|(digest, code)| Sha256::digest(code)[..] == **digest).map(|(_, code)| code.to_vec()))
}

/// Checks that a file or folder belongs to this user or root, and that nobody else can write to it.
#[cfg(unix)]
fn check_owner(path: &Path, found: &Metadata) -> Result<()> {
    use std::os::unix::fs::MetadataExt;
    let reason = if found.is_symlink() {
        "is a link"
    } else if ![0, own_user()].contains(&found.uid()) {
        "belongs to another user"
    } else if found.mode() & 0o022 != 0 {
        "can be written by others (chmod go-w)"
    } else {
        return Ok(());
    };
    Err(Error::io(path, std::io::Error::other(format!("{reason}, and is not trusted"))))
}

/// Checks nothing: other systems protect a user's folders by default.
#[cfg(not(unix))]
fn check_owner(_: &Path, _: &Metadata) -> Result<()> {
    Ok(())
}

/// The effective user ID of this process.
#[cfg(unix)]
fn own_user() -> u32 {
    // SAFETY: declared as in POSIX; it takes no arguments and always succeeds.
    unsafe extern "C" {
        safe fn geteuid() -> u32;
    }
    geteuid()
}

/// Writes a cache file atomically, even with concurrent writers. If the folder of the file is missing, it is created with
/// access for this user only.
fn write(file: &Path, code: &[u8]) -> Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    let mut maker = DirBuilder::new();
    maker.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut maker, 0o700);
    maker.create(folder).map_err(|error| Error::io(folder, error))?;
    let found = folder.symlink_metadata().map_err(|error| Error::io(folder, error))?;
    check_owner(folder, &found)?;
    files::write(file, &[MAGIC, &Sha256::digest(code), code])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the folder for compiled kernels. This is `kernels` in `SASSL_CACHE`, or else `sassl/kernels` in the user's cache
/// folder. Returns `None` if no environment variable names either folder.
pub fn folder() -> Option<PathBuf> {
    let of = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache =
        of("XDG_CACHE_HOME").or_else(|| of("LOCALAPPDATA")).or_else(|| of("HOME").map(|home| home.join(".cache")));
    of("SASSL_CACHE").or_else(|| cache.map(|cache| cache.join("sassl"))).map(|folder| folder.join("kernels"))
}

#[cfg(test)]
mod tests {
    use super::{read, write};
    use std::path::Path;

    #[test]
    fn a_file_is_whole_or_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("deeper/a.cubin");
        assert_eq!(read(&file).unwrap(), None);
        write(&file, b"code").unwrap();
        assert_eq!(read(&file).unwrap().unwrap(), b"code");
        let whole = std::fs::read(&file).unwrap();
        for broken in [&whole[..whole.len() - 1], &whole[..20], b"", b"sassl\0k1"] {
            std::fs::write(&file, broken).unwrap();
            assert_eq!(read(&file).unwrap(), None, "{broken:?}");
        }
        let mut flipped = whole.clone();
        *flipped.last_mut().unwrap() ^= 1;
        std::fs::write(&file, flipped).unwrap();
        assert_eq!(read(&file).unwrap(), None);
        assert_eq!(std::fs::read_dir(file.parent().unwrap()).unwrap().count(), 1, "no part is left");
        std::fs::write(folder.path().join("file"), b"").unwrap();
        assert!(write(&folder.path().join("file/a.cubin"), b"code").is_err());
    }
    #[cfg(unix)]
    #[test]
    fn what_others_can_write_is_not_trusted() {
        use std::fs::{Permissions, create_dir, rename, set_permissions};
        use std::os::unix::fs::{PermissionsExt, symlink};
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("kernels");
        let file = folder.join("a.cubin");
        let allow = |path: &Path, mode| set_permissions(path, Permissions::from_mode(mode)).unwrap();
        let refused = |said: &str| {
            let error = read(&file).unwrap_err().to_string();
            assert!(error.contains(said) && error.contains("not trusted"), "{error}");
        };
        write(&file, b"code").unwrap();
        assert_eq!(folder.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        for mode in [0o770, 0o702] {
            allow(&folder, mode);
            refused("written by others");
            assert!(write(&file, b"other").is_err(), "nothing is written where others write");
        }
        allow(&folder, 0o755);
        allow(&file, 0o664);
        refused("written by others");
        allow(&file, 0o644);
        assert_eq!(read(&file).unwrap().unwrap(), b"code");
        let elsewhere = home.path().join("elsewhere");
        rename(&file, &elsewhere).unwrap();
        symlink(&elsewhere, &file).unwrap();
        refused("a link");
        std::fs::remove_dir_all(&folder).unwrap();
        let theirs = home.path().join("theirs");
        create_dir(&theirs).unwrap();
        symlink(&theirs, &folder).unwrap();
        refused("a link");
        assert!(write(&file, b"code").is_err(), "no link is followed");
    }
}
