//! Gradient accumulation: a step processes its rows in pieces. Networks then keep the activations of only one piece at a time.
//! There is one row for each image.
//!
//! ```text
//! loss = mean over rows           the gradient of each piece's share, one after the other
//! loss of all rows z together     z without gradients, piece by piece; d loss / d z; each piece's z again, with gradients
//! ```
//! Both give the gradient of the whole batch if each piece consists of whole parts. A part is a group of images with its own
//! batch-norm statistics. The second method is the gradient cache of Gao et al. 2021, arXiv 2101.06983. Running statistics are
//! updated once, with the statistics of all pieces.
use crate::error::{Error, Result};
use crate::methods::{Forward, Method, ViewPairs};
use crate::nn::Network;
use candle_core::{Tensor, Var};

/// Checks that a batch can be processed in `pieces` pieces.
pub(super) fn check(pieces: usize, splits: usize) -> Result<()> {
    if pieces > 0 && splits.is_multiple_of(pieces) {
        return Ok(());
    }
    let requirement = match splits {
        _ if pieces == 0 => "must be an integer >= 1".into(),
        1 => format!(
            "must be 1 for norms over the whole batch (splits=1); over pieces of it this would be another run: give \
             splits={pieces} too, which is a setting of the run, or a smaller batch"
        ),
        _ => format!("must divide splits ({splits}), as a piece consists of whole parts for the norms"),
    };
    Err(Error::value("accumulate", pieces, requirement))
}

/// Runs the forward pass of a step. With several pieces, it also runs the backward pass, and the returned loss has no graph.
pub(super) fn forward(method: &mut dyn Method, views: &ViewPairs, m: f64, pieces: usize) -> Result<Forward> {
    if pieces == 1 {
        method.begin(views, m)?;
        return method.loss(&method.represent(views, 0)?);
    }
    let networks = networks(method);
    networks.iter().for_each(|network| network.begin_pieces(pieces));
    method.begin(views, m)?;
    let made = match method.by_rows() {
        true => by_rows(method, views, pieces, &networks),
        false => by_representations(method, views, pieces, &networks),
    };
    networks.iter().for_each(|network| network.end_pieces(made.is_ok()));
    made
}

/// Returns handles to all networks of a method.
fn networks(method: &dyn Method) -> Vec<Network> {
    let learning = method.learning().into_iter().map(|learning| learning.network.clone());
    learning.chain(method.following().into_iter().map(|(_, network)| network.clone())).collect()
}

/// Runs the networks on one piece, and returns the rows of the piece; see [`Method::represent`].
fn represent(
    method: &dyn Method,
    views: &ViewPairs,
    (piece, pieces): (usize, usize),
    networks: &[Network],
) -> Result<Vec<Tensor>> {
    networks.iter().for_each(Network::next_piece);
    let n = views.images() / pieces;
    method.represent(&views.part(piece * n, n)?, piece * n)
}

fn by_rows(method: &dyn Method, views: &ViewPairs, pieces: usize, networks: &[Network]) -> Result<Forward> {
    let mut all = vec![];
    for piece in 0..pieces {
        let rows = represent(method, views, (piece, pieces), networks)?;
        let Forward { loss, features, projections, watched } = method.loss(&rows)?;
        let share = (loss / pieces as f64)?;
        share.backward()?;
        let (loss, features, projections) = (share.detach(), features.detach(), projections.detach());
        all.push(Forward { loss, features, projections, watched });
    }
    let (first, others) = all.split_first().expect("a batch has a piece");
    let loss = others.iter().try_fold(first.loss.clone(), |sum, one| sum + &one.loss)?;
    let mean = |n: usize| all.iter().map(|one| one.watched[n].1 / pieces as f32).sum();
    let watched = first.watched.iter().enumerate().map(|(n, (name, _))| (*name, mean(n))).collect();
    let features = joined(all.iter().map(|one| &one.features))?;
    let projections = joined(all.iter().map(|one| &one.projections))?;
    Ok(Forward { loss, features, projections, watched })
}

fn by_representations(method: &dyn Method, views: &ViewPairs, pieces: usize, networks: &[Network]) -> Result<Forward> {
    let mut made: Vec<Vec<Tensor>> = vec![];
    for piece in 0..pieces {
        let rows = represent(method, views, (piece, pieces), networks)?;
        made.push(rows.iter().map(Tensor::detach).collect());
    }
    networks.iter().for_each(|network| network.end_pieces(true));
    let whole = (0..made[0].len()).map(|n| Ok(Var::from_tensor(&joined(made.iter().map(|rows| &rows[n]))?)?));
    let whole = whole.collect::<Result<Vec<Var>>>()?;
    let rows: Vec<Tensor> = whole.iter().map(|var| var.as_tensor().clone()).collect();
    let Forward { loss, features, projections, watched } = method.loss(&rows)?;
    let gradients = loss.backward()?;
    networks.iter().for_each(|network| network.begin_pieces(pieces));
    let n = views.images() / pieces;
    for piece in 0..pieces {
        let rows = represent(method, views, (piece, pieces), networks)?;
        let products = rows.iter().zip(&whole).filter_map(|(rows, var)| {
            let gradient = gradients.get(var)?.narrow(0, piece * n, n);
            Some(gradient.and_then(|gradient| (rows * gradient.detach())?.sum_all()))
        });
        // Its gradient with respect to the rows is that of the loss.
        let sum = products.reduce(|a, b| a? + b?);
        sum.map_or(Ok(()), |sum| sum?.backward().map(drop))?;
    }
    // These passes were repetitions.
    networks.iter().for_each(|network| network.end_pieces(false));
    Ok(Forward { loss: loss.detach(), features: features.detach(), projections: projections.detach(), watched })
}

fn joined<'a>(rows: impl Iterator<Item = &'a Tensor>) -> Result<Tensor> {
    Ok(Tensor::cat(&rows.collect::<Vec<_>>(), 0)?)
}
