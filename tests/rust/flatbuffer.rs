//! Writes flatbuffers, and TFLite graphs in that format, for the tests that read such files.

/// The value of a table's field.
pub(crate) enum Value {
    I8(i8),
    I32(i32),
    Table(Table),
    Tables(Vec<Table>),
    /// The size of an element in bytes, and the bytes of all elements.
    Vector(usize, Vec<u8>),
}

/// Fields with their numbers.
pub(crate) type Table = Vec<(usize, Value)>;

pub(crate) fn i32s(numbers: &[i32]) -> Value {
    Value::Vector(4, numbers.iter().flat_map(|n| n.to_le_bytes()).collect())
}

fn put(bytes: &mut [u8], at: usize, number: usize) {
    bytes[at..at + 4].copy_from_slice(&(number as u32).to_le_bytes());
}

/// Appends a table: its vtable, the table, then the values that it points to. Returns its offset.
fn table(bytes: &mut Vec<u8>, fields: &Table) -> usize {
    let slots = fields.iter().map(|(number, _)| number + 1).max().unwrap_or(0);
    let vtable = bytes.len();
    let mut words = vec![0_u16; (2 + slots).next_multiple_of(2)];
    words[0] = 4 + 2 * slots as u16;
    words[1] = 4 + 4 * fields.len() as u16;
    for (i, (number, _)) in fields.iter().enumerate() {
        words[2 + number] = 4 + 4 * i as u16;
    }
    bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    let at = bytes.len();
    bytes.resize(at + 4 + 4 * fields.len(), 0);
    put(bytes, at, at - vtable);
    for (i, (_, value)) in fields.iter().enumerate() {
        let field = at + 4 + 4 * i;
        let target = match value {
            Value::I8(n) => {
                bytes[field] = n.cast_unsigned();
                continue;
            }
            Value::I32(n) => {
                put(bytes, field, n.cast_unsigned() as usize);
                continue;
            }
            Value::Table(inner) => table(bytes, inner),
            Value::Tables(inner) => {
                let list = bytes.len();
                bytes.resize(list + 4 + 4 * inner.len(), 0);
                put(bytes, list, inner.len());
                for (i, inner) in inner.iter().enumerate() {
                    let (entry, target) = (list + 4 + 4 * i, table(bytes, inner));
                    put(bytes, entry, target - entry);
                }
                list
            }
            Value::Vector(size, elements) => {
                let list = bytes.len();
                bytes.extend(((elements.len() / size) as u32).to_le_bytes());
                bytes.extend(elements);
                bytes.resize(bytes.len().next_multiple_of(4), 0);
                list
            }
        };
        put(bytes, field, target - field);
    }
    at
}

/// The storage of constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Storage {
    F32,
    /// Followed by DEQUANTIZE.
    F16,
    /// Dynamic range: one scale per tensor, biases in float32.
    Int8,
    /// Fully quantized: one scale per output channel, biases in int32.
    Int8Channels,
}

/// A graph under construction.
pub(crate) struct Graph {
    pub(crate) storage: Storage,
    pub(crate) inputs: Vec<i32>,
    tensors: Vec<Table>,
    buffers: Vec<Table>,
    operators: Vec<Table>,
    codes: Vec<i32>,
}

impl Graph {
    pub(crate) fn new(storage: Storage) -> Self {
        let (tensors, operators, codes, inputs) = (vec![], vec![], vec![], vec![]);
        Self { storage, inputs, tensors, buffers: vec![vec![]], operators, codes }
    }

    /// Adds a tensor without content.
    pub(crate) fn tensor(&mut self, shape: &[i32]) -> i32 {
        self.stored(shape, 0, None, None)
    }

    fn stored(&mut self, shape: &[i32], kind: i8, bytes: Option<Vec<u8>>, quantization: Option<Table>) -> i32 {
        let mut buffer = 0;
        if let Some(bytes) = bytes {
            buffer = self.buffers.len() as i32;
            self.buffers.push(vec![(0, Value::Vector(1, bytes))]);
        }
        let mut tensor = vec![(0, i32s(shape)), (1, Value::I8(kind)), (2, Value::I32(buffer))];
        tensor.extend(quantization.map(|table| (4, Value::Table(table))));
        self.tensors.push(tensor);
        self.tensors.len() as i32 - 1
    }

