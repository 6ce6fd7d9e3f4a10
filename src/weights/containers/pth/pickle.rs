//! A reader of Python's pickle, protocol 2, for the features that state dicts use. It is a stack machine that creates tuples,
//! lists, dicts and tensors, and runs no code.
//!
//! <https://github.com/python/cpython/blob/main/Lib/pickletools.py>. An instruction creates at most one object, and the number
//! of instructions is bounded. Memory is therefore bounded too. An unsupported instruction or global is refused by name, never
//! skipped.
use super::opcode::{self, name};
use super::rebuild::{self, Callable};
use super::value::{Object, Objects, Value};
use std::collections::BTreeMap;

type Result<T> = std::result::Result<T, String>;

/// Maximum number of instructions of a pickle; a state dict takes about 30 per tensor.
const MAX_STEPS: usize = 1 << 18;
/// Maximum length in bytes of the name of a module or of a global.
const MAX_NAME: usize = 256;

/// A parsed pickle.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    /// The value of the pickle.
    pub(super) root: Value<'a>,
    /// All objects created while the pickle was read.
    pub(super) objects: Objects<'a>,
    /// The bytes that follow the pickle.
    pub(super) rest: &'a [u8],
}

impl<'a> Pickle<'a> {
    /// Reads the pickle at the start of the bytes; the error states the reason for a failure.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self> {
        let mut machine = Machine { rest: bytes, ..Machine::default() };
        for _ in 0..MAX_STEPS {
            match machine.take()? {
                [opcode::STOP] => {
                    let root = machine.pop()?;
                    return Ok(Self { root, objects: machine.objects, rest: machine.rest });
                }
                [code] => machine.step(code)?,
            }
        }
        Err(format!("its pickle has more than {MAX_STEPS} instructions; save the state dict alone"))
    }
}

#[derive(Default)]
struct Machine<'a> {
    rest: &'a [u8],
    objects: Objects<'a>,
    stack: Vec<Value<'a>>,
    /// The height of the stack at each mark.
    marks: Vec<usize>,
    memo: BTreeMap<u32, Value<'a>>,
}

impl<'a> Machine<'a> {
    fn step(&mut self, code: u8) -> Result<()> {
        let made = match code {
            opcode::PROTO => return self.protocol(),
            opcode::MARK => {
                self.marks.push(self.stack.len());
                return Ok(());
            }
            opcode::BINPUT | opcode::LONG_BINPUT => return self.put(code),
            opcode::APPEND | opcode::APPENDS => return self.append(code),
            opcode::SETITEM | opcode::SETITEMS => return self.set_items(code),
            opcode::BUILD => return self.build(),
            opcode::BINGET | opcode::LONG_BINGET => self.recall(code)?,
            opcode::NONE => Value::None,
            opcode::NEWTRUE | opcode::NEWFALSE => Value::Bool(code == opcode::NEWTRUE),
            opcode::BININT => Value::Int(i32::from_le_bytes(self.take()?).into()),
            opcode::BININT1 => Value::Int(u8::from_le_bytes(self.take()?).into()),
            opcode::BININT2 => Value::Int(u16::from_le_bytes(self.take()?).into()),
            opcode::LONG1 => self.long()?,
            opcode::BINFLOAT => self.take::<8>().map(|_| Value::Number)?,
            opcode::BINUNICODE | opcode::BINSTRING | opcode::SHORT_BINSTRING => self.text(code)?,
            opcode::EMPTY_TUPLE => self.objects.add(Object::Tuple(vec![])),
            opcode::TUPLE1 | opcode::TUPLE2 | opcode::TUPLE3 => {
                let elements = self.pop_last(usize::from(code - opcode::TUPLE1) + 1)?;
                self.objects.add(Object::Tuple(elements))
            }
            opcode::TUPLE => {
                let elements = self.pop_marked()?;
                self.objects.add(Object::Tuple(elements))
            }
            opcode::EMPTY_LIST => self.objects.add(Object::List(vec![])),
            opcode::EMPTY_DICT => self.objects.add(Object::Dict { ordered: false, items: vec![] }),
            opcode::GLOBAL => self.global()?,
            opcode::REDUCE => self.reduce()?,
            opcode::BINPERSID => {
                let id = self.pop()?;
                let storage = rebuild::storage(id, &self.objects)?;
                self.objects.add(Object::Storage(storage))
            }
            _ => {
                return Err(format!(
                    "its pickle holds the instruction {}, which no state dict needs; save it with \
                     torch.save(model.state_dict(), path)",
                    name(code)
                ));
            }
        };
        self.stack.push(made);
        Ok(())
    }

