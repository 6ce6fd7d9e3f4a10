//! Writes ONNX files, and tiny style networks in that format, for the tests that read them.
use super::tflite_files::numbers;

/// Encodes a field of bytes.
pub(crate) fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = varint((u64::from(number) << 3) | 2);
    out.extend(varint(bytes.len() as u64));
    out.extend(bytes);
    out
}

/// Encodes a field of an integer.
pub(crate) fn number(number: u8, value: i64) -> Vec<u8> {
    let mut out = varint(u64::from(number) << 3);
    out.extend(varint(value as u64));
    out
}

pub(crate) fn varint(mut n: u64) -> Vec<u8> {
    let mut out = vec![];
    while n >= 128 {
        out.push(n as u8 | 128);
        n >>= 7;
    }
    out.push(n as u8);
    out
}

pub(crate) enum Attribute<'a> {
    Int(i64),
    Ints(&'a [i64]),
    Text(&'a str),
    Tensor(Vec<u8>),
}

/// The storage of floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Storage {
    Raw,
    Typed,
    Half,
    TypedHalf,
    Quantized,
    External,
    Constant,
}

pub(crate) struct Model {
    pub(crate) storage: Storage,
    /// Whether every operator's output is quantized and dequantized.
    pub(crate) rounded: bool,
    body: Vec<u8>,
    names: usize,
}

pub(crate) fn tensor(name: &str, kind: i64, shape: &[i64], data: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = shape.iter().flat_map(|&side| number(1, side)).collect();
    out.extend(number(2, kind));
    out.extend(field(8, name.as_bytes()));
    out.extend(data);
    out
}

impl Model {
    pub(crate) fn new(storage: Storage) -> Self {
        Self { storage, rounded: false, body: vec![], names: 0 }
    }

    pub(crate) fn input(&mut self, name: &str, shape: &[i64]) {
        let sides: Vec<u8> = shape.iter().flat_map(|&side| field(1, &number(1, side))).collect();
        let tensor = field(1, &[number(1, 1), field(2, &sides)].concat());
        self.body.extend(field(11, &[field(1, name.as_bytes()), field(2, &tensor)].concat()));
    }

    fn name(&mut self) -> String {
        self.names += 1;
        format!("t{}", self.names)
    }

    pub(crate) fn integers(&mut self, numbers: &[i64]) -> String {
        let name = self.name();
        let raw: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        self.body.extend(field(5, &tensor(&name, 7, &[numbers.len() as i64], &field(9, &raw))));
        name
    }

    /// Adds a constant; the values have to be multiples of 1/8.
    pub(crate) fn floats(&mut self, shape: &[i64], numbers: &[f32]) -> String {
        let storage = if shape.is_empty() && self.storage != Storage::Constant { Storage::Raw } else { self.storage };
        let name = self.name();
        let raw: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        let halves = numbers.iter().map(|&x| half::f16::from_f32(x));
        let (kind, data) = match storage {
            Storage::Raw | Storage::Constant => (1, field(9, &raw)),
            Storage::External => (1, number(14, 1)),
            Storage::Typed => (1, field(4, &raw)),
            Storage::Half => (10, field(9, &halves.flat_map(f16_bytes).collect::<Vec<_>>())),
            Storage::TypedHalf => (10, field(5, &halves.flat_map(|x| varint(x.to_bits().into())).collect::<Vec<_>>())),
            Storage::Quantized => {
                let q: Vec<u8> = numbers.iter().flat_map(|x| varint((8.0 * x) as i64 as u64)).collect();
                (3, field(5, &q))
            }
        };
        let bytes = tensor(&name, kind, shape, &data);
        match storage {
            Storage::Constant => {
                let value = self.then("Constant", &[], &[("value", Attribute::Tensor(bytes))]);
                return self.then("Identity", &[&value], &[]);
            }
            _ => self.body.extend(field(5, &bytes)),
        }
        match storage {
            Storage::Half | Storage::TypedHalf => self.then("Cast", &[&name], &[("to", Attribute::Int(1))]),
            Storage::Quantized => {
                let scale = self.name();
                let scales: Vec<u8> = (0..shape[0]).flat_map(|_| 0.125_f32.to_le_bytes()).collect();
                self.body.extend(field(5, &tensor(&scale, 1, &[shape[0]], &field(4, &scales))));
                self.then("DequantizeLinear", &[&name, &scale], &[("axis", Attribute::Int(0))])
            }
            _ => name,
        }
    }

