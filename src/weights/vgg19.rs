//! The layers of VGG-19 up to relu4_1 and of the decoder that mirrors them, as in AdaIN (Huang and Belongie 2017, arXiv
//! 1703.06868).
use super::layers::Layer;

/// Number of channels of the encoder's last feature map. A style vector has a mean and a standard deviation for each channel.
pub const CHANNELS: usize = 512;

/// The factor by which the encoder reduces the sides of an image.
pub const SHRINKAGE: usize = 8;

/// Numbers of output channels of the encoder's convolutions, block by block, with 2x2 max pools between blocks.
const BLOCKS: [&[usize]; 4] = [&[64, 64], &[128, 128], &[256, 256, 256, 256], &[CHANNELS]];

/// Returns the encoder's convolutions, 3x3 with bias and ReLU, each with a flag for a following 2x2 max pool.
pub fn encoder() -> Vec<(Layer, bool)> {
    let outputs = BLOCKS.iter().enumerate().flat_map(|(b, block)| {
        let last = move |i| i + 1 == block.len() && b + 1 < BLOCKS.len();
        block.iter().enumerate().map(move |(i, &outputs)| (outputs, last(i)))
    });
    let mut inputs = 3;
    let layer = |(i, (outputs, pooled)): (usize, (usize, bool))| {
        let inputs = std::mem::replace(&mut inputs, outputs);
        (Layer::plain(format!("predictor.encoder.{i}"), inputs, outputs, (3, 3)), pooled)
    };
    outputs.enumerate().map(layer).collect()
}

/// Returns the decoder's 3x3 convolutions with bias: the encoder's convolutions in reverse, with nearest x2 upsampling instead
/// of pools. All but the last are followed by ReLU.
pub fn decoder() -> Vec<Layer> {
    let encoder = encoder();
    let mirrored = encoder.iter().rev().enumerate().map(|(i, (layer, pooled))| Layer {
        // The pool follows the encoder's convolution, so the upsampling precedes its mirror image.
        upsample: *pooled,
        ..Layer::plain(format!("transformer.decoder.{i}"), layer.outputs, layer.inputs, (3, 3))
    });
    mirrored.collect()
}

#[cfg(test)]
mod tests {
    use super::{decoder, encoder};

    #[test]
    fn the_tables_are_the_published_ones() {
        let weights = |layers: &[crate::weights::layers::Layer]| -> usize {
            layers.iter().map(|layer| layer.weight().iter().product::<usize>() + layer.outputs).sum()
        };
        assert_eq!(weights(&decoder()), 3_505_219);
        let encoder: Vec<_> = encoder().into_iter().map(|(layer, _)| layer).collect();
        assert_eq!(weights(&encoder), 3_505_728);
        let upsampled: Vec<_> = decoder().iter().map(|layer| layer.upsample).collect();
        assert_eq!(upsampled, [false, true, false, false, false, true, false, true, false]);
    }
}
