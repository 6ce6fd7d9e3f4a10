//! Computation of a JPEG's pixels from its coefficients: inverse DCT, smooth upsampling and colour conversion. libjpeg calls
//! the functions in [`Kernels`].
//!
//! Upsampling and the conversion from CMYK are written once, and also compiled for AVX2.
#![allow(unsafe_code)]
mod avx2;
mod scalar;

use crate::kernels::isa::Isa;
use std::ops::Range;
use std::slice::{from_raw_parts, from_raw_parts_mut};

type InverseDct = unsafe extern "C" fn(*const i16, *const u16, *const *mut u8, usize);

/// The kernels with the C interface of `kernel_table` in `src/image/jpeg/reader.c`.
#[repr(C)]
pub struct Kernels {
    inverse_dct: [InverseDct; 4],
    h2v1: unsafe extern "C" fn(*const u8, *mut u8, usize, usize, usize),
    h2v2: unsafe extern "C" fn(*const u8, *const u8, *mut u8, usize, usize, usize),
    ycc_to_rgb: unsafe extern "C" fn(*const *const u8, *mut u8, usize, usize),
    cmyk_to_rgb: unsafe extern "C" fn(*const u8, *mut u8, usize, usize),
}

impl Kernels {
    /// Returns the kernels of an instruction set.
    ///
    /// # Panics
    /// If the machine does not support the instruction set.
    pub fn new(isa: Isa) -> Self {
        assert!(isa.is_supported(), "this CPU has no {}", isa.name());
        #[cfg(target_arch = "x86_64")]
        if isa.includes_avx2() {
            return Self {
                inverse_dct: [inverse_dct1, inverse_dct2, inverse_dct4, avx2::inverse_dct8],
                h2v1: avx2::h2v1,
                h2v2: avx2::h2v2,
                ycc_to_rgb: avx2::ycc_to_rgb,
                cmyk_to_rgb: avx2::cmyk_to_rgb,
            };
        }
        Self {
            inverse_dct: [inverse_dct1, inverse_dct2, inverse_dct4, inverse_dct8],
            h2v1,
            h2v2,
            ycc_to_rgb,
            cmyk_to_rgb,
        }
    }

    /// Computes `size` x `size` samples from a block of coefficients, and returns them row by row.
    ///
    /// # Panics
    /// If `size` is not 1, 2, 4 or 8.
    pub fn inverse_dct(&self, size: usize, coefficients: &[i16; 64], quantization: &[u16; 64]) -> Vec<u8> {
        let which = [1, 2, 4, 8].iter().position(|&known| known == size).expect("1, 2, 4 or 8 samples");
        let mut samples = vec![0; size * size];
        let rows: Vec<_> = samples.chunks_exact_mut(size).map(<[u8]>::as_mut_ptr).collect();
        // SAFETY: `size` rows of `size` samples.
        unsafe { self.inverse_dct[which](coefficients.as_ptr(), quantization.as_ptr(), rows.as_ptr(), 0) }
        samples
    }

    /// Doubles the width of a row with smooth ("fancy") upsampling. Only the samples in the range `part` are processed.
    ///
    /// # Panics
    /// If `wide` is not twice as wide as `samples`.
    pub fn h2v1(&self, samples: &[u8], wide: &mut [u8], part: Range<usize>) {
        assert!(wide.len() == 2 * samples.len());
        // SAFETY: as asserted; the kernel stays within the width.
        unsafe { (self.h2v1)(samples.as_ptr(), wide.as_mut_ptr(), samples.len(), part.start, part.end) }
    }

    /// Like [`Kernels::h2v1`], but also interpolates vertically, between a nearer and a further row.
    ///
    /// # Panics
    /// If `near` and `far` differ in length, or `wide` is not twice as wide as each row.
    pub fn h2v2(&self, near: &[u8], far: &[u8], wide: &mut [u8], part: Range<usize>) {
        assert!(wide.len() == 2 * near.len() && far.len() == near.len());
        let (width, Range { start, end }) = (near.len(), part);
        // SAFETY: as asserted; the kernel stays within the width.
        unsafe { (self.h2v2)(near.as_ptr(), far.as_ptr(), wide.as_mut_ptr(), width, start, end) }
    }

