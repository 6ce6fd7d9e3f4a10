//! Writes tiny style networks as TFLite files, for the tests that read such files.
use super::flatbuffer::{Graph, Storage, Table, Value};
use sassl::weights::network::mobilenet_v2_blocks;

/// The variant of a tiny T; a change of any field gives another network.
#[derive(Clone, Copy)]
pub(crate) struct Recipe {
    pub(crate) storage: Storage,
    pub(crate) eps: f32,
    /// 0 is REFLECT.
    pub(crate) mirror: i8,
    pub(crate) border: i32,
    pub(crate) half_pixel: i8,
    /// The activation after the first convolution of a residual block.
    pub(crate) relu: i8,
    pub(crate) bias: f32,
    /// The kernel size of the expanding layer.
    pub(crate) kernel: i32,
    pub(crate) sum: bool,
    pub(crate) sigmoid: bool,
    /// The operator between a style layer and its norm: RESHAPE is 22.
    pub(crate) reshape: Option<i32>,
    /// Depthwise and pointwise convolutions instead of dense ones, with this bias in between.
    pub(crate) separable: Option<f32>,
    /// The sizes of maps are computed from the size of the image.
    pub(crate) any_size: bool,
    /// ReLU is a separate operator.
    pub(crate) apart: bool,
    /// The quantization of the image.
    pub(crate) range: Option<(f32, i64)>,
}

pub(crate) const GOOD: Recipe = Recipe {
    storage: Storage::F32,
    eps: 1e-5,
    mirror: 0,
    border: 1,
    half_pixel: 0,
    relu: 1,
    bias: 0.0,
    kernel: 3,
    sum: true,
    sigmoid: true,
    reshape: None,
    separable: None,
    any_size: false,
    apart: false,
    range: None,
};

pub(crate) const DIM: i32 = 2;

/// Generates multiples of 1/8 that differ along all axes and from layer to layer.
pub(crate) fn numbers(shape: &[i32], seed: i32) -> Vec<f32> {
    let n: i32 = shape.iter().product();
    (0..n).map(|i| ((i * 7 + i / 5 + seed) % 13 - 6) as f32 / 8.0).collect()
}

fn activation(field: usize, number: i8) -> Table {
    vec![(field, Value::I8(number))]
}

/// Builds the options of a window; padding 1 is VALID.
pub(crate) fn window(padding: i8, stride: i32, fused: (usize, i8)) -> Table {
    vec![(0, Value::I8(padding)), (1, Value::I32(stride)), (2, Value::I32(stride)), (fused.0, Value::I8(fused.1))]
}

/// Adds a border, and a convolution with a stride and an activation; `seed` determines the weights.
fn layer(g: &mut Graph, r: Recipe, x: i32, weight: [i32; 3], then: (i32, i8), bias: Option<i32>, seed: i32) -> i32 {
    let (stride, relu) = then;
    let [outputs, k, inputs] = weight;
    let b = if r.border == 1 { k / 2 } else { r.border };
    let widths = g.integers(&[0, 0, b, b, b, b, 0, 0]);
    let bordered = g.then(100, &[x, widths], &[], vec![(0, Value::I8(r.mirror))]);
    let shape = [outputs, k, k, inputs];
    let (mut bordered, mut shape) = (bordered, shape);
    if let Some(between) = r.separable.filter(|_| stride == 1) {
        let depthwise = [1, k, k, inputs];
        let weight = g.floats(&depthwise, &numbers(&depthwise, seed + 20), 3);
        let bias = g.floats(&[inputs], &vec![between; inputs as usize], 0);
        bordered = g.then(4, &[bordered, weight, bias], &[], window(1, 1, (4, 0)));
        shape = [outputs, 1, 1, inputs];
    }
    let weight = g.floats(&shape, &numbers(&shape, seed), 0);
    let bias = bias.unwrap_or_else(|| g.floats(&[outputs], &vec![r.bias; outputs as usize], 0));
    let fused = if r.apart { 0 } else { relu };
    let y = g.then(3, &[bordered, weight, bias], &[], window(1, stride, (3, fused)));
    if r.apart && relu == 1 { g.then(19, &[y], &[], vec![]) } else { y }
}

/// Adds a norm in the form that converters write.
fn norm(g: &mut Graph, r: Recipe, x: i32, z: i32, channels: i32, relu: i8, seed: i32) -> i32 {
    let axes = g.integers(&[1, 2]);
    let [beta, gamma] = [seed + 3, seed + 5].map(|seed| {
        let shape = [channels, 1, 1, DIM];
        let weight = g.floats(&shape, &numbers(&shape, seed), 0);
        let bias = g.floats(&[channels], &numbers(&[channels], seed + 1), 0);
        let y = g.then(3, &[z, weight, bias], &[1, 1, 1, channels], window(0, 1, (3, 0)));
        let shape = g.integers(&[1, channels]);
        r.reshape.map_or(y, |code| g.then(code, &[y, shape], &[1, channels], vec![]))
    });
    let mean = g.then(40, &[x, axes], &[], vec![]);
    let square = g.then(99, &[x, mean], &[], vec![]);
    let variance = g.then(40, &[square, axes], &[], vec![]);
    let storage = std::mem::replace(&mut g.storage, Storage::F32);
    let eps = g.floats(&[], &[r.eps], 0);
    g.storage = storage;
    let sum = g.then(0, &[variance, eps], &[], vec![]);
    let root = g.then(76, &[sum], &[], vec![]);
    let scale = g.then(18, &[root, gamma], &[], vec![]);
    let scaled = g.then(18, &[x, scale], &[], vec![]);
    let moved = g.then(18, &[mean, scale], &[], vec![]);
    let shift = g.then(41, &[beta, moved], &[], vec![]);
    let fused = if r.apart { 0 } else { relu };
    let y = g.then(0, &[scaled, shift], &[], activation(0, fused));
    if r.apart && relu == 1 { g.then(19, &[y], &[], vec![]) } else { y }
}

