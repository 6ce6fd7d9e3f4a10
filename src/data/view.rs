//! One view of an image: a list of steps, and the parameters drawn for the steps.
//!
//! ```text
//! [style], crop, then in any order: style, colour jitter, grayscale, blur ...; finally operations on the finished view
//! ```
use crate::error::{Error, Result};
use crate::image::{Crop, Interpolation, Operation, Output, Probability, RandomResizedCrop, Stage, Values};
use crate::random::{Key, comes};
use crate::style::{MIN_SIZE, Sassl, StyleParams, Styles, Stylizer};
use std::sync::Arc;

/// The action of a step.
#[derive(Clone, Debug)]
pub enum Action {
    /// A crop, resized to the size of the view.
    Crop(RandomResizedCrop, Interpolation),
    /// A stylization by SASSL (Algorithm 1 of the paper).
    Style(Styling),
    /// Any other operation, with this probability.
    Image(Arc<dyn Operation>, Probability),
}

/// SASSL as a step.
#[derive(Clone, Debug)]
pub struct Styling {
    /// The style predictor F and the transformer T.
    pub stylizer: Arc<Stylizer>,
    /// Algorithm 1 with its settings.
    pub sassl: Sassl,
    /// The probability, which replaces the one in `sassl`.
    pub p: Probability,
}

/// A step of a view.
#[derive(Clone, Debug)]
pub struct Step {
    /// The step's name, unique within the view. It selects the step's stream of random numbers and its draws.
    pub name: String,
    /// The step's action.
    pub action: Action,
}

/// The parameters drawn for a step.
#[derive(Clone, Debug, PartialEq)]
pub enum Drawn {
    /// The parameters of a style step, including whether it is applied.
    Style(StyleParams),
    /// The parameters of any other step (for a crop, its position and size); `None` if the step is skipped.
    Values(Option<Values>),
}

/// The parameters drawn for a view, by step name. Steps without an entry are skipped.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ViewParams(pub Vec<(String, Drawn)>);

/// A view with its settings.
#[derive(Clone, Debug)]
pub struct View {
    steps: Vec<Step>,
    size: (usize, usize),
    output: Output,
}

/// The maximum side of a view in pixels.
const LARGEST: usize = 8192;

impl Styling {
    /// Returns `true` if the styles are taken from other images of the batch.
    pub fn is_of_batch(&self) -> bool {
        matches!(self.sassl.styles(), Styles::Batch)
    }
}

impl Step {
    /// Returns `true` if this is a style step whose styles are taken from other images of the batch.
    pub(super) fn is_of_batch(&self) -> bool {
        matches!(&self.action, Action::Style(styling) if styling.is_of_batch())
    }

    fn stage(&self) -> Stage {
        match &self.action {
            Action::Image(operation, _) => operation.stage(),
            Action::Crop(..) | Action::Style(_) => Stage::Bytes,
        }
    }

    fn sample(&self, key: Key, image: (usize, usize), view: (usize, usize), place: (usize, usize)) -> Drawn {
        let generator = &mut key.stream(&self.name);
        match &self.action {
            Action::Crop(crop, _) => Drawn::Values(Some(crop.sample(generator, image.0, image.1).into())),
            Action::Style(styling) => {
                let p = styling.p.at(key.epoch);
                Drawn::Style(styling.sassl.sample_one(p, generator, place.0, place.1))
            }
            Action::Image(operation, p) => {
                let applies = comes(generator, p.at(key.epoch));
                let values = operation.sample(generator, view);
                Drawn::Values(applies.then_some(values))
            }
        }
    }
}

impl ViewParams {
    /// Returns the parameters of the step `name`. If there are none, the step is skipped.
    pub fn of(&self, name: &str) -> Option<&Drawn> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, drawn)| drawn)
    }
}

impl View {
    /// Creates a view. `size` is its (height, width).
    ///
    /// # Errors
    /// - The size is invalid, or too small for a step.
    /// - The list does not start with a crop, or with a style and then a crop.
    /// - There is a second crop, or a repeated name.
    /// - An operation on bytes follows an operation on the finished view.
    pub fn new(steps: Vec<Step>, size: (usize, usize), output: Output) -> Result<Self> {
        let side = size.0.min(size.1);
        let crop = steps.iter().position(|step| matches!(step.action, Action::Crop(..)));
        let styled = |steps: &[Step]| steps.iter().any(|step| matches!(step.action, Action::Style(_)));
        let least = if crop.is_some_and(|crop| styled(&steps[crop..])) { MIN_SIZE } else { 1 };
        if side < least || size.0.max(size.1) > LARGEST {
            let requirement = format!("must have sides in [{least}, {LARGEST}] pixels");
            return Err(Error::value("size", format!("({}, {})", size.0, size.1), requirement));
        }
        let crops = steps.iter().filter(|step| matches!(step.action, Action::Crop(..))).count();
        let before = crop.unwrap_or(0);
        if crops != 1 || before > 1 || (before == 1 && !styled(&steps[..1])) {
            let names: Vec<&str> = steps.iter().map(|step| &*step.name).collect();
            let requirement = "must start with one RandomResizedCrop, optionally preceded by a SASSL";
            return Err(Error::value("views", format!("[{}]", names.join(", ")), requirement));
        }
        for (i, Step { name, action }) in steps.iter().enumerate() {
            if steps[..i].iter().any(|other| other.name == *name) {
                let requirement = "must be unique within a view; give a repeated operation a name of its own";
                return Err(Error::value("name", format!("{name:?} twice"), requirement));
            }
            if let Action::Image(operation, _) = action {
                operation.check(size)?;
            }
        }
        let numbers = steps.iter().position(|step| step.stage() == Stage::Numbers).unwrap_or(steps.len());
        if let Some(late) = steps[numbers..].iter().find(|step| step.stage() == Stage::Bytes) {
            let (name, first) = (&late.name, &steps[numbers].name);
            return Err(Error::invalid(format!(
                "views: {name:?} changes bytes and must precede {first:?}, which changes values"
            )));
        }
        Ok(Self { steps, size, output })
    }

