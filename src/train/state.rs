//! Networks to named tensors, as files have them, and back.
use crate::error::{Error, Result};
use crate::nn::{Layout, Network};
use crate::optim::whole;
use std::collections::BTreeMap;

/// A tensor by name: its shape and its numbers.
pub type State = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// A tensor of a saved state: finite, counts whole, variances not below 0.
pub(super) fn check_numbers(name: &str, numbers: &[f32]) -> Result<()> {
    if let Some(x) = numbers.iter().find(|x| !x.is_finite()) {
        return Err(Error::value(
            name,
            x,
            "numbers of a state are finite; has the run diverged, or is the file damaged?",
        ));
    }
    if Layout::is_count(name) {
        numbers.iter().try_for_each(|&n| whole(name, n, (1 << 24) + 1).map(drop))?;
    }
    match numbers.iter().find(|&&x| name.ends_with("running_var") && x < 0.0) {
        Some(x) => Err(Error::value(name, x, "a variance is not below 0; the state is damaged")),
        None => Ok(()),
    }
}

pub(super) fn save_network(prefix: &str, network: &Network, state: &mut State) -> Result<()> {
    let (layout, buffers) = (network.layout(), network.buffers().clone());
    network.read(|numbers| {
        let parameters = layout.parameters().iter().map(|parameter| Layout::to_file(parameter, numbers));
        let buffers = layout.buffers().iter().map(|buffer| buffers[buffer.range.clone()].to_vec());
        for ((name, shape), numbers) in layout.shapes().zip(parameters.chain(buffers)) {
            state.insert(format!("{prefix}{name}"), (shape, numbers));
        }
    })
}

/// Whether a backbone's tensors are all there, in the shapes of this layout; counts of batches may be missing.
pub(super) fn check_network(layout: &Layout, state: &State) -> Result<()> {
    for (name, shape) in layout.shapes() {
        match state.get(name) {
            None if Layout::is_count(name) => {}
            None => return Err(Error::value("tensor", name, "is missing: is it of another backbone?")),
            Some((_, numbers)) if Layout::is_count(name) && numbers.len() == 1 => {}
            Some((other, _)) if *other == shape => {}
            Some((other, _)) => return Err(Error::shape(name, format!("{shape:?}"), format!("{other:?}"))),
        }
    }
    Ok(())
}

/// Takes a network's tensors, whose names and shapes are checked; one that is missing stays what it is.
pub(super) fn put_network(prefix: &str, network: &Network, state: &State) -> Result<()> {
    let (layout, mut buffers) = (network.layout(), network.buffers());
    let found = |name: &str| state.get(&format!("{prefix}{name}")).map(|(_, numbers)| &numbers[..]);
    for buffer in layout.buffers() {
        found(&buffer.name).into_iter().for_each(|numbers| buffers[buffer.range.clone()].copy_from_slice(numbers));
    }
    network.change(|params| {
        for parameter in layout.parameters() {
            found(&parameter.name).into_iter().for_each(|numbers| Layout::take_from_file(parameter, numbers, params));
        }
    })
}
