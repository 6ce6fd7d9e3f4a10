//! Views computed in two halves are bit-identical to whole views: on the CPU, and with the CUDA kernels in the emulator.
use crate::cuda::{Batch, Emulator, Memory, bank, cases, draws, on_the_cpu, places, run_plan, styled};
use crate::style::model;
use sassl::data::{BatchStyles, Region, View, Views};
use sassl::image::Crop;
use sassl::kernels::cuda::{PixelType, Space};
use sassl::kernels::isa::{Isa, KernelPath, Precision};
use sassl::random::Key;
use sassl::style::cuda::{DeviceStylizer, StyleSource};
use sassl::style::{Bank, Styles, Stylizer};
use std::sync::Arc;

/// Computes the first half of the views of a batch.
fn crops(views: &Views, batch: &Batch) -> Vec<u8> {
    let n = batch.params.len();
    let (begins, bytes) = views.crops(n);
    let z: Vec<f32> = match views.crops_need_batch() {
        true => (0..n).flat_map(|i| views.encode(batch.image(i), &batch.params[i]).unwrap()).collect(),
        false => vec![],
    };
    let mut crops = vec![0; bytes];
    for (place, params) in batch.params.iter().enumerate() {
        let each = |view: &View| 3 * view.size().0 * view.size().1;
        let mut own: Vec<Vec<u8>> = views.views().iter().map(|view| vec![0; each(view)]).collect();
        let styles = views.crops_need_batch().then_some(BatchStyles { z: &z, place });
        let out = own.iter_mut().map(|own| &mut own[..]).collect();
        views.crop(batch.image(place), params, styles, out).unwrap();
        for (own, begin) in own.iter().zip(&begins) {
            crops[begin + place * own.len()..][..own.len()].copy_from_slice(own);
        }
    }
    crops
}

/// Computes the second half on the CPU.
fn finished(views: &Views, batch: &Batch, crops: &[u8], threads: usize) -> Vec<u8> {
    let mut made = vec![0; batch.reference.len()];
    let (mut rest, mut out) = (&mut made[..], vec![]);
    for view in views.views() {
        let own;
        (own, rest) = rest.split_at_mut(batch.params.len() * view.bytes());
        out.push(own);
    }
    views.finish(crops, &batch.params, threads, out).unwrap();
    made
}

/// Views with styles from a bank or from the batch, before or after the crop.
fn styled_cases() -> Vec<(Views, StyleSource, bool)> {
    let stylizer = Stylizer::new(&model(1), KernelPath::new(Isa::Scalar, Precision::Exact)).unwrap();
    let stylizer = Arc::new(stylizer);
    let of = |from, before| {
        let bank = || Arc::new(Bank::new(bank(4), stylizer.dim(), stylizer.space(), None).unwrap());
        let styles = if from == StyleSource::Batch { Styles::Batch } else { Styles::Bank(bank()) };
        (styled(&stylizer, styles, before), from, before)
    };
    [StyleSource::Bank(4), StyleSource::Batch].into_iter().flat_map(|from| [of(from, false), of(from, true)]).collect()
}

/// Returns a region of each image, somewhat larger than its crops, and the pixels of all regions, one after the other.
fn regions(views: &Views, batch: &Batch) -> (Vec<u8>, Vec<Region>) {
    let (mut pixels, mut regions) = (vec![], vec![]);
    for i in 0..batch.params.len() {
        let image = batch.image(i);
        let key = Key { seed: 5, epoch: 0, index: i as u64, view: 0 };
        let part = views.region(key, (image.height, image.width));
        let (top, left) = (part.top - part.top.min(i), part.left - part.left.min(2 * i));
        let part = Crop { top, left, height: part.top + part.height - top, width: part.left + part.width - left };
        regions.push(Region { begin: pixels.len(), part });
        for row in top..top + part.height {
            pixels.extend_from_slice(&image.bytes[3 * (row * image.width + left)..][..3 * part.width]);
        }
    }
    (pixels, regions)
}

