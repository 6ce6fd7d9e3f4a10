//! No allocations per image after the first: their number does not depend on the size of the batch.
#![allow(unsafe_code)]
use crate::style::{model, with_predictor};
use sassl::kernels::inference::pixels::{Pixels, PixelsMut};
use sassl::kernels::isa::{Isa, KernelPath};
use sassl::style::{Images, Strength, Style, Stylizer};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: forwards to the system's allocator, and counts in a thread-local.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: guaranteed by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: guaranteed by the caller.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: guaranteed by the caller.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn images_after_the_first_allocate_nothing() {
    let (height, width) = (37, 42);
    let paths = || KernelPath::supported().filter(|path| path.isa() != Isa::Scalar);
    // Both kinds of F.
    let mobile = || with_predictor(serde_json::json!({"kind": "mobilenet_v2", "size": 32, "dim": 6}), 1);
    for (path, model) in paths().flat_map(|path| [model(1), mobile()].map(|model| (path, model))) {
        let stylizer = Stylizer::new(&model, path).unwrap();
        let z = vec![0.1; stylizer.dim()];
        let allocations = |n: usize| {
            let pixels: Vec<u8> = (0..n * height * width * 3).map(|i| (i * 37 % 251) as u8).collect();
            let mut out = vec![0_u8; pixels.len()];
            let images = Images::new(Pixels::U8(&pixels), &[n, height, width, 3]).unwrap();
            let strength = Strength::All(0.2);
            let style = Style { z: &z, z_content: None, alpha: strength, beta: strength, apply: None };
            let before = COUNT.get();
            stylizer.stylize(images, &style, PixelsMut::U8(&mut out), 1).unwrap();
            COUNT.get() - before
        };
        allocations(1);
        let (two, many) = (allocations(2), allocations(20));
        // The lists of jobs grow by doubling; each allocation per image would count eighteen times.
        assert!(many <= two + 12, "{}: {two} allocations for 2 images, {many} for 20", path);
    }
}