    fn bytes(&mut self, n: usize) -> Result<&'a [u8]> {
        let (bytes, rest) =
            self.rest.split_at_checked(n).ok_or("its pickle ends inside an instruction; it is truncated")?;
        self.rest = rest;
        Ok(bytes)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.bytes(N)?.try_into().map_err(|_| "its pickle ends inside an instruction; it is truncated".into())
    }

    /// Reads a length or a position in the memo, which has one byte if `short` and four otherwise.
    fn length(&mut self, short: bool) -> Result<u32> {
        match short {
            true => self.take().map(|byte| u8::from_le_bytes(byte).into()),
            false => self.take().map(u32::from_le_bytes),
        }
    }

    /// Pops the last value above the last mark.
    fn pop(&mut self) -> Result<Value<'a>> {
        let value = self.top()?;
        self.stack.pop();
        Ok(value)
    }

    fn pop_last(&mut self, n: usize) -> Result<Vec<Value<'a>>> {
        match self.stack.len().checked_sub(n).filter(|&from| from >= self.floor()) {
            Some(from) => Ok(self.stack.drain(from..).collect()),
            None => Err("its pickle uses a missing value; it is damaged".into()),
        }
    }

    /// Returns the height of the stack below which instructions may not pop.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    /// Pops all values above the last mark, and the mark.
    fn pop_marked(&mut self) -> Result<Vec<Value<'a>>> {
        let from = self.marks.pop().ok_or("its pickle returns to a missing mark; it is damaged")?;
        Ok(self.stack.drain(from.min(self.stack.len())..).collect())
    }

    /// Returns the value at the top of the stack without popping it.
    fn top(&self) -> Result<Value<'a>> {
        let top = self.stack.get(self.floor()..).and_then(|above| above.last());
        top.copied().ok_or_else(|| "its pickle uses a missing value; it is damaged".into())
    }

    fn protocol(&mut self) -> Result<()> {
        match self.take()? {
            [2] => Ok(()),
            [n] => Err(format!("is a pickle of protocol {n}; save it with torch.save's default protocol, 2")),
        }
    }

    fn put(&mut self, code: u8) -> Result<()> {
        let place = self.length(code == opcode::BINPUT)?;
        let top = self.top()?;
        self.memo.insert(place, top);
        Ok(())
    }

    fn recall(&mut self, code: u8) -> Result<Value<'a>> {
        let place = self.length(code == opcode::BINGET)?;
        let known = self.memo.get(&place).copied();
        known.ok_or_else(|| format!("its pickle recalls value {place}, which it never stored; it is damaged"))
    }

    /// Reads an integer, little-endian in two's complement.
    fn long(&mut self) -> Result<Value<'a>> {
        let [n] = self.take()?;
        let bytes = self.bytes(n.into())?;
        let negative = bytes.last().is_some_and(|&byte| byte > 127);
        let mut number = [if negative { 255 } else { 0 }; 8];
        Ok(match number.get_mut(..bytes.len()) {
            Some(low) => {
                low.copy_from_slice(bytes);
                Value::Int(i64::from_le_bytes(number))
            }
            None => Value::Number,
        })
    }

    fn text(&mut self, code: u8) -> Result<Value<'a>> {
        let n = self.length(code == opcode::SHORT_BINSTRING)?;
        let bytes = self.bytes(usize::try_from(n).unwrap_or(usize::MAX))?;
        std::str::from_utf8(bytes)
            .map(Value::Text)
            .map_err(|_| "a text in its pickle is not UTF-8; it is damaged".into())
    }

    /// Reads the text up to the end of the line.
    fn line(&mut self) -> Result<&'a str> {
        let within = &self.rest[..self.rest.len().min(MAX_NAME)];
        let end = within.iter().position(|&byte| byte == b'\n');
        let line = self.bytes(end.ok_or("the name of a global in its pickle does not end; it is damaged")?)?;
        self.bytes(1)?;
        std::str::from_utf8(line).map_err(|_| "the name of a global in its pickle is not UTF-8; it is damaged".into())
    }

    fn global(&mut self) -> Result<Value<'a>> {
        let (module, name) = (self.line()?, self.line()?);
        Callable::find(module, name).map(Value::Callable)
    }

    fn reduce(&mut self) -> Result<Value<'a>> {
        let (arguments, callable) = (self.pop()?, self.pop()?);
        let Value::Callable(callable) = callable else {
            return Err("its pickle calls something that is not a function; it is damaged".into());
        };
        let arguments = self.objects.elements(arguments).unwrap_or_default();
        // The arguments are not copied if there are more than any supported function takes, because a long tuple may be
        // referenced repeatedly.
        if arguments.len() > 8 {
            return Err(callable.misfit(arguments.len()));
        }
        let arguments = arguments.to_vec();
        callable.call(&arguments, &mut self.objects)
    }

    /// Ignores the attributes of an ordered dict, and refuses those of other objects. A state dict has only one attribute,
    /// `_metadata`, which holds the version of each layer.
    fn build(&mut self) -> Result<()> {
        self.pop()?;
        match self.objects.get(self.top()?) {
            Some(Object::Dict { ordered: true, .. }) => Ok(()),
            _ => Err("holds an object with attributes (BUILD), which is code; save it with \
                      torch.save(model.state_dict(), path)"
                .into()),
        }
    }

    fn append(&mut self, code: u8) -> Result<()> {
        let more = if code == opcode::APPEND { self.pop_last(1) } else { self.pop_marked() }?;
        let top = self.top()?;
        match self.objects.get_mut(top) {
            Some(Object::List(elements)) => elements.extend(more),
            _ => return Err("its pickle appends to something that is not a list; it is damaged".into()),
        }
        Ok(())
    }

    fn set_items(&mut self, code: u8) -> Result<()> {
        let more = if code == opcode::SETITEM { self.pop_last(2) } else { self.pop_marked() }?;
        let top = self.top()?;
        let (pairs, rest) = more.as_chunks::<2>();
        match self.objects.get_mut(top) {
            Some(Object::Dict { items, .. }) if rest.is_empty() => {
                items.extend(pairs.iter().map(|&[key, value]| (key, value)));
                Ok(())
            }
            _ => Err("its pickle sets items of something that is not a dict, or half an item; it is damaged".into()),
        }
    }
}