#[test]
fn views_of_regions_are_the_whole_views() {
    for (which, (views, size, n)) in cases().into_iter().enumerate() {
        let batch = on_the_cpu(&views, size, n);
        let (pixels, regions) = regions(&views, &batch);
        views.check_regions().unwrap();
        let cropped = views.crop_regions(&pixels, &regions, &batch.params, 2).unwrap();
        assert!(cropped == crops(&views, &batch), "case {which}");
        if Emulator::get().is_some() {
            let plan = views.plan_regions(&regions, &batch.params, &places(&views, n), None).unwrap();
            let made = run_plan(&plan, Memory::of(&pixels), batch.reference.len(), None);
            assert!(made == batch.reference, "case {which}");
        }
        let error =
            |regions: Vec<Region>| views.crop_regions(&pixels, &regions, &batch.params, 1).unwrap_err().to_string();
        let cut = Region { part: Crop { height: 1, ..regions[0].part }, ..regions[0] };
        assert!(error([&[cut], &regions[1..]].concat()).contains("must be within the image of 1x"));
        assert!(error(regions[1..].to_vec()).contains(&format!("must have length {n}, one for each image")));
        let beyond = Region { begin: pixels.len(), ..regions[0] };
        assert!(error([&[beyond], &regions[1..]].concat()).contains("must hold all regions"));
    }
    for (views, _, before) in styled_cases() {
        assert_eq!(views.check_regions().is_err(), before);
    }
}

#[test]
fn both_halves_are_the_whole_views() {
    for (which, (views, size, n)) in cases().into_iter().enumerate() {
        let batch = on_the_cpu(&views, size, n);
        views.check_halves(2).unwrap();
        assert!(finished(&views, &batch, &crops(&views, &batch), 1 + which % 3) == batch.reference, "case {which}");
    }
    for (views, from, before) in styled_cases() {
        let batch = on_the_cpu(&views, (40, 25), 5);
        let of_batch = from == StyleSource::Batch;
        assert_eq!(views.crops_need_batch(), of_batch && before);
        assert!(views.check_halves(1).is_ok() && views.check_halves(2).is_err() == (of_batch && !before));
        let crops = crops(&views, &batch);
        assert!(finished(&views, &batch, &crops, 2) == batch.reference, "{from:?}, {before}");
        let error = views.finish(&crops[1..], &batch.params, 1, vec![]).unwrap_err().to_string();
        assert!(error.contains(" bytes for 5 images"), "{error}");
    }
}

#[test]
fn the_second_half_on_a_gpu_is_that_of_the_cpu_to_the_bit() {
    if Emulator::get().is_none() {
        return;
    }
    for (which, (views, size, n)) in cases().into_iter().enumerate() {
        let batch = on_the_cpu(&views, size, n);
        let plan = views.plan_finish(&batch.params, &places(&views, n), None).unwrap();
        let made = run_plan(&plan, Memory::of(&crops(&views, &batch)), batch.reference.len(), None);
        let wrong = made.iter().zip(&batch.reference).filter(|(a, b)| a != b).count();
        assert_eq!(wrong, 0, "of {} bytes; case {which}", made.len());
    }
}

/// Style is rounded differently on a GPU, so the reference is the whole views, computed by the same kernels.
#[test]
fn a_styled_second_half_is_that_of_whole_views_on_a_gpu() {
    if Emulator::get().is_none() {
        return;
    }
    let cuda = DeviceStylizer::new(&model(1), true).unwrap();
    for (views, from, _) in styled_cases().into_iter().filter(|(.., before)| !before) {
        let (batch, style) = (on_the_cpu(&views, (40, 25), 3), Some((&cuda, from)));
        let images = crate::cuda::layout(Space::Images, PixelType::U8, batch.size);
        let whole = views.plan(&images, &batch.params, &places(&views, 3), style).unwrap();
        let half = views.plan_finish(&batch.params, &places(&views, 3), style).unwrap();
        let whole = run_plan(&whole, Memory::of(&batch.pixels), batch.reference.len(), style);
        let half = run_plan(&half, Memory::of(&crops(&views, &batch)), batch.reference.len(), style);
        let wrong = whole.iter().zip(&half).filter(|(a, b)| a != b).count();
        assert_eq!(wrong, 0, "of {} bytes; {from:?}", half.len());
    }
}

/// A step costs a few launches, not one per image; without the resize, each view takes three fewer than a whole view.
#[test]
fn the_second_half_takes_few_launches() {
    for (which, (views, size, _)) in cases().into_iter().enumerate() {
        let (params, places) = (draws(&views, size, 64), places(&views, 64));
        let images = crate::cuda::layout(Space::Images, PixelType::U8, size);
        let whole = views.plan(&images, &params, &places, None).unwrap().launches.len();
        let half = views.plan_finish(&params, &places, None).unwrap().launches.len();
        assert!(half + 3 * views.views().len() <= whole, "{half} of {whole}; case {which}");
    }
}