    /// Adds a constant of integers.
    pub(crate) fn integers(&mut self, numbers: &[i32]) -> i32 {
        let bytes = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        self.stored(&[numbers.len() as i32], 2, Some(bytes), None)
    }

    /// Adds a constant of floats in the graph's storage. For int8, they have to be small multiples of 1/8; `axis` is the axis
    /// of the scales.
    pub(crate) fn floats(&mut self, shape: &[i32], numbers: &[f32], axis: usize) -> i32 {
        let bias = shape.len() < 4;
        match self.storage {
            Storage::F16 => {
                let bytes = numbers.iter().flat_map(|&x| half::f16::from_f32(x).to_le_bytes()).collect();
                let half = self.stored(shape, 1, Some(bytes), None);
                let single = self.tensor(shape);
                self.operator(6, &[half], &[single], vec![]);
                single
            }
            Storage::Int8 if !bias => {
                let bytes = numbers.iter().map(|x| ((8.0 * x) as i8 + 3).cast_unsigned()).collect();
                self.stored(shape, 9, Some(bytes), Some(quantization(&[0.125], 3, 0)))
            }
            Storage::Int8Channels => {
                // The scale of a channel is 1/8 or 1/16.
                let scales: Vec<f32> = (0..shape[axis]).map(|c| if c % 2 == 0 { 0.125 } else { 0.0625 }).collect();
                let inner: i32 = shape[axis + 1..].iter().product();
                let steps =
                    numbers.iter().enumerate().map(|(i, x)| (x / scales[i / inner as usize % scales.len()]) as i32);
                let table = quantization(&scales, 0, axis as i32);
                match bias {
                    true => self.stored(shape, 2, Some(steps.flat_map(i32::to_le_bytes).collect()), Some(table)),
                    false => self.stored(shape, 9, Some(steps.map(|q| q as u8).collect()), Some(table)),
                }
            }
            _ => self.stored(shape, 0, Some(numbers.iter().flat_map(|x| x.to_le_bytes()).collect()), None),
        }
    }

    /// Adds an int8 tensor without content, with one scale.
    pub(crate) fn quantized(&mut self, shape: &[i32], scale: f32, zero: i64) -> i32 {
        self.stored(shape, 9, None, Some(quantization(&[scale], zero, 0)))
    }

    pub(crate) fn operator(&mut self, code: i32, inputs: &[i32], outputs: &[i32], options: Table) {
        let index = self.codes.iter().position(|&known| known == code).unwrap_or(self.codes.len());
        if index == self.codes.len() {
            self.codes.push(code);
        }
        self.operators.push(vec![
            (0, Value::I32(index as i32)),
            (1, i32s(inputs)),
            (2, i32s(outputs)),
            (4, Value::Table(options)),
        ]);
    }

    /// Adds an operator with one new output tensor, and returns the tensor.
    pub(crate) fn then(&mut self, code: i32, inputs: &[i32], shape: &[i32], options: Table) -> i32 {
        let output = self.tensor(shape);
        self.operator(code, inputs, &[output], options);
        output
    }

    pub(crate) fn file(self) -> Vec<u8> {
        let codes = self.codes.iter().map(|&code| vec![(0, Value::I8(code as i8)), (3, Value::I32(code))]);
        let codes = Value::Tables(codes.collect());
        let graph = vec![(0, Value::Tables(self.tensors)), (1, i32s(&self.inputs)), (3, Value::Tables(self.operators))];
        let model = vec![(1, codes), (2, Value::Tables(vec![graph])), (4, Value::Tables(self.buffers))];
        let mut bytes = b"\0\0\0\0TFL3".to_vec();
        let root = table(&mut bytes, &model);
        put(&mut bytes, 0, root);
        bytes
    }
}

fn quantization(scales: &[f32], zero: i64, axis: i32) -> Table {
    vec![
        (2, Value::Vector(4, scales.iter().flat_map(|x| x.to_le_bytes()).collect())),
        (3, Value::Vector(8, scales.iter().flat_map(|_| zero.to_le_bytes()).collect())),
        (6, Value::I32(axis)),
    ]
}