    pub(crate) fn then(&mut self, kind: &str, inputs: &[&str], attributes: &[(&str, Attribute)]) -> String {
        let output = self.name();
        let mut node: Vec<u8> = inputs.iter().flat_map(|name| field(1, name.as_bytes())).collect();
        node.extend(field(2, output.as_bytes()));
        node.extend(field(4, kind.as_bytes()));
        for (name, value) in attributes {
            let mut attribute = field(1, name.as_bytes());
            attribute.extend(match value {
                Attribute::Int(n) => number(3, *n),
                Attribute::Text(text) => field(4, text.as_bytes()),
                Attribute::Tensor(tensor) => field(5, tensor),
                Attribute::Ints(list) => list.iter().flat_map(|&n| number(8, n)).collect(),
            });
            node.extend(field(5, &attribute));
        }
        self.body.extend(field(1, &node));
        let computes = !["Cast", "Constant", "Identity", "DequantizeLinear", "QuantizeLinear"].contains(&kind);
        if !self.rounded || !computes {
            return output;
        }
        let (storage, scale) = (std::mem::replace(&mut self.storage, Storage::Raw), [0.5]);
        let scale = self.floats(&[], &scale);
        self.storage = storage;
        let whole = self.then("QuantizeLinear", &[&output, &scale], &[]);
        self.then("DequantizeLinear", &[&whole, &scale], &[])
    }

    pub(crate) fn file(self) -> Vec<u8> {
        [number(1, 8), field(2, b"tests"), field(7, &self.body)].concat()
    }
}

fn f16_bytes(x: half::f16) -> [u8; 2] {
    x.to_le_bytes()
}

/// A tiny T.
#[derive(Clone, Copy)]
pub(crate) struct Recipe {
    pub(crate) storage: Storage,
    /// The image is NCHW, without a Transpose.
    pub(crate) channels_first: bool,
    /// Pads and axes as attributes.
    pub(crate) old: bool,
    pub(crate) separable: bool,
    pub(crate) mode: &'static str,
    pub(crate) rounding: &'static str,
    pub(crate) scale: f32,
    /// Another operator reads the input of the ReLU after the first residual convolution.
    pub(crate) shared: bool,
    pub(crate) group: i64,
    /// Quantized throughout.
    pub(crate) rounded: bool,
}

pub(crate) const TINY: Recipe = Recipe {
    storage: Storage::Raw,
    channels_first: false,
    old: false,
    separable: false,
    mode: "reflect",
    rounding: "floor",
    scale: 2.0,
    shared: false,
    group: 1,
    rounded: false,
};

/// Returns the values of `numbers`, which are in the order OHWI, in the order OIHW.
pub(crate) fn oihw([o, k, i]: [i64; 3], seed: i32) -> Vec<f32> {
    let (o, k, i) = (o as usize, k as usize, i as usize);
    let file = numbers(&[o as i32, k as i32, k as i32, i as i32], seed);
    let from = |n: usize| ((n / (i * k * k) * k + n / k % k) * k + n % k) * i + n / (k * k) % i;
    (0..file.len()).map(|n| file[from(n)]).collect()
}

pub(crate) fn pad(m: &mut Model, r: Recipe, x: &str, b: i64, last: bool) -> String {
    let widths = if last { [0, b, b, 0, 0, b, b, 0] } else { [0, 0, b, b, 0, 0, b, b] };
    if r.old {
        return m.then("Pad", &[x], &[("mode", Attribute::Text(r.mode)), ("pads", Attribute::Ints(&widths))]);
    }
    let widths = m.integers(&widths);
    m.then("Pad", &[x, &widths], &[("mode", Attribute::Text(r.mode))])
}

pub(crate) fn convolution(
    m: &mut Model,
    x: &str,
    weight: [i64; 3],
    stride: i64,
    bias: Option<&[f32]>,
    seed: i32,
    group: i64,
) -> String {
    let [o, k, i] = weight;
    let w = m.floats(&[o, i, k, k], &oihw(weight, seed));
    let mut inputs = vec![x.to_owned(), w];
    inputs.extend(bias.map(|bias| m.floats(&[o], bias)));
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let attributes = [("strides", Attribute::Ints(&[stride, stride])), ("group", Attribute::Int(group))];
    m.then("Conv", &inputs, &attributes)
}

