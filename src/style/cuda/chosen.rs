//! The images of a batch that are to be stylized, and the parameters and blended style vectors of these images.
use super::{Plan, StyleSource};
use crate::error::{Error, Result};
use crate::kernels::cuda::{At, IMAGES, Row, Space, blend};
use crate::style::{Drawn, StyleParams};

/// A contiguous range of the images to be stylized. Each array of parameters has one entry per image; the fields give the start
/// of the range in the arrays.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chosen {
    pub(super) count: usize,
    /// The images' indices in the batch.
    pub(super) rows: At,
    pub(super) alpha: At,
    pub(super) beta: At,
    pub(super) style: Row,
    /// The images' own z, if the whole batch was encoded; otherwise `None`.
    pub(super) content: Option<Row>,
    /// The indices 0, 1, 2 and so on, for arrays that only have rows for the images of this range.
    pub(super) places: At,
}

impl Chosen {
    /// Selects the images with the indices `chosen`, with style vectors of length `dim`. For in-batch styles, `encode` plans
    /// the z of the whole batch.
    ///
    /// # Errors
    /// The index of a style is out of range, a vector does not have the length `dim`, or the styles mix indices and vectors.
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
                    Err(Error::shape(format!("style[{i}]"), format!("must have length {dim}"), z.len()))
                }
                (&Drawn::Index(index), StyleSource::Bank(n)) if index < n => Ok(index as u32),
                (&Drawn::Index(index), StyleSource::Batch) if index < params.len() => Ok(index as u32),
                (&Drawn::Index(index), from) => {
                    let n = if let StyleSource::Bank(n) = from { n } else { params.len() };
                    Err(Error::value(
                        format!("style[{i}]"),
                        index,
                        format!("must be in [0, {n}), the range of the styles"),
                    ))
                }
            })
            .collect::<Result<_>>()?;
        if !given.is_empty() && given.len() != chosen.len() * dim {
            return Err(Error::value("style", "a mixture", "must be only indices or only vectors"));
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

    /// Returns at most `most` of the images, starting at position `first`.
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

    /// Plans the blended z of each image, `[count][dim]`, in new memory. If `content` is `None`, `encode` plans the images' own
    /// z.
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
