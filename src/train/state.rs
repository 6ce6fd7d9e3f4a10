//! Conversion of networks and optimizers to and from named tensors, in the axis order of files.
use crate::error::{Error, Result, tuple};
use crate::nn::{Layout, Network, Parameter};
use crate::optim::{Optimizer, whole};
use std::collections::{BTreeMap, HashMap};

/// Named tensors, each with its shape and its values.
pub type State = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// Checks that the values of a saved tensor are finite, counts are whole numbers, and variances are not negative.
pub(super) fn check_numbers(name: &str, numbers: &[f32]) -> Result<()> {
    if let Some(x) = numbers.iter().find(|x| !x.is_finite()) {
        return Err(Error::value(name, x, "must be finite; has the run diverged, or is the file damaged?"));
    }
    if Layout::is_count(name) {
        numbers.iter().try_for_each(|&n| whole(name, n, (1 << 24) + 1).map(drop))?;
    }
    match numbers.iter().find(|&&x| name.ends_with("running_var") && x < 0.0) {
        Some(x) => Err(Error::value(name, x, "must be >= 0, as a variance; the state is damaged")),
        None => Ok(()),
    }
}

/// Checks that a state has the tensors `mine` and no others, with these shapes and with valid values.
///
/// # Errors
/// A tensor is missing, unknown, of another shape or has invalid values; the error names the first such tensor.
pub(super) fn check_state(mine: &BTreeMap<String, Vec<usize>>, state: &State) -> Result<()> {
    for (name, shape) in mine {
        match state.get(name) {
            None => {
                return Err(Error::invalid(format!("the state lacks {name:?}; is it of another method or backbone?")));
            }
            Some((other, _)) if other != shape => {
                let requirement = format!("must have shape {}; is it of another backbone?", tuple(shape));
                return Err(Error::shape(name, requirement, tuple(other)));
            }
            Some(_) => {}
        }
    }
    if let Some(unknown) = state.keys().find(|name| !mine.contains_key(*name)) {
        return Err(Error::invalid(format!("the state has {unknown:?}, unlike this run; is it of another method?")));
    }
    state.iter().try_for_each(|(name, (_, numbers))| check_numbers(name, numbers))
}

pub(super) fn save_network(prefix: &str, network: &Network, state: &mut State) -> Result<()> {
    let (layout, buffers) = (network.layout(), network.buffers().clone());
    network.read(|numbers| {
        let parameters =
            layout.parameters().iter().map(|parameter| parameter.to_file(&numbers[parameter.range.clone()]));
        let buffers = layout.buffers().iter().map(|buffer| buffers[buffer.range.clone()].to_vec());
        for ((name, shape), numbers) in layout.shapes().zip(parameters.chain(buffers)) {
            state.insert(format!("{prefix}{name}"), (shape, numbers));
        }
    })
}

/// Checks that a state has all tensors of a backbone, with the shapes of its layout; `num_batches_tracked` may be missing.
pub(super) fn check_network(layout: &Layout, state: &State) -> Result<()> {
    for (name, shape) in layout.shapes() {
        match state.get(name) {
            None if Layout::is_count(name) => {}
            None => return Err(Error::invalid(format!("tensor {name:?} is missing; is it of another backbone?"))),
            Some((_, numbers)) if Layout::is_count(name) && numbers.len() == 1 => {}
            Some((other, _)) if *other == shape => {}
            Some((other, _)) => {
                return Err(Error::shape(name, format!("must have shape {}", tuple(&shape)), tuple(other)));
            }
        }
    }
    Ok(())
}

/// Loads the tensors of a network, whose names and shapes have been checked; a missing tensor is left unchanged.
pub(super) fn put_network(prefix: &str, network: &Network, state: &State) -> Result<()> {
    let (layout, mut buffers) = (network.layout(), network.buffers());
    let found = |name: &str| state.get(&format!("{prefix}{name}")).map(|(_, numbers)| &numbers[..]);
    for buffer in layout.buffers() {
        found(&buffer.name).into_iter().for_each(|numbers| buffers[buffer.range.clone()].copy_from_slice(numbers));
    }
    network.change(|params| {
        for parameter in layout.parameters() {
            let own = &mut params[parameter.range.clone()];
            found(&parameter.name).into_iter().for_each(|numbers| parameter.take_from_file(numbers, own));
        }
    })
}

/// Iterates over an optimizer's state. Yields the name of each entry, its shape in files, its values, and the parameter with
/// the same axis order (`None` for a count).
fn slots<'a>(layout: &'a Layout, optimizer: &'a Optimizer) -> impl Iterator<Item = Slot<'a>> {
    let parameters: HashMap<&str, &Parameter> = layout.parameters().iter().map(|one| (&one.name[..], one)).collect();
    optimizer.state().into_iter().map(move |(entry, own)| {
        let parameter = entry.rsplit_once('.').and_then(|(name, _)| parameters.get(name).copied());
        let parameter = parameter.filter(|parameter| parameter.range.len() == own.len());
        let shape = parameter.map_or_else(|| vec![own.len()], |parameter| parameter.shape.clone());
        Slot { entry, shape, own, parameter }
    })
}

struct Slot<'a> {
    entry: String,
    shape: Vec<usize>,
    own: &'a [f32],
    parameter: Option<&'a Parameter>,
}

/// Names and shapes of the tensors that [`save_slots`] saves.
pub(super) fn slot_shapes(layout: &Layout, optimizer: &Optimizer) -> Vec<(String, Vec<usize>)> {
    slots(layout, optimizer).map(|slot| (slot.entry, slot.shape)).collect()
}

/// Saves an optimizer's state, with the entries of each parameter in the axis order of files.
pub(super) fn save_slots(prefix: &str, layout: &Layout, optimizer: &Optimizer, state: &mut State) {
    for Slot { entry, shape, own, parameter } in slots(layout, optimizer) {
        let numbers = parameter.map_or_else(|| own.to_vec(), |parameter| parameter.to_file(own));
        state.insert(format!("{prefix}{entry}"), (shape, numbers));
    }
}

/// Loads an optimizer's state, whose names and shapes have been checked.
///
/// # Errors
/// A value is invalid; the optimizer is unchanged in that case.
pub(super) fn put_slots(prefix: &str, layout: &Layout, optimizer: &mut Optimizer, state: &State) -> Result<()> {
    let found = slots(layout, optimizer).map(|Slot { entry, own, parameter, .. }| {
        let file = &state[&format!("{prefix}{entry}")].1;
        let mut numbers = file.clone();
        if let Some(parameter) = parameter {
            numbers.resize(own.len(), 0.0);
            parameter.take_from_file(file, &mut numbers);
        }
        (entry, numbers)
    });
    let found: Vec<(String, Vec<f32>)> = found.collect();
    let entries: Vec<(String, &[f32])> = found.iter().map(|(entry, numbers)| (entry.clone(), &numbers[..])).collect();
    optimizer.load_state(&entries)
}