pub(crate) fn norm(m: &mut Model, r: Recipe, x: &str, z: &str, channels: i64, relu: bool, seed: i32) -> String {
    let [beta, gamma] = [seed + 3, seed + 5].map(|seed| {
        let bias = numbers(&[channels as i32], seed + 1);
        convolution(m, z, [channels, 1, 2], 1, Some(&bias), seed, 1)
    });
    let mean = match r.old {
        true => m.then("ReduceMean", &[x], &[("axes", Attribute::Ints(&[2, 3]))]),
        false => m.then("GlobalAveragePool", &[x], &[]),
    };
    let difference = m.then("Sub", &[x, &mean], &[]);
    let square = m.then("Mul", &[&difference, &difference], &[]);
    let variance = m.then("GlobalAveragePool", &[&square], &[]);
    let eps = m.floats(&[], &[1e-5]);
    let sum = m.then("Add", &[&variance, &eps], &[]);
    let root = m.then("Sqrt", &[&sum], &[]);
    let root = m.then("Reciprocal", &[&root], &[]);
    let scale = m.then("Mul", &[&root, &gamma], &[]);
    let scaled = m.then("Mul", &[x, &scale], &[]);
    let moved = m.then("Mul", &[&mean, &scale], &[]);
    let shift = m.then("Sub", &[&beta, &moved], &[]);
    let sum = m.then("Add", &[&scaled, &shift], &[]);
    if !relu {
        return sum;
    }
    let activated = m.then("Relu", &[&sum], &[]);
    if r.shared { sum } else { activated }
}

pub(crate) fn transformer(r: Recipe) -> Vec<u8> {
    let mut model = Model::new(r.storage);
    let m = &mut model;
    m.rounded = r.rounded;
    m.input("image", if r.channels_first { &[1, 3, 8, 8] } else { &[0, 8, 8, 3] });
    m.input("z", &[1, 1, 1, 2]);
    let shape = m.integers(&[1, -1, 1, 1]);
    let z = m.then("Reshape", &["z", &shape], &[]);
    let mut x = pad(m, r, "image", 1, !r.channels_first);
    if !r.channels_first {
        x = m.then("Transpose", &[&x], &[("perm", Attribute::Ints(&[0, 3, 1, 2]))]);
    }
    x = convolution(m, &x, [4, 3, 3], 2, Some(&[0.5, -0.25, 0.0, 0.125]), 0, 1);
    x = m.then("Relu", &[&x], &[]);
    let site = |m: &mut Model, x: &str, weight: [i64; 3], relu: bool, seed: i32| {
        let [o, k, i] = weight;
        let x = pad(m, r, x, k / 2, false);
        let y = if r.separable {
            let y = convolution(m, &x, [i, k, 1], 1, None, seed + 20, r.group * i);
            convolution(m, &y, [o, 1, i], 1, None, seed, 1)
        } else {
            convolution(m, &x, weight, 1, None, seed, r.group)
        };
        norm(m, r, &y, &z, o, relu, seed)
    };
    let y = site(m, &x, [4, 3, 4], true, 1);
    let y = site(m, &y, [4, 3, 4], false, 2);
    x = m.then("Add", &[&x, &y], &[]);
    for (i, (weight, scale)) in [([5, 3, 4], r.scale), ([3, 5, 5], 1.0)].into_iter().enumerate() {
        let storage = std::mem::replace(&mut m.storage, Storage::Raw);
        let scales = m.floats(&[4], &[1.0, 1.0, scale, scale]);
        m.storage = storage;
        let attributes = [
            ("mode", Attribute::Text("nearest")),
            ("coordinate_transformation_mode", Attribute::Text("asymmetric")),
            ("nearest_mode", Attribute::Text(r.rounding)),
        ];
        let large = m.then("Resize", &[&x, "", &scales], &attributes);
        x = site(m, &large, weight, i == 0, 3 + i as i32);
    }
    let y = m.then("Sigmoid", &[&x], &[]);
    m.then("Transpose", &[&y], &[("perm", Attribute::Ints(&[0, 2, 3, 1]))]);
    model.file()
}
