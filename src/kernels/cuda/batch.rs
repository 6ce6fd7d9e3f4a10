//! Launches that write host values to the device, and the blending of style vectors (line 4 of Algorithm 1).
use super::interface::{DeviceStruct, Field};
use super::{Arg, At, Kernel, Launch, count};
use bytemuck::{Pod, Zeroable};
use std::sync::{Arc, LazyLock};

/// Maximum number of 4-byte values that one launch carries. The arguments of a launch are limited to 4 KB.
const WORDS: usize = 960;

static SOURCE: LazyLock<String> = LazyLock::new(|| Words::definition() + include_str!("batch.cu"));

/// The values that one launch carries, as a struct argument.
#[derive(Clone, Copy, Debug, Zeroable, Pod)]
#[repr(C)]
struct Words {
    /// Split into rows, because bytemuck does not implement `Pod` for an array of `WORDS` elements.
    word: [[u32; 32]; WORDS / 32],
}

impl DeviceStruct for Words {
    const NAME: &'static str = "Words";
    const FIELDS: &'static [Field<Self>] =
        &[("word", |own| <&[u32; WORDS]>::try_from(own.word.as_flattened()).expect("as many"))];
}

/// Returns launches that write `words` to the device, starting at `to`.
pub(super) fn put(words: &[u32], to: At) -> Vec<Launch> {
    let kernel = Arc::new(Kernel { name: "put", source: &SOURCE, defines: vec![] });
    let one = |(n, part): (usize, &[u32])| {
        let mut words = Words::zeroed();
        words.word.as_flattened_mut()[..part.len()].copy_from_slice(part);
        let args = vec![to.plus(n * WORDS).into(), Arg::of(&words), part.len().into()];
        Launch { kernel: kernel.clone(), grid: [1; 3], block: 256, shared: 0, args }
    };
    words.chunks(WORDS).enumerate().map(one).collect()
}

/// A table of vectors, and the index of the row that each image uses.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The table, `[rows][dim]`.
    pub vectors: At,
    /// The row index of each image, `[images]`.
    pub of: At,
}

/// Blends two style vectors for each image: `z = (1 - alpha) z_c + alpha z_s`. `z_c` is the image's row of `content`, and `z_s`
/// its row of `style`. `alpha` is `[images]`, and `z` is `[images][dim]`.
pub fn blend(content: Row, style: Row, alpha: At, z: At, dim: usize, images: usize) -> Launch {
    Launch {
        kernel: Arc::new(Kernel { name: "blend", source: &SOURCE, defines: vec![] }),
        grid: [1, 1, count(images)],
        block: 64,
        shared: 0,
        args: vec![
            content.vectors.into(),
            content.of.into(),
            style.vectors.into(),
            style.of.into(),
            alpha.into(),
            z.into(),
            dim.into(),
        ],
    }
}
