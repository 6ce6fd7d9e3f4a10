//! Lowers lists of operations to kernel launches, a batch at a time.
//!
//! Consecutive colour operations are fused into one launch. A final solarize and a final flip are fused with the normalization.
use crate::image::DeviceStep;
use crate::kernels::cuda::{At, DeviceImages, Plan};
use crate::kernels::image::color::cuda::{Chain, ChainBuilder, DeviceFactor, FactorKind, jitter};
use crate::kernels::image::finish::cuda::{Finish, finish};
use crate::kernels::image::gaussian_blur::cuda::{box_blur, gaussian_blur, put_back};
use crate::kernels::image::rotation::cuda::{Axes, turn};

/// The operations on one view of each image that are still to be launched.
pub(super) struct Lowering {
    /// The location of the views of all images, as planes.
    views: At,
    size: (usize, usize),
    pending: Vec<Pending>,
    /// The location of views that were blurred into separate memory, and the indices of their images.
    blurred: Option<(At, Vec<u32>)>,
}

/// The pending operations on one image, to be applied in the order of the fields.
#[derive(Clone, Default)]
struct Pending {
    /// Colour operations.
    chains: Vec<ChainBuilder>,
    /// The threshold of a pending solarize: bytes >= this are inverted.
    solarize: Option<u8>,
    /// Pending flips: (horizontal, vertical). A flip commutes with all operations except affine transforms and styles.
    flip: (bool, bool),
}

impl Pending {
    fn factor(&mut self, factor: DeviceFactor) {
        let fits = self.chains.last_mut().is_some_and(|chain| chain.push(factor));
        if !fits {
            let mut chain = ChainBuilder::default();
            chain.push(factor);
            self.chains.push(chain);
        }
    }

    /// Converts a pending solarize to a colour operation, because another operation follows.
    fn settle_solarize(&mut self) {
        if let Some(threshold) = self.solarize.take() {
            self.factor(DeviceFactor::new(FactorKind::Solarize, threshold.into()));
        }
    }
}

impl Lowering {
    pub(super) fn new(views: At, size: (usize, usize), images: usize) -> Self {
        Self { views, size, pending: vec![Pending::default(); images], blurred: None }
    }

    /// Adds an operation; `of_images` holds its steps for each image.
    pub(super) fn push(&mut self, of_images: Vec<Vec<DeviceStep>>, plan: &mut Plan) {
        let (mut turns, mut boxes, mut taps, mut longest) = (vec![], vec![], vec![], 0);
        for (i, step) in
            of_images.into_iter().enumerate().flat_map(|(i, steps)| steps.into_iter().map(move |step| (i, step)))
        {
            match step {
                DeviceStep::Factor(factor) => {
                    self.colours(i, plan).factor(factor);
                }
                DeviceStep::Gray => {
                    let pending = self.colours(i, plan);
                    if !pending.chains.last_mut().is_some_and(ChainBuilder::gray) {
                        pending.chains.push(ChainBuilder::of_gray());
                    }
                }
                DeviceStep::Solarize(threshold) => {
                    if self.pending[i].solarize.is_some() {
                        self.colours(i, plan);
                    }
                    self.pending[i].solarize = Some(threshold);
                }
                DeviceStep::Flip { horizontally, vertically } => {
                    let flip = &mut self.pending[i].flip;
                    *flip = (flip.0 != horizontally, flip.1 != vertically);
                }
                DeviceStep::Turn(axes) => turns.push((i, axes)),
                DeviceStep::Boxes(sigma) => boxes.push((i, sigma)),
                DeviceStep::Taps(n, half) => {
                    longest = longest.max(n / 2 + 1);
                    taps.push((i, half));
                }
            }
        }
        if !turns.is_empty() {
            self.settle(plan);
            turn(self.views, self.size, &turns, plan);
        }
        if !boxes.is_empty() {
            self.settle_colours(plan);
            box_blur(self.views, self.size, &boxes, plan);
        }
        if !taps.is_empty() {
            self.settle_colours(plan);
            let images = taps.iter().map(|&(i, _)| i as u32).collect();
            self.blurred = Some((gaussian_blur(self.views, self.size, longest, &taps, plan), images));
        }
    }

    /// Returns the pending operations on image `i`, ready for another colour operation.
    ///
    /// First, blurred views are copied back, and a pending solarize becomes a colour operation.
    fn colours(&mut self, i: usize, plan: &mut Plan) -> &mut Pending {
        self.put_back(plan);
        self.pending[i].settle_solarize();
        &mut self.pending[i]
    }

    fn put_back(&mut self, plan: &mut Plan) {
        if let Some((blurred, images)) = self.blurred.take() {
            put_back(self.views, blurred, self.size, &images, plan);
            plan.room.give(blurred);
        }
    }

    /// Launches all pending operations except flips.
    fn settle_colours(&mut self, plan: &mut Plan) {
        self.put_back(plan);
        self.pending.iter_mut().for_each(Pending::settle_solarize);
        self.chains(plan);
    }

    /// Launches all pending operations, so that the pixels at `views` are up to date.
    pub(super) fn settle(&mut self, plan: &mut Plan) {
        self.settle_colours(plan);
        let flips = self.pending.iter_mut().enumerate().filter(|(_, pending)| pending.flip != (false, false));
        let (height, width) = self.size;
        let turns: Vec<_> =
            flips.map(|(i, pending)| (i, flip_axes(std::mem::take(&mut pending.flip), height, width))).collect();
        turn(self.views, self.size, &turns, plan);
    }

    /// Launches the colour operations: the first chains of all images, then the second ones, and so on.
    fn chains(&mut self, plan: &mut Plan) {
        let mut of_images: Vec<_> =
            self.pending.iter_mut().map(|pending| std::mem::take(&mut pending.chains).into_iter()).collect();
        loop {
            let next = of_images.iter_mut().enumerate();
            let chains: Vec<(usize, Chain)> =
                next.filter_map(|(i, chains)| chains.next().map(|chain| (i, chain.build()))).collect();
            if chains.is_empty() {
                return;
            }
            jitter(self.views, self.size.0 * self.size.1, &chains, plan);
        }
    }

    /// Launches the remaining operations and the normalization, which write to `out`.
    pub(super) fn finish(mut self, out: &DeviceImages, normalization: ([f32; 3], [f32; 3]), plan: &mut Plan) {
        if self.pending.iter().any(|pending| !pending.chains.is_empty()) {
            self.put_back(plan);
            self.chains(plan);
        }
        let blurred = self.blurred.take();
        let place =
            |i: usize| blurred.as_ref().and_then(|(_, images)| images.iter().position(|&image| image == i as u32));
        let last = |(i, pending): (usize, &Pending)| Finish::new(pending.solarize, pending.flip, place(i));
        let finishes: Vec<_> = self.pending.iter().enumerate().map(last).collect();
        let of_blurred = blurred.as_ref().map_or(self.views, |(at, _)| *at);
        finish((self.views, of_blurred), out, &finishes, normalization, plan);
        blurred.into_iter().for_each(|(at, _)| plan.room.give(at));
    }
}

/// Returns flips as an affine transform from output to source coordinates.
fn flip_axes((horizontally, vertically): (bool, bool), height: usize, width: usize) -> Axes {
    let axis = |flipped: bool, n: usize| if flipped { (-1.0, n as f64) } else { (1.0, 0.0) };
    let ((by_x, from_x), (by_y, from_y)) = (axis(horizontally, width), axis(vertically, height));
    ([by_x, 0.0, from_x], [0.0, by_y, from_y])
}
