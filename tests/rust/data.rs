//! `data/`: orders and shares for any numbers, a source that panics, threads that end.
#![allow(unsafe_code)]
use proptest::prelude::*;
use sassl::data::*;
use sassl::image::*;
use sassl::kernels::Isa;
use sassl::kernels::parts::Parts;
use sassl::{Error, Result};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Black pictures, of which one cannot be made.
struct Pictures {
    len: usize,
    bad: usize,
    panics: bool,
}

impl Source for Pictures {
    fn len(&self) -> usize {
        self.len
    }

    fn name(&self, index: usize) -> String {
        format!("picture {index}")
    }

    fn get(&self, index: usize, _: &DecodeOptions<'_>) -> Result<Item> {
        assert!(index != self.bad || !self.panics, "on purpose");
        match index == self.bad {
            true => Err(Error::image(self.name(index), "it is bad")),
            false => {
                let pixels = Pixels { height: 9, width: 12, bytes: vec![index as u8; 9 * 12 * 3] };
                Ok(Item { image: Decoded { pixels, damage: None }, target: index as i64 })
            }
        }
    }
}

fn views() -> TwoViews {
    let view = View {
        crop: RandomResizedCrop::new((0.2, 1.0), (0.75, 4.0 / 3.0)).unwrap(),
        interpolation: Interpolation::Bilinear,
        jitter: ColorJitter::new(0.0, 0.4, 0.4, 0.4, 0.1, JitterForm::Torchvision).unwrap(),
        grayscale: RandomGrayscale::new(0.0).unwrap(),
        blur: GaussianBlur::new(0.5, (0.1, 2.0), BlurKernel::Boxes).unwrap(),
        solarize: RandomSolarize::new(0.0, 128).unwrap(),
        flip: RandomFlip::new(0.5, 0.0).unwrap(),
        rotation: RandomRotation::new(0.3, (90.0, 90.0)).unwrap(),
    };
    let output = Output::new(Dtype::U8, Normalize::NONE, false).unwrap();
    TwoViews::new(Isa::supported().last().unwrap(), [view, view], (4, 4), None, output).unwrap()
}

fn loader(source: Pictures, on_error: OnError) -> Arc<Loader> {
    let sampler = Sampler::new(source.len(), 4, (false, false), 0, (0, 1)).unwrap();
    Arc::new(Loader::new(Arc::new(source), Arc::new(views()), sampler, on_error, None))
}

/// Memory of its own for the views of `n` pictures.
fn memory(n: usize, each: usize) -> Memory {
    [(), ()].map(|()| {
        let mut owner = vec![0_u8; n * each].into_boxed_slice();
        let at = owner.as_mut_ptr();
        // SAFETY: what a box holds stays where it is when the box moves, and nobody uses this one.
        unsafe { Parts::new(at, each, n, Box::new(owner)) }
    })
}

/// Everything that an epoch gives, errors too.
fn all(loader: &Arc<Loader>, threads: usize) -> Vec<Result<Batch>> {
    let epoch = loader.start(0, 0, threads, 1).unwrap();
    let mut made = vec![];
    while epoch.has_next() {
        while let Some(n) = epoch.wanted() {
            epoch.open(memory(n, loader.views().bytes()));
        }
        made.extend(epoch.next(Duration::from_secs(10)).transpose());
    }
    made
}

#[test]
fn a_panic_is_an_error_with_its_name_and_the_rest_comes() {
    for on_error in [OnError::Raise, OnError::Report] {
        let made = all(&loader(Pictures { len: 11, bad: 5, panics: true }, on_error), 3);
        let targets: Vec<_> = made.iter().map(|batch| batch.as_ref().map(|batch| batch.targets.clone()).ok()).collect();
        assert_eq!(targets, [Some(vec![0, 1, 2, 3]), None, Some(vec![8, 9, 10])]);
        let error = made[1].as_ref().unwrap_err().to_string();
        assert!(error.contains("picture 5") && error.contains("on purpose"), "{error}");
    }
}

#[test]
fn what_is_bad_is_an_error_or_replaced() {
    let bad = || Pictures { len: 11, bad: 5, panics: false };
    assert!(all(&loader(bad(), OnError::Raise), 2)[1].as_ref().unwrap_err().to_string().contains("picture 5"));
    let reporting = loader(bad(), OnError::Report);
    let made = all(&reporting, 2);
    assert_eq!(made[1].as_ref().unwrap().targets, [4, 6, 6, 7]);
    assert_eq!(reporting.faults()["picture 5"].count, 1);
}

#[test]
fn an_epoch_that_is_left_ends() {
    let loader = loader(Pictures { len: 1000, bad: 1000, panics: false }, OnError::Raise);
    for opened in 0..3 {
        let mut epoch = loader.start(0, 0, 4, 2).unwrap();
        for _ in 0..opened {
            epoch.open(memory(4, loader.views().bytes()));
        }
        epoch.close();
        assert!(!epoch.has_next() && epoch.wanted().is_none());
    }
    assert_eq!(Arc::strong_count(&loader), 1);
}

proptest! {
    #[test]
    fn every_rank_has_as_many_and_none_is_left_out(
        len in 1..200_usize, world in 1..6_usize, batch_size in 1..9_usize, epoch in 0..3_u64,
        shuffle: bool, drop_last: bool
    ) {
        let sampler = |rank| Sampler::new(len, batch_size, (shuffle, drop_last), 7, (rank, world));
        let Ok(first) = sampler(0) else {
            prop_assert!(drop_last && len / world < batch_size);
            return Ok(());
        };
        let orders: Vec<Vec<u32>> = (0..world).map(|rank| sampler(rank).unwrap().order(epoch)).collect();
        prop_assert!(orders.iter().all(|order| order.len() == first.share()));
        let seen: BTreeSet<u32> = orders.iter().flatten().copied().collect();
        let all = if drop_last { len / world * world } else { len };
        prop_assert_eq!(seen.len(), all);
        let last = first.range(first.batches() - 1);
        prop_assert!(last.end <= first.share() && last.len() <= batch_size);
        prop_assert_eq!(drop_last && last.len() < batch_size, false);
    }
}
