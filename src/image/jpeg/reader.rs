//! The call into `reader.c`, the only unsafe code of the JPEG decoder.
#![allow(unsafe_code)]
use crate::image::{BROKEN, Refused};
use crate::kernels::image::jpeg::Kernels;
use mozjpeg_sys as _; // for the linker
use std::ffi::{CStr, c_char, c_int, c_long};
use std::ops::Range;

/// Size of libjpeg's messages in bytes, `JMSG_LENGTH_MAX`.
const MESSAGE: usize = 200;

/// Mirrors `request` in reader.c.
#[repr(C)]
struct Request {
    bytes: *const u8,
    length: usize,
    denominator: u32,
    width: u32,
    height: u32,
    left: u32,
    top: u32,
    right: u32,
    bottom: u32,
    pixels: *mut u8,
    kernels: *const Kernels,
    most_memory: c_long,
    most_scans: c_int,
    damage: *mut c_char,
    error: *mut c_char,
}

unsafe extern "C" {
    fn sassl_read_jpeg(request: *const Request) -> c_int;
}

/// Decodes at 1/`denominator` of the size into `pixels`, `[height][width][3]`. Returns the first warning, if any.
///
/// Pixels outside `rows` and `columns` may be left unwritten. `limits` are the memory in bytes and the number of scans.
///
/// # Errors
/// libjpeg rejects the file, the bytes end too early, or memory is exhausted.
///
/// # Panics
/// If `pixels` does not have `height x width x 3` bytes, or `rows` or `columns` exceed the height or the width.
pub(super) fn read(
    bytes: &[u8],
    denominator: u32,
    (height, width): (usize, usize),
    (rows, columns): (Range<usize>, Range<usize>),
    pixels: &mut [u8],
    kernels: &Kernels,
    limits: (c_long, c_int),
) -> Result<Option<String>, Refused> {
    assert!(rows.end <= height && columns.end <= width && pixels.len() == height * width * 3);
    let (mut damage, mut error) = ([0_u8; MESSAGE], [0_u8; MESSAGE]);
    // Sides have sixteen bits in the file.
    let int = |x: usize| x as u32;
    let request = Request {
        bytes: bytes.as_ptr(),
        length: bytes.len(),
        denominator,
        width: int(width),
        height: int(height),
        left: int(columns.start),
        top: int(rows.start),
        right: int(columns.end),
        bottom: int(rows.end),
        pixels: pixels.as_mut_ptr(),
        kernels,
        most_memory: limits.0,
        most_scans: limits.1,
        damage: damage.as_mut_ptr().cast(),
        error: error.as_mut_ptr().cast(),
    };
    // SAFETY: each pointer is valid as its field says, and libjpeg stays within the requested width and height.
    let outcome = unsafe { sassl_read_jpeg(&raw const request) };
    let text = |message: &[u8]| {
        CStr::from_bytes_until_nul(message).map_or_else(|_| String::new(), |text| text.to_string_lossy().into())
    };
    match outcome {
        0 => Ok(Some(text(&damage)).filter(|damage: &String| !damage.is_empty())),
        1 => Err(format!("the file ends too early; {BROKEN}").into()),
        2 => Err(format!("{}; {BROKEN}", text(&error)).into()),
        _ => Err(Refused::Memory(pixels.len())),
    }
}