    /// Returns the height and width.
    pub fn size(&self) -> (usize, usize) {
        self.size
    }

    /// Returns the output format.
    pub fn output(&self) -> &Output {
        &self.output
    }

    /// Returns the size of the finished view in bytes.
    pub fn bytes(&self) -> usize {
        self.size.0 * self.size.1 * 3 * self.output.dtype().size()
    }

    /// Returns all steps.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Returns the steps that change bytes, and the steps that change the finished view.
    pub(super) fn stages(&self) -> (&[Step], &[Step]) {
        self.steps.split_at(self.steps.partition_point(|step| step.stage() == Stage::Bytes))
    }

    /// Returns the index of the crop step: 1 if the whole image is stylized before the crop, otherwise 0.
    pub(super) fn crop_at(&self) -> usize {
        usize::from(self.styles_whole_image())
    }

    /// Returns `true` if the whole image is stylized.
    pub fn styles_whole_image(&self) -> bool {
        matches!(self.steps[0].action, Action::Style(_))
    }

    /// Returns the first step with in-batch styles, and its index.
    pub(super) fn of_batch(&self) -> Option<(usize, &Styling)> {
        self.steps.iter().enumerate().find_map(|(i, step)| match &step.action {
            Action::Style(styling) if styling.is_of_batch() => Some((i, styling)),
            _ => None,
        })
    }

    /// Draws the parameters from the random streams of this key.
    ///
    /// `image` is the image's (height, width). `place` is (index of the image in the batch, number of images in the batch).
    pub fn sample(&self, key: Key, image: (usize, usize), place: (usize, usize)) -> ViewParams {
        let draw = |step: &Step| (step.name.clone(), step.sample(key, image, self.size, place));
        ViewParams(self.steps.iter().map(draw).collect())
    }

    /// Draws parameters as [`View::sample`] does, but skips no step. These draws serve to compile all GPU kernels of the view.
    pub fn sample_every(&self, key: Key, image: (usize, usize)) -> ViewParams {
        let draw = |step: &Step| {
            let drawn = match (&step.action, step.sample(key, image, self.size, (0, 1))) {
                (Action::Image(operation, _), _) => {
                    Drawn::Values(Some(operation.sample(&mut key.stream(&step.name), self.size)))
                }
                (_, Drawn::Style(style)) => Drawn::Style(StyleParams { apply: true, ..style }),
                (_, crop @ Drawn::Values(_)) => crop,
            };
            (step.name.clone(), drawn)
        };
        ViewParams(self.steps.iter().map(draw).collect())
    }

    /// Draws only the crop. It is the crop that [`View::sample`] draws.
    pub(super) fn sample_crop(&self, key: Key, image: (usize, usize)) -> Option<Crop> {
        let crop = self.steps.iter().find(|step| matches!(step.action, Action::Crop(..)))?;
        match &crop.action {
            Action::Crop(part, _) => Some(part.sample(&mut key.stream(&crop.name), image.0, image.1)),
            Action::Style(_) | Action::Image(..) => None,
        }
    }

    /// Returns the crop drawn for a step.
    ///
    /// # Errors
    /// There are no parameters for the step, or the parameters are not a crop.
    pub(super) fn crop_of(step: &Step, params: &ViewParams) -> Result<Crop> {
        match params.of(&step.name) {
            Some(Drawn::Values(Some(values))) => values.try_into(),
            _ => {
                let requirement = format!("must have {:?} (top, left, height, width)", step.name);
                Err(Error::value("params", "no crop", requirement))
            }
        }
    }

    /// Checks that the parameters belong to these steps.
    ///
    /// # Errors
    /// There are parameters for an unknown step, or of the wrong kind for a step; or the parameters of the crop are missing or
    /// invalid.
    pub(super) fn check(&self, params: &ViewParams) -> Result<()> {
        for (name, drawn) in &params.0 {
            let step = self.steps.iter().find(|step| step.name == *name);
            match (step.map(|step| &step.action), drawn) {
                (Some(Action::Crop(..)), Drawn::Values(Some(_))) => {}
                (Some(Action::Style(_)), Drawn::Style(_)) => {}
                (Some(Action::Image(..)), Drawn::Values(_)) => {}
                _ => {
                    let names: Vec<&str> = self.steps.iter().map(|step| &*step.name).collect();
                    let names = names.join(", ");
                    let requirement = format!("must be those of {names}; draw a view's parameters with its recipe");
                    return Err(Error::value("params", format!("{name:?}"), requirement));
                }
            }
        }
        let mut crops = self.steps.iter().filter(|step| matches!(step.action, Action::Crop(..)));
        crops.try_for_each(|step| Self::crop_of(step, params).map(|_| ()))
    }
}
