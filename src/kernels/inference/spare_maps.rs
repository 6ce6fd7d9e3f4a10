//! Maps kept for reuse by the next layer and the next image, so that no maps are allocated after the first image.
use super::any_map::AnyMap;
use super::feature_map::{FeatureMap, Pad};
use super::quantize::Quantized;
use crate::kernels::isa::KernelPath;

/// A pool of maps for reuse.
#[derive(Debug, Default)]
pub struct SpareMaps {
    floats: Spare<FeatureMap>,
    bytes: Spare<Quantized>,
}

impl SpareMaps {
    /// Size of the kept memory in bytes.
    pub fn bytes(&self) -> usize {
        self.floats.0.iter().map(|kept| kept.bytes()).chain(self.bytes.0.iter().map(|kept| kept.map.bytes())).sum()
    }

    /// Takes a map of this shape, with arbitrary contents.
    pub fn take(&mut self, height: usize, width: usize, channels: usize, pad: Pad) -> FeatureMap {
        self.floats.take(height, width, channels, pad)
    }

    /// Returns a map to the pool.
    pub fn put(&mut self, map: FeatureMap) {
        self.floats.put(map);
    }

    /// Takes a map of this shape, with arbitrary contents: in bytes if `path` multiplies bytes, otherwise in float32.
    pub fn take_any(&mut self, path: KernelPath, height: usize, width: usize, channels: usize, pad: Pad) -> AnyMap {
        match path.in_bytes() {
            true => AnyMap::Bytes(self.bytes.take(height, width, channels, pad)),
            false => AnyMap::Floats(self.floats.take(height, width, channels, pad)),
        }
    }

    /// Returns a map to the pool.
    pub fn put_any(&mut self, map: AnyMap) {
        match map {
            AnyMap::Floats(map) => self.floats.put(map),
            AnyMap::Bytes(quantized) => self.bytes.put(quantized),
        }
    }
}

/// Memory that can be reshaped to a map.
trait Shaped: Default {
    /// Number of values for which memory is allocated.
    fn capacity(&self) -> usize;

    fn reshape(&mut self, height: usize, width: usize, channels: usize, pad: Pad);
}

impl Shaped for FeatureMap {
    fn capacity(&self) -> usize {
        self.capacity()
    }

    fn reshape(&mut self, height: usize, width: usize, channels: usize, pad: Pad) {
        self.reshape(height, width, channels, pad);
    }
}

impl Shaped for Quantized {
    fn capacity(&self) -> usize {
        self.map.capacity()
    }

    fn reshape(&mut self, height: usize, width: usize, channels: usize, pad: Pad) {
        self.map.reshape(height, width, channels, pad);
    }
}

/// Spare maps of one type.
#[derive(Debug, Default)]
struct Spare<M>(Vec<M>);

impl<M: Shaped> Spare<M> {
    /// Takes a map of this shape. It reuses the smallest spare map that is large enough, or else the largest spare map.
    fn take(&mut self, height: usize, width: usize, channels: usize, pad: Pad) -> M {
        let wanted = pad.len(height, width, channels);
        let fit = |map: &M| (map.capacity() < wanted, map.capacity().abs_diff(wanted));
        let best = (0..self.0.len()).min_by_key(|&i| fit(&self.0[i]));
        let mut map = best.map_or_else(M::default, |best| self.0.swap_remove(best));
        map.reshape(height, width, channels, pad);
        map
    }

    fn put(&mut self, map: M) {
        if map.capacity() > 0 {
            self.0.push(map);
        }
    }
}
