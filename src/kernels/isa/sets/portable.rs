//! Eight floats in an array; the compiler vectorizes the loops for the target.
#![allow(unsafe_code)]
use super::{InstructionSet, Row};
use crate::kernels::isa::lanes::{Kernel, Lanes};
use std::ops::Range;

/// The scalar instruction set, without vectors. Kernels without a scalar version run the portable version.
pub(super) struct ScalarSet;

impl InstructionSet for ScalarSet {
    const ROW: Row = Row { name: "scalar", lanes: 1, ..PortableSet::ROW };

    unsafe fn enter<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<Portable>()
    }
}

/// The portable instruction set, supported by every CPU of the target.
pub(super) struct PortableSet;

impl InstructionSet for PortableSet {
    const ROW: Row = Row {
        name: "portable",
        is_supported: || true,
        lanes: Portable::N,
        many_registers: Portable::MANY_REGISTERS,
        bytes: None,
        includes_avx2: false,
    };

    unsafe fn enter<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<Portable>()
    }
}

#[derive(Clone, Copy)]
#[repr(align(32))]
pub(super) struct Portable([f32; 8]);

impl Portable {
    #[inline(always)]
    fn zip(self, other: Self, op: impl Fn(f32, f32) -> f32) -> Self {
        Self(std::array::from_fn(|i| op(self.0[i], other.0[i])))
    }
}

impl Lanes for Portable {
    const N: usize = 8;
    const MANY_REGISTERS: bool = cfg!(target_arch = "aarch64");

    #[inline(always)]
    fn splat(x: f32) -> Self {
        Self([x; 8])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller guarantees eight reads; an array of f32 has f32's alignment.
        Self(unsafe { from.cast::<[f32; 8]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller guarantees eight writes.
        unsafe { to.cast::<[f32; 8]>().write_unaligned(self.0) }
    }

    #[inline(always)]
    unsafe fn load_some(from: *const f32, lanes: Range<usize>) -> Self {
        let mut all = [0.0; 8];
        for i in lanes {
            // SAFETY: guaranteed by the caller.
            all[i] = unsafe { *from.add(i) };
        }
        Self(all)
    }

    #[inline(always)]
    unsafe fn store_some(self, to: *mut f32, lanes: Range<usize>) {
        for i in lanes {
            // SAFETY: guaranteed by the caller.
            unsafe { *to.add(i) = self.0[i] }
        }
    }

    #[inline(always)]
    unsafe fn load_pixels(from: *const u8, lanes: Range<usize>) -> Self {
        let mut all = [0.0; 8];
        for i in lanes {
            // SAFETY: guaranteed by the caller.
            all[i] = f32::from(unsafe { *from.add(i) });
        }
        Self(all)
    }

    #[inline(always)]
    unsafe fn store_pixels(self, to: *mut u8, used: usize) {
        // SAFETY: values are in [0, 256). (A checked conversion takes three times as long.)
        let integers = self.0.map(|x| unsafe { x.to_int_unchecked::<i32>() });
        for (i, integer) in integers.into_iter().enumerate().take(used) {
            // SAFETY: guaranteed by the caller.
            unsafe { *to.add(i) = integer as u8 }
        }
    }

    #[inline(always)]
    fn div(self, by: Self) -> Self {
        self.zip(by, |a, b| a / b)
    }

    #[inline(always)]
    fn times_two_to(self, n: Self) -> Self {
        // SAFETY: an integer in [-126, 127].
        self.zip(n, |x, n| x * f32::from_bits(((unsafe { n.to_int_unchecked::<i32>() } + 127) as u32) << 23))
    }

    #[inline(always)]
    fn mul_add(self, by: Self, plus: Self) -> Self {
        // Without hardware FMA, f32::mul_add is a slow library call.
        if cfg!(any(target_arch = "aarch64", target_feature = "fma")) {
            Self(std::array::from_fn(|i| self.0[i].mul_add(by.0[i], plus.0[i])))
        } else {
            Self(std::array::from_fn(|i| self.0[i] * by.0[i] + plus.0[i]))
        }
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        self.zip(other, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        self.zip(other, |a, b| if a < b { a } else { b })
    }
}
