//! `data/`: sampling order and sharding for any sizes and ranks, sources that fail, and the end of the threads.
#![allow(unsafe_code)]
use super::cifar_files::{batch, string};
use proptest::prelude::*;
use sassl::data::*;
use sassl::image::*;
use sassl::kernels::isa::Isa;
use sassl::kernels::threads::slots::Slots;
use sassl::random::Key;
use sassl::{Error, Result};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

/// Uniform images, one of which is bad.
struct BlackImages {
    len: usize,
    bad: usize,
    how: How,
}

/// The fault of the bad image.
#[derive(Clone, Copy)]
enum How {
    Panics,
    Unreadable,
    Damaged,
}

impl Source for BlackImages {
    fn len(&self) -> usize {
        self.len
    }

    fn name(&self, index: usize) -> OsString {
        format!("image {index}").into()
    }

    fn get(&self, index: usize, _: &DecodeOptions<'_>) -> Result<Item> {
        let pixels = RgbImage { height: 9, width: 12, bytes: vec![index as u8; 9 * 12 * 3] };
        let damage = match self.how {
            How::Panics if index == self.bad => panic!("on purpose"),
            How::Unreadable if index == self.bad => return Err(Error::image(self.name(index), "it is bad")),
            How::Damaged if index == self.bad => Some("a byte is missing".to_owned()),
            _ => None,
        };
        Ok(Item { image: Decoded { pixels, damage }, target: index as i64 })
    }
}