/// Builds a T: one contracting layer of 4 channels, one residual block, one expanding layer of 5, a head of 5x5.
pub(crate) fn transformer(r: Recipe) -> Vec<u8> {
    let mut graph = Graph::new(r.storage);
    let g = &mut graph;
    let (image, z) = (g.tensor(&[1, 8, 8, 3]), g.tensor(&[1, 1, 1, DIM]));
    g.inputs = vec![image, z];
    let mut seen = image;
    if let Some((scale, zero)) = r.range {
        seen = g.quantized(&[1, 8, 8, 3], scale, zero);
        g.operator(114, &[image], &[seen], vec![]);
    }
    let bias = g.floats(&[4], &[0.5, -0.25, 0.0, 0.125], 0);
    let x = layer(g, r, seen, [4, 3, 3], (2, 1), Some(bias), 0);
    let y = layer(g, r, x, [4, 3, 4], (1, 0), None, 1);
    let y = norm(g, r, y, z, 4, r.relu, 1);
    let y = layer(g, r, y, [4, 3, 4], (1, 0), None, 2);
    let y = norm(g, r, y, z, 4, 0, 2);
    let mut x = if r.sum { g.then(0, &[x, y], &[], vec![]) } else { y };
    for (i, (outputs, k, inputs)) in [(5, r.kernel, 4), (3, 5, 5)].into_iter().enumerate() {
        let mut size = g.integers(&[8, 8]);
        if r.any_size {
            let shape = g.then(77, &[x], &[4], vec![]);
            let sides = g.then(65, &[shape, size, size], &[2], vec![]);
            size = g.then(18, &[sides, size], &[2], vec![]);
        }
        let large = g.then(97, &[x, size], &[], vec![(1, Value::I8(r.half_pixel))]);
        let y = layer(g, r, large, [outputs, k, inputs], (1, 0), None, 3 + i as i32);
        x = norm(g, r, y, z, outputs, 1 - i as i8, 3 + i as i32);
    }
    g.then(if r.sigmoid { 14 } else { 28 }, &[x], &[1, 8, 8, 3], vec![]);
    graph.file()
}

/// Builds an F with weights in int8, quantized per channel; `range` is the quantization of the image.
pub(crate) fn predictor(range: (f32, i64), relu6: i8, sums: bool) -> Vec<u8> {
    let mut graph = Graph::new(Storage::Int8Channels);
    let g = &mut graph;
    let image = g.tensor(&[1, 256, 256, 3]);
    g.inputs = vec![image];
    let mut x = g.quantized(&[1, 256, 256, 3], range.0, range.1);
    g.operator(114, &[image], &[x], vec![]);
    let conv = |g: &mut Graph, x: i32, [outputs, k, inputs]: [i32; 3], stride: i32, fused: i8| {
        let depthwise = inputs == 0;
        let shape = if depthwise { [1, k, k, outputs] } else { [outputs, k, k, inputs] };
        let weight = g.floats(&shape, &numbers(&shape, outputs), if depthwise { 3 } else { 0 });
        let bias = g.floats(&[outputs], &numbers(&[outputs], 1), 0);
        let (code, field) = if depthwise { (4, 4) } else { (3, 3) };
        g.then(code, &[x, weight, bias], &[], window(0, stride, (field, fused)))
    };
    x = conv(g, x, [32, 3, 3], 2, relu6);
    let mut inputs = 32;
    for block in mobilenet_v2_blocks() {
        let [expansion, channels, stride] = [block.expansion, block.channels, block.stride].map(|n| n as i32);
        let (before, hidden) = (x, inputs * expansion);
        if expansion != 1 {
            x = conv(g, x, [hidden, 1, inputs], 1, 3);
        }
        x = conv(g, x, [hidden, 3, 0], stride, 3);
        x = conv(g, x, [channels, 1, hidden], 1, 0);
        if stride == 1 && inputs == channels && sums {
            x = g.then(0, &[x, before], &[], vec![]);
        }
        inputs = channels;
    }
    x = conv(g, x, [1280, 1, 320], 1, 3);
    let axes = g.integers(&[1, 2]);
    x = g.then(40, &[x, axes], &[], vec![]);
    conv(g, x, [DIM, 1, 1280], 1, 0);
    graph.file()
}

/// The quantization of [0, 1].
pub(crate) const UNIT: (f32, i64) = (1.0 / 255.0, -128);
