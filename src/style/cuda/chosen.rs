//! The images of a batch that were drawn, and what was drawn for each; Algorithm 1's third line of them.
use super::{Plan, StyleSource};
use crate::error::{Error, Result};
use crate::kernels::cuda::{At, IMAGES, Row, Space, blend};
use crate::style::{Drawn, StyleParams};

/// Some of them, one after the other: where each list of what belongs to them begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chosen {
    pub(super) count: usize,
    /// Which images of the batch they are.
    pub(super) rows: At,
    pub(super) alpha: At,
    pub(super) beta: At,
    pub(super) style: Row,
    /// Their own z, if it is known because the whole batch was encoded.
    pub(super) content: Option<Row>,
    /// 0, 1, 2 and so on: which vectors are theirs where there is one for each.
    pub(super) places: At,
}

impl Chosen {
    /// The images of these numbers, with vectors of `dim`. Where styles are of the batch, `encode` says where its z are.
    ///
    /// # Errors
    /// A style that is not there, or a vector of another length.
    pub(super) fn new(
        params: &[StyleParams],
        chosen: &[usize],
        from: StyleSource,
        dim: usize,
        encode: impl FnOnce(&mut Plan) -> At,
        plan: &mut Plan,
    ) -> Result<Self> {
        let mut given: Vec<u32> = vec![];
        let styles: Vec<u32> = chosen
            .iter()
            .map(|&i| match (&params[i].style, from) {
                (Drawn::Vector(z), _) if z.len() == dim => {
                    given.extend(z.iter().map(|x| x.to_bits()));
                    Ok((given.len() / dim - 1) as u32)
                }
                (Drawn::Vector(z), _) => {
                    Err(Error::shape(format!("style[{i}]"), format!("a vector of {dim}"), z.len()))
                }
                (&Drawn::Index(index), StyleSource::Bank(n)) if index < n => Ok(index as u32),
                (&Drawn::Index(index), StyleSource::Batch) if index < params.len() => Ok(index as u32),
                (&Drawn::Index(index), from) => {
                    let n = if let StyleSource::Bank(n) = from { n } else { params.len() };
                    Err(Error::value(format!("style[{i}]"), index, format!("there are {n}, counted from 0")))
                }
            })
            .collect::<Result<_>>()?;
        if !given.is_empty() && given.len() != chosen.len() * dim {
            return Err(Error::value("style", "a mixture", "all of them indices, or all of them vectors"));
        }
        let rows = plan.put(&chosen.iter().map(|&i| i as u32).collect::<Vec<_>>());
        let (vectors, content) = match from {
            _ if !given.is_empty() => (plan.put(&given), None),
            StyleSource::Bank(_) => (Space::Styles.into(), None),
            StyleSource::Batch => {
                let vectors = encode(plan);
                (vectors, Some(Row { vectors, of: rows }))
            }
        };
        let mut each = |of: fn(&StyleParams) -> f32| {
            plan.put(&chosen.iter().map(|&i| of(&params[i]).to_bits()).collect::<Vec<_>>())
        };
        let (alpha, beta) = (each(|params| params.alpha), each(|params| params.beta));
        let style = Row { vectors, of: plan.put(&styles) };
        let places = plan.put(&(0..chosen.len() as u32).collect::<Vec<_>>());
        Ok(Self { count: chosen.len(), rows, alpha, beta, style, content, places })
    }

    /// Those from the `first` on, `most` of them if there are as many.
    pub(super) fn part(&self, first: usize, most: usize) -> Self {
        let row = |row: Row| Row { of: row.of.plus(first), ..row };
        Self {
            count: most.min(self.count - first),
            rows: self.rows.plus(first),
            alpha: self.alpha.plus(first),
            beta: self.beta.plus(first),
            style: row(self.style),
            content: self.content.map(row),
            places: self.places,
        }
    }

    /// The z of each, `[count][dim]`, in new memory; `encode` says where their own are, if they are not known.
    pub(super) fn blended(&self, dim: usize, encode: impl FnOnce(&mut Plan) -> At, plan: &mut Plan) -> At {
        let content = self.content.unwrap_or_else(|| Row { vectors: encode(plan), of: self.places });
        let z = plan.room.take(self.count * dim);
        for first in (0..self.count).step_by(IMAGES) {
            let Self { count, alpha, style, .. } = self.part(first, IMAGES);
            let content = Row { of: content.of.plus(first), ..content };
            plan.launches.push(blend(content, style, alpha, z.plus(first * dim), dim, count));
        }
        z
    }
}