/// Creates two views of 4x4 bytes: a crop, a rotation, a flip, a blur.
fn views() -> Views {
    let crop = RandomResizedCrop::new((0.2, 1.0), (0.75, 4.0 / 3.0)).unwrap();
    let image = |kind: &str, p: f32, settings: &str| Step {
        name: kind.into(),
        action: Action::Image(operation(kind, settings).unwrap(), Probability::constant(p).unwrap()),
    };
    let steps = vec![
        Step { name: "crop".into(), action: Action::Crop(crop, Interpolation::Bilinear) },
        image("rotation", 0.3, r#"{"degrees": [90.0, 90.0]}"#),
        image("horizontal_flip", 0.5, "{}"),
        image("gaussian_blur", 0.5, r#"{"sigma": [0.1, 2.0], "kernel_size": null}"#),
    ];
    let output = Output::new(Dtype::U8, Normalize::NONE, false).unwrap();
    let view = View::new(steps, (4, 4), output).unwrap();
    Views::new(Isa::supported().last().unwrap(), vec![view.clone(), view]).unwrap()
}

fn loader(source: impl Source + 'static, on_error: OnError, on_damage: OnDamage) -> Arc<Loader> {
    let sampler = Sampler::new(source.len(), 4, (false, false), 0, (0, 1)).unwrap();
    let reading = Reading { on_error, on_damage, ..Reading::default() };
    Arc::new(Loader::new(Arc::new(source), Arc::new(views()), sampler, reading))
}

/// Allocates memory for the views of `n` images.
fn memory(n: usize, each: usize) -> Memory {
    let one = |()| {
        let mut owner = vec![0_u8; n * each].into_boxed_slice();
        let at = owner.as_mut_ptr();
        // SAFETY: the contents of a box keep their address when the box moves, and nobody else uses this box.
        unsafe { Slots::new(at, each, n, Box::new(owner)) }
    };
    [(), ()].map(one).into()
}

/// Returns everything that an epoch yields, including errors.
fn all(loader: &Arc<Loader>, threads: usize) -> Vec<Result<Batch>> {
    let epoch = loader.start(0, 0, threads, 1).unwrap();
    let mut made = vec![];
    while epoch.has_next() {
        while let Some(n) = epoch.wanted() {
            epoch.open(memory(n, loader.views().views()[0].bytes()));
        }
        made.extend(epoch.next(Duration::from_secs(10)).transpose());
    }
    made
}

#[test]
fn a_panic_is_an_error_with_its_name_and_the_rest_comes() {
    for on_error in [OnError::Raise, OnError::Report] {
        let made = all(&loader(BlackImages { len: 11, bad: 5, how: How::Panics }, on_error, OnDamage::Use), 3);
        let targets: Vec<_> = made.iter().map(|batch| batch.as_ref().map(|batch| batch.targets.clone()).ok()).collect();
        assert_eq!(targets, [Some(vec![0, 1, 2, 3]), None, Some(vec![8, 9, 10])]);
        let error = made[1].as_ref().unwrap_err().to_string();
        assert!(error.contains("image 5") && error.contains("on purpose"), "{error}");
    }
}

#[test]
fn what_is_bad_is_an_error_or_replaced() {
    let bad = || BlackImages { len: 11, bad: 5, how: How::Unreadable };
    assert!(
        all(&loader(bad(), OnError::Raise, OnDamage::Replace), 2)[1]
            .as_ref()
            .unwrap_err()
            .to_string()
            .contains("image 5")
    );
    let reporting = loader(bad(), OnError::Report, OnDamage::Raise);
    let made = all(&reporting, 2);
    assert_eq!(made[1].as_ref().unwrap().targets, [4, 6, 6, 7]);
    let faults = reporting.faults();
    assert_eq!((faults.len(), faults[&OsString::from("image 5")].count), (1, 1));
    assert!(!faults[&OsString::from("image 5")].used);
}

#[test]
fn what_is_damaged_is_used_or_replaced_or_an_error() {
    let run = |on_error, on_damage| {
        let loader = loader(BlackImages { len: 11, bad: 5, how: How::Damaged }, on_error, on_damage);
        let second = all(&loader, 2).remove(1).map(|batch| batch.targets).map_err(|error| error.to_string());
        let told =
            loader.faults().remove(&OsString::from("image 5")).map(|fault| (fault.reason, fault.count, fault.used));
        (second, told)
    };
    for on_error in [OnError::Raise, OnError::Report] {
        let reason = "damaged: a byte is missing".to_owned();
        let named = format!("image 5: {reason}");
        assert_eq!(run(on_error, OnDamage::Use), (Ok(vec![4, 5, 6, 7]), Some((reason, 1, true))));
        assert_eq!(run(on_error, OnDamage::Replace), (Ok(vec![4, 6, 6, 7]), Some((named.clone(), 1, false))));
        assert_eq!(run(on_error, OnDamage::Raise), (Err(named), None));
    }
}

#[test]
fn views_are_made_of_the_region_alone() {
    let views = views();
    for index in 0..200 {
        let (height, width) = (11 + index as usize % 50, 60 - index as usize % 40);
        let key = Key { seed: 3, epoch: 1, index, view: 0 };
        let part = views.region(key, (height, width));
        part.check(height, width).unwrap();
        let params = views.sample(key, (height, width), (0, 1));
        let [whole, cut] = [false, true].map(|cut| {
            let mut image = RgbImage { height, width, bytes: vec![0; height * width * 3] };
            for (i, byte) in image.bytes.iter_mut().enumerate() {
                let (y, x) = (i / 3 / width, i / 3 % width);
                let within =
                    (part.top..part.top + part.height).contains(&y) && (part.left..part.left + part.width).contains(&x);
                *byte = if cut && !within { 255 } else { (i * i * 31) as u8 };
            }
            let mut made: Vec<Vec<u8>> = views.views().iter().map(|view| vec![0; view.bytes()]).collect();
            views.apply(image.view(), &params, None, made.iter_mut().map(|view| &mut view[..]).collect()).unwrap();
            made
        });
        assert_eq!(whole, cut, "image {index}");
        let first = |name: &str| {
            let of_view = |params: &ViewParams| match params.of("crop") {
                Some(Drawn::Values(Some(values))) => {
                    values.0.iter().find(|(own, _)| own == name).map(|(_, x)| *x as usize)
                }
                other => panic!("{other:?}"),
            };
            params.iter().filter_map(of_view).min().unwrap()
        };
        assert_eq!((first("top"), first("left")), (part.top, part.left));
    }
}

#[test]
fn an_epoch_that_is_left_ends() {
    let loader = loader(BlackImages { len: 1000, bad: 1000, how: How::Damaged }, OnError::Raise, OnDamage::Use);
    for opened in 0..3 {
        let mut epoch = loader.start(0, 0, 4, 2).unwrap();
        for _ in 0..opened {
            epoch.open(memory(4, loader.views().views()[0].bytes()));
        }
        epoch.close();
        assert!(!epoch.has_next() && epoch.wanted().is_none());
    }
    // `close` does not wait for the threads.
    for _ in 0..1000 {
        if Arc::strong_count(&loader) == 1 {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("threads go on");
}

/// Reads a CIFAR file with these bytes.
fn cifar(bytes: &[u8]) -> Result<Cifar> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data_batch_1");
    std::fs::write(&path, bytes).unwrap();
    Cifar::new(Layout::CIFAR10, vec![path])
}

#[test]
fn cifar_is_read_as_python_2_wrote_it() {
    let colors: Vec<u8> = (0..2 * 3072).map(|i| (i % 251) as u8).collect();
    let source = cifar(&batch(&string(6144, &colors), b"u1")).unwrap();
    assert_eq!(source.len(), 2);
    let Item { image, target } = source.get(1, &DecodeOptions::default()).unwrap();
    assert_eq!((target, &image.pixels.bytes[..3]), (9, &[3072, 4096, 5120].map(|i| (i % 251) as u8)[..]));
    assert_eq!(source.name(1).to_str(), Some("data_batch_1#1"));
}

#[test]
fn what_is_no_batch_of_cifar_is_an_error_and_takes_no_memory() {
    let colors = vec![0; 6144];
    let whole = batch(&string(6144, &colors), b"u1");
    let bomb = [b"\x80\x02]q\x00".to_vec(), b"(h\x00h\x00h\x00h\x00lq\x00".repeat(40), b".".to_vec()].concat();
    let cases: [(Vec<u8>, &str); 12] = [
        (batch(&string(u32::MAX, &colors), b"u1"), "ends too early"),
        (batch(b"]", b"u1"), "an array of objects"),
        (batch(&string(6144, &colors), b"O8"), "an array of O8"),
        (batch(&string(6143, &colors[1..]), b"u1"), "2x3072 of 6143 bytes"),
        (b"\x80\x04\x8e\xff\xff\xff\x7f\0\0\0\0".to_vec(), "ends too early"),
        (b"\x80\x02cos\nsystem\n(U\x02lstR.".to_vec(), "os.system does not belong to CIFAR"),
        (b"\x80\x02cnumpy\nndarray\n)R.".to_vec(), "a call of Array"),
        (bomb, "operation 0x6c"),
        (b"\x80\x02}.".to_vec(), "no array under \"data\""),
        (b"e".to_vec(), "an end without a start"),
        (b"h\x09.".to_vec(), "was not stored"),
        (vec![], "ends too early"),
    ];
    for (bytes, said) in cases {
        let error = cifar(&bytes).unwrap_err().to_string();
        assert!(error.contains(said) && error.contains("data_batch_1: not a readable batch of CIFAR"), "{error}");
    }
    // Whatever is cut off or changed, the reader returns.
    for end in (0..700).chain([whole.len() - 40, whole.len() - 1]) {
        assert!(cifar(&whole[..end]).is_err(), "cut at {end}");
    }
    for at in 0..320 {
        for value in [0, b'.', b'(', b'R', b'b', 0xFF] {
            let mut changed = whole.clone();
            changed[at] = value;
            drop(cifar(&changed));
        }
    }
}

proptest! {
    #[test]
    fn ranks_share_the_batches_of_one(
        len in 1..200_usize, world in 1..6_usize, batch_size in 1..9_usize, epoch in 0..3_u64,
        shuffle: bool, drop_last: bool
    ) {
        let sampler = |rank| Sampler::new(len, batch_size, (shuffle, drop_last), 7, (rank, world));
        let all = batch_size * world;
        let Ok(one) = Sampler::new(len, all, (shuffle, drop_last), 7, (0, 1)) else {
            prop_assert!(drop_last && len < all && sampler(0).is_err());
            return Ok(());
        };
        let seen: BTreeSet<u32> = one.order(epoch).into_iter().collect();
        prop_assert_eq!((one.order(epoch).len(), seen.len()), (len, len));
        prop_assert_eq!(one.batches(), if drop_last { len / all } else { len.div_ceil(all) });
        let mut next = 0;
        for batch in 0..one.batches() {
            let Share { first, images, rows } = one.share(batch);
            prop_assert_eq!((first, &rows), (next, &(0..images)));
            prop_assert!(images == all || (!drop_last && batch + 1 == one.batches()));
            next += images;
            let mut end = 0;
            for rank in 0..world {
                let sampler = sampler(rank).unwrap();
                prop_assert_eq!((sampler.batches(), sampler.order(epoch)), (one.batches(), one.order(epoch)));
                let share = sampler.share(batch);
                prop_assert_eq!((share.first, share.images, share.rows.start), (first, images, end));
                prop_assert_eq!(share.rows.len(), images.div_ceil(world));
                end = share.rows.end;
            }
            prop_assert!(end >= images && end < images + world);
        }
        prop_assert!(next == len || (drop_last && next + all > len));
    }
}
