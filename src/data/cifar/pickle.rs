//! A reader of Python's pickle, limited to the operations in CIFAR's files.
//!
//! Nothing is imported or called. A file must be a dict. Its values are text, integers, lists of integers or text, and one
//! array of bytes as pickled by numpy.
//!
//! An operation creates a single value or refers to a slice of the file, so the file's size limits the memory. There is no
//! recursion.
use std::collections::HashMap;

/// Limit of the number of operations in a file. A file of CIFAR-100 has 300,000.
const MOST_OPERATIONS: usize = 1 << 21;

/// The result of an operation, or the reason for its failure.
pub(super) type Parsed<T> = std::result::Result<T, String>;

/// A value of the file. Values refer to each other by index.
#[derive(Debug)]
pub(super) enum Value<'a> {
    None,
    Int(i64),
    /// Text or bytes, as stored in the file.
    Bytes(&'a [u8]),
    /// Bytes that Python 3 pickled as Latin-1 text, stored here in UTF-8.
    Latin(&'a [u8]),
    Tuple(Vec<u32>),
    List(Vec<u32>),
    Dict(Vec<(u32, u32)>),
    Name(Name),
    /// numpy's dtype uint8.
    Byte,
    /// An array. Its shape is unknown until its state is set.
    Array {
        shape: Option<(usize, usize)>,
        bytes: &'a [u8],
        latin: bool,
        by_columns: bool,
    },
}

/// The functions and classes that CIFAR's files import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Array,
    Dtype,
    Reconstruct,
    FromBuffer,
    Encode,
}

impl Name {
    fn of(module: &[u8], name: &[u8]) -> Parsed<Self> {
        match (module, name) {
            (b"numpy", b"ndarray") => Ok(Self::Array),
            (b"numpy", b"dtype") => Ok(Self::Dtype),
            (b"numpy.core.multiarray" | b"numpy._core.multiarray", b"_reconstruct") => Ok(Self::Reconstruct),
            (b"numpy.core.numeric" | b"numpy._core.numeric", b"_frombuffer") => Ok(Self::FromBuffer),
            (b"_codecs", b"encode") => Ok(Self::Encode),
            _ => {
                let [module, name] = [module, name].map(String::from_utf8_lossy);
                Err(format!("{module}.{name} does not belong to CIFAR"))
            }
        }
    }
}

/// The state of a pickle machine: the values created so far, and a stack and a memo of indices of values.
pub(super) struct Reader<'a> {
    left: &'a [u8],
    pub(super) values: Vec<Value<'a>>,
    stack: Vec<u32>,
    /// The stack positions at which the open tuples, lists and dicts start.
    marks: Vec<usize>,
    memo: HashMap<u32, u32>,
    /// The dict of the whole file.
    dict: u32,
}

