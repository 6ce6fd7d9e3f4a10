//! Values known before any computation, on their way to the device; and line 4 of Algorithm 1.
use super::interface::{DeviceStruct, Field};
use super::{Arg, At, Kernel, Launch, count};
use bytemuck::{Pod, Zeroable};
use std::sync::{Arc, LazyLock};

/// Number of 4-byte values that one launch carries; its arguments may have 4 KB.
const WORDS: usize = 960;

static SOURCE: LazyLock<String> = LazyLock::new(|| Words::definition() + include_str!("batch.cu"));

/// Values that one launch carries.
#[derive(Clone, Copy, Debug, Zeroable, Pod)]
#[repr(C)]
struct Words {
    /// In rows, because a larger array is not `Pod`.
    word: [[u32; 32]; WORDS / 32],
}

impl DeviceStruct for Words {
    const NAME: &'static str = "Words";
    const FIELDS: &'static [Field<Self>] =
        &[("word", |own| <&[u32; WORDS]>::try_from(own.word.as_flattened()).expect("as many"))];
}

/// Launches that write these values to the device.
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

/// A table of vectors, and the row of it that each image uses.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// `[..][dim]`.
    pub vectors: At,
    /// `[images]`.
    pub of: At,
}

/// `z = (1 - alpha) z_c + alpha z_s` for each of `images` images.
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