    /// Converts YCbCr to interleaved RGB pixels.
    ///
    /// # Panics
    /// If the lengths do not match.
    pub fn ycc_to_rgb(&self, ycc: [&[u8]; 3], pixels: &mut [u8]) {
        assert!(ycc.iter().all(|samples| samples.len() * 3 == pixels.len()));
        let rows = ycc.map(<[u8]>::as_ptr);
        // SAFETY: as asserted.
        unsafe { (self.ycc_to_rgb)(rows.as_ptr(), pixels.as_mut_ptr(), 0, pixels.len() / 3) }
    }
}

// SAFETY of all below: reader.c and the methods above pass pointers to 64 values, or to rows of the given width or range of
// pixels; code compiled for an instruction set is only reached through that set's table.

unsafe extern "C" fn inverse_dct8(
    coefficients: *const i16,
    quantization: *const u16,
    rows: *const *mut u8,
    column: usize,
) {
    // SAFETY: see above.
    unsafe {
        let samples = scalar::inverse_dct8(&*coefficients.cast(), &*quantization.cast());
        store(&samples, rows, column);
    }
}

unsafe extern "C" fn inverse_dct4(
    coefficients: *const i16,
    quantization: *const u16,
    rows: *const *mut u8,
    column: usize,
) {
    // SAFETY: see above.
    unsafe { store(&scalar::inverse_dct4(&*coefficients.cast(), &*quantization.cast()), rows, column) }
}

unsafe extern "C" fn inverse_dct2(
    coefficients: *const i16,
    quantization: *const u16,
    rows: *const *mut u8,
    column: usize,
) {
    // SAFETY: see above.
    unsafe { store(&scalar::inverse_dct2(&*coefficients.cast(), &*quantization.cast()), rows, column) }
}

unsafe extern "C" fn inverse_dct1(
    coefficients: *const i16,
    quantization: *const u16,
    rows: *const *mut u8,
    column: usize,
) {
    // SAFETY: see above.
    unsafe { store(&[[scalar::inverse_dct1(&*coefficients.cast(), &*quantization.cast())]], rows, column) }
}

/// Writes a block of samples.
#[inline(always)]
unsafe fn store<const N: usize>(samples: &[[u8; N]; N], rows: *const *mut u8, column: usize) {
    for (i, row) in samples.iter().enumerate() {
        // SAFETY: guaranteed by the caller.
        unsafe { (*rows.add(i)).add(column).cast::<[u8; N]>().write_unaligned(*row) }
    }
}

#[inline(always)]
unsafe extern "C" fn h2v1(samples: *const u8, wide: *mut u8, width: usize, from: usize, to: usize) {
    // SAFETY: see above.
    unsafe { scalar::h2v1(from_raw_parts(samples, width), from_raw_parts_mut(wide, 2 * width), from..to.min(width)) }
}

#[inline(always)]
unsafe extern "C" fn h2v2(near: *const u8, far: *const u8, wide: *mut u8, width: usize, from: usize, to: usize) {
    // SAFETY: see above.
    unsafe {
        let (near, far) = (from_raw_parts(near, width), from_raw_parts(far, width));
        scalar::h2v2(near, far, from_raw_parts_mut(wide, 2 * width), from..to.min(width));
    }
}

unsafe extern "C" fn ycc_to_rgb(ycc: *const *const u8, pixels: *mut u8, from: usize, to: usize) {
    // SAFETY: see above.
    unsafe {
        let ycc = *ycc.cast::<[*const u8; 3]>();
        let [y, cb, cr] = ycc.map(|row| from_raw_parts(row.add(from), to - from));
        let pixels = from_raw_parts_mut(pixels.cast::<[u8; 3]>().add(from), to - from);
        for (pixel, ((y, cb), cr)) in pixels.iter_mut().zip(y.iter().zip(cb).zip(cr)) {
            *pixel = scalar::ycc_to_rgb(*y, *cb, *cr);
        }
    }
}

#[inline(always)]
unsafe extern "C" fn cmyk_to_rgb(cmyk: *const u8, pixels: *mut u8, from: usize, to: usize) {
    // SAFETY: see above.
    unsafe {
        let cmyk = from_raw_parts(cmyk.add(4 * from), 4 * (to - from));
        scalar::cmyk_to_rgb(cmyk, from_raw_parts_mut(pixels.add(3 * from), 3 * (to - from)));
    }
}