impl<'a> Reader<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self { left: data, values: vec![], stack: vec![], marks: vec![], memo: HashMap::new(), dict: 0 }
    }

    /// Runs all operations.
    pub(super) fn read(mut self) -> Parsed<Self> {
        let len = self.left.len();
        for _ in 0..MOST_OPERATIONS {
            let at = len - self.left.len();
            match self.step() {
                Ok(true) => {}
                Ok(false) => return Ok(self),
                Err(what) => return Err(format!("at byte {at}: {what}")),
            }
        }
        Err(format!("more than {MOST_OPERATIONS} operations"))
    }

    /// Returns the value of a key in the dict of the file.
    pub(super) fn value(&self, key: &[u8]) -> Option<&Value<'a>> {
        let Value::Dict(items) = &self.values[self.dict as usize] else { return None };
        let found = items.iter().rev().find(|(own, _)| match self.values[*own as usize] {
            Value::Bytes(text) | Value::Latin(text) => text == key,
            _ => false,
        });
        found.map(|(_, value)| &self.values[*value as usize])
    }

    /// Runs one operation; returns `false` at the end.
    fn step(&mut self) -> Parsed<bool> {
        let operation = self.number::<1>()? as u8;
        match operation {
            // The version, and the length of a frame.
            0x80 => drop(self.number::<1>()?),
            0x95 => drop(self.number::<8>()?),
            b'.' => {
                self.dict = self.pop()?;
                return Ok(false);
            }
            b'(' => self.marks.push(self.stack.len()),
            b'}' => self.push(Value::Dict(vec![])),
            b']' => self.push(Value::List(vec![])),
            b')' => self.push(Value::Tuple(vec![])),
            b't' => self.marked_tuple()?,
            0x85..=0x87 => self.short_tuple(usize::from(operation - 0x84))?,
            b'a' => self.pop().and_then(|item| self.append(&[item]))?,
            b'e' => self.since_mark().and_then(|items| self.append(&items))?,
            b's' => self.set_one()?,
            b'u' => self.since_mark().and_then(|items| self.set(&items))?,
            b'N' => self.push(Value::None),
            0x88 | 0x89 => self.push(Value::Int(i64::from(operation == 0x88))),
            b'I' => self.int_of_text()?,
            b'K' => self.int::<1>()?,
            b'M' => self.int::<2>()?,
            b'J' => self.signed_int()?,
            b'U' | b'C' | 0x8C => self.bytes::<1>()?,
            b'T' | b'B' | b'X' => self.bytes::<4>()?,
            0x8D | 0x8E | 0x96 => self.bytes::<8>()?,
            b'c' => self.name_of_lines()?,
            0x93 => self.name_of_values()?,
            b'R' => self.call()?,
            b'b' => self.pop().and_then(|state| self.build(state))?,
            b'q' => self.keep::<1>()?,
            b'r' => self.keep::<4>()?,
            0x94 => drop(self.memo.insert(self.memo.len() as u32, self.top()?)),
            b'h' => self.recall::<1>()?,
            b'j' => self.recall::<4>()?,
            other => return Err(format!("operation 0x{other:02x} does not belong to CIFAR")),
        }
        Ok(true)
    }

    /// Reads the next bytes of the file.
    fn take(&mut self, count: u64) -> Parsed<&'a [u8]> {
        let count = usize::try_from(count).ok().filter(|&count| count <= self.left.len());
        let (taken, left) = self.left.split_at(count.ok_or("the file ends too early")?);
        self.left = left;
        Ok(taken)
    }

    /// Reads an unsigned little-endian integer of `BYTES` bytes.
    fn number<const BYTES: u64>(&mut self) -> Parsed<u64> {
        Ok(self.take(BYTES)?.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    fn line(&mut self) -> Parsed<&'a [u8]> {
        let end = self.left.iter().position(|&byte| byte == b'\n').ok_or("the file ends too early")?;
        let line = self.take(end as u64 + 1)?;
        Ok(&line[..end])
    }

    fn push(&mut self, value: Value<'a>) {
        self.stack.push(self.values.len() as u32);
        self.values.push(value);
    }

    fn int<const BYTES: u64>(&mut self) -> Parsed<()> {
        let number = self.number::<BYTES>()?;
        self.push(Value::Int(number as i64));
        Ok(())
    }

    fn signed_int(&mut self) -> Parsed<()> {
        let number = self.number::<4>()? as u32 as i32;
        self.push(Value::Int(number.into()));
        Ok(())
    }

    fn int_of_text(&mut self) -> Parsed<()> {
        let line = self.line()?;
        let number = std::str::from_utf8(line).ok().and_then(|text| text.parse().ok());
        self.push(Value::Int(number.ok_or("a line that is not an integer")?));
        Ok(())
    }

    /// Reads bytes preceded by their count.
    fn bytes<const BYTES: u64>(&mut self) -> Parsed<()> {
        let count = self.number::<BYTES>()?;
        let bytes = self.take(count)?;
        self.push(Value::Bytes(bytes));
        Ok(())
    }

    /// Returns the last value pushed since the last mark.
    fn top(&self) -> Parsed<u32> {
        let above = self.stack.len() > self.marks.last().copied().unwrap_or(0);
        self.stack.last().copied().filter(|_| above).ok_or_else(|| "a value is missing".into())
    }

    fn pop(&mut self) -> Parsed<u32> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn since_mark(&mut self) -> Parsed<Vec<u32>> {
        let mark = self.marks.pop().ok_or("an end without a start")?;
        Ok(self.stack.split_off(mark))
    }

    /// Creates a tuple of the values since the last mark.
    fn marked_tuple(&mut self) -> Parsed<()> {
        let items = self.since_mark()?;
        self.push(Value::Tuple(items));
        Ok(())
    }

    /// Creates a tuple of the last `count` values. All of them must have been pushed since the last mark.
    fn short_tuple(&mut self, count: usize) -> Parsed<()> {
        let least = self.marks.last().copied().unwrap_or_default();
        let from = self.stack.len().checked_sub(count).filter(|&from| from >= least);
        let items = self.stack.split_off(from.ok_or("a tuple of nothing")?);
        self.push(Value::Tuple(items));
        Ok(())
    }

    fn keep<const BYTES: u64>(&mut self) -> Parsed<()> {
        let key = self.number::<BYTES>()? as u32;
        self.memo.insert(key, self.top()?);
        Ok(())
    }

    fn recall<const BYTES: u64>(&mut self) -> Parsed<()> {
        let key = self.number::<BYTES>()? as u32;
        self.stack.push(*self.memo.get(&key).ok_or("a value is recalled that was not stored")?);
        Ok(())
    }

    fn append(&mut self, items: &[u32]) -> Parsed<()> {
        let list = self.top()?;
        match &mut self.values[list as usize] {
            Value::List(list) => list.extend(items),
            _ => return Err("an item of something that is not a list".into()),
        }
        Ok(())
    }

    fn set(&mut self, items: &[u32]) -> Parsed<()> {
        let dict = self.top()?;
        match &mut self.values[dict as usize] {
            Value::Dict(dict) if items.len().is_multiple_of(2) => {
                dict.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1])));
            }
            _ => return Err("an item of something that is not a dict".into()),
        }
        Ok(())
    }

    fn set_one(&mut self) -> Parsed<()> {
        let (value, key) = (self.pop()?, self.pop()?);
        self.set(&[key, value])
    }

    /// Reads a module and a name from two lines.
    fn name_of_lines(&mut self) -> Parsed<()> {
        let name = Name::of(self.line()?, self.line()?)?;
        self.push(Value::Name(name));
        Ok(())
    }

    /// Reads a module and a name from the last two values.
    fn name_of_values(&mut self) -> Parsed<()> {
        let (name, module) = (self.pop()?, self.pop()?);
        let name = Name::of(self.text(module)?, self.text(name)?)?;
        self.push(Value::Name(name));
        Ok(())
    }

    fn text(&self, value: u32) -> Parsed<&'a [u8]> {
        match self.values[value as usize] {
            Value::Bytes(text) => Ok(text),
            _ => Err("a name that is not text".into()),
        }
    }

    fn tuple(&self, value: u32) -> Parsed<Vec<&Value<'a>>> {
        match &self.values[value as usize] {
            // No call in CIFAR's files has that many.
            Value::Tuple(items) if items.len() > 8 => Err("too many arguments".into()),
            Value::Tuple(items) => Ok(items.iter().map(|&item| &self.values[item as usize]).collect()),
            _ => Err("arguments that are not a tuple".into()),
        }
    }

    fn call(&mut self) -> Parsed<()> {
        let (arguments, name) = (self.pop()?, self.pop()?);
        let made = self.made(name, arguments)?;
        self.push(made);
        Ok(())
    }

    /// Returns the result of calling an imported function.
    fn made(&self, name: u32, arguments: u32) -> Parsed<Value<'a>> {
        let Value::Name(name) = self.values[name as usize] else { return Err("the callee is not a name".into()) };
        match (name, &self.tuple(arguments)?[..]) {
            (Name::Reconstruct, [Value::Name(Name::Array), ..]) => {
                Ok(Value::Array { shape: None, bytes: &[], latin: false, by_columns: false })
            }
            (Name::Dtype, [Value::Bytes(b"u1" | b"|u1"), ..]) => Ok(Value::Byte),
            (Name::Dtype, [Value::Bytes(other), ..]) => {
                Err(format!("an array of {}; CIFAR has u1", String::from_utf8_lossy(other)))
            }
            (Name::FromBuffer, [Value::Bytes(bytes), Value::Byte, shape, Value::Bytes(order)]) => {
                let shape = Some(self.shape(shape)?);
                Ok(Value::Array { shape, bytes, latin: false, by_columns: *order == b"F" })
            }
            (Name::Encode, [Value::Bytes(text), Value::Bytes(b"latin1")]) => Ok(Value::Latin(text)),
            _ => Err(format!("a call of {name:?} with other arguments than CIFAR's")),
        }
    }

    /// Sets the state of an array: (version, shape, dtype, Fortran order, bytes). The state of a dtype is ignored.
    fn build(&mut self, state: u32) -> Parsed<()> {
        let target = self.top()?;
        let made = match (&self.values[target as usize], &self.tuple(state)?[..]) {
            (Value::Byte, _) => return Ok(()),
            (Value::Array { shape: None, .. }, [Value::Int(1), shape, Value::Byte, Value::Int(by_columns), data]) => {
                let (bytes, latin) = match **data {
                    Value::Bytes(bytes) => (bytes, false),
                    Value::Latin(text) => (text, true),
                    _ => return Err("an array of objects instead of bytes".into()),
                };
                Value::Array { shape: Some(self.shape(shape)?), bytes, latin, by_columns: *by_columns == 1 }
            }
            _ => return Err("a state that is not that of a byte array".into()),
        };
        self.values[target as usize] = made;
        Ok(())
    }

    fn shape(&self, value: &Value) -> Parsed<(usize, usize)> {
        let wrong = || "an array that has no rows and columns".to_owned();
        let Value::Tuple(items) = value else { return Err(wrong()) };
        let sizes = items.iter().map(|&item| match self.values[item as usize] {
            Value::Int(size) => usize::try_from(size).map_err(|_| wrong()),
            _ => Err(wrong()),
        });
        match sizes.collect::<Parsed<Vec<_>>>()?[..] {
            [rows, columns] => Ok((rows, columns)),
            _ => Err(wrong()),
        }
    }
}
